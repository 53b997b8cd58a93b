"""What varies, read by Hydra's grammar."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recap_exp.errors import ConfigError
from recap_exp.sweep.space import read_space

NAMES = st.lists(st.from_regex(r"[a-z][a-z_]{0,6}", fullmatch=True), min_size=1, max_size=4, unique=True)
VALUES = st.lists(st.integers(-99, 99), min_size=2, max_size=4, unique=True)


@given(NAMES.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(names, VALUES))))
def test_a_grid_has_every_combination_once_and_the_corners_every_value(space):
    read = read_space({}, ["trainer.steps=10", *(f"+{k}={','.join(map(str, v))}" for k, v in space.items())])
    jobs = read.grid()
    assert len(set(jobs)) == len(jobs) == math.prod(map(len, space.values()))
    assert all(job[0] == "trainer.steps=10" for job in jobs)
    assert read.keys == list(space)
    corners = {override for job in read.corners() for override in job}
    assert corners == {override for job in jobs for override in job}
    assert set(read.corners()) <= set(jobs)


def test_the_last_key_changes_fastest():
    assert read_space({}, ["model=a,b", "seed=0,1"]).grid() == [
        ("model=a", "seed=0"),
        ("model=a", "seed=1"),
        ("model=b", "seed=0"),
        ("model=b", "seed=1"),
    ]


def test_the_command_line_takes_the_place_of_conf_s_values():
    space = read_space({"seed": "range(3)", "model": "mlp,masknet_serial"}, ["seed=7", "trainer.steps=5,6"])
    assert space.fixed == ("seed=7",)
    assert space.keys == ["model", "trainer.steps"]


def test_what_is_given_stays_as_it_was_given():
    given_ = ["data.source.rows={train: 10, val: 5}", "tracking.notes='a b'", "~model.mlp", "+x=null", "evaluation.pictures=[]"]
    (job,) = read_space({}, given_).grid()
    assert job == ("data.source.rows={train:10,val:5}", "tracking.notes='a b'", "~model.mlp", "+x=null", "evaluation.pictures=[]")


def test_ranges_and_intervals_know_their_scale():
    lr, width, share = read_space({}, ["a=tag(log,interval(1e-4,1e-2))", "b=int(interval(8,64))", "c=range(0,1,0.25)"]).varied
    assert (lr.low, lr.high, lr.log, lr.integer) == (1e-4, 1e-2, True, False)
    assert (width.low, width.high, width.integer) == (8, 64, True)
    assert share.values == ("0.0", "0.25", "0.5", "0.75")
    assert lr.text(0.00123456) == "0.001235"
    assert width.text(9.0) == "9"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("a=(", "'a=\\(' describes no values"),
        ("a=choice()", "empty choice"),
        ("a=interval(5,1)", "must rise"),
        ("a=tag(log,interval(0,1))", "from above 0"),
        ("a=range(3,3)", "has no values"),
    ],
)
def test_what_describes_no_values(override, said):
    with pytest.raises(ConfigError, match=said) as error:
        read_space({}, [override])
    assert "\n" not in str(error.value)


def test_a_grid_can_t_enumerate_an_interval():
    with pytest.raises(ConfigError, match="search it \\(sweep=tpe\\)"):
        read_space({}, ["a=interval(0,1)"]).grid()
