"""What differs between runs, in as few settings as say it all; and which runs are one setting."""

from __future__ import annotations

import pytest
from made_runs import make_run

from recap_exp.comparison.read import read_runs
from recap_exp.comparison.settings import apart, settings, show, varied


def runs_of(outputs, *each):
    return read_runs([make_run(outputs, f"run-{i}", values, overrides) for i, (values, overrides) in enumerate(each)])


MASKNET = {"model.name": "masknet_serial", "model.tower.layers": [8, 1], "model.backbone": {"blocks": [{"output": 64}]}}


def test_a_choice_speaks_for_what_it_contains(outputs):
    assert varied(runs_of(outputs, ({}, ["model=mlp"]), (MASKNET, ["model=masknet_serial"]))) == ["model"]


def test_what_differs_beyond_the_choice_is_listed(outputs):
    dropped = MASKNET | {"model.tower.dropout": 0.1}
    named = runs_of(outputs, ({}, ["model=mlp"]), (dropped, ["model=masknet_serial", "model.tower.dropout=0.1"]))
    assert varied(named) == ["model", "model.tower.dropout"]


def test_what_differs_within_a_choice_is_listed_though_no_override_names_it(outputs):
    runs = runs_of(outputs, ({}, []), ({"model.tower.dropout": 0.1}, []))
    assert varied(runs) == ["model.tower.dropout"]


def test_what_conf_computes_from_a_setting_follows_it(outputs):
    longer = {"trainer.steps": 200, "optimizer.backbone.ramp": 12, "optimizer.backbone.end": 200}
    assert varied(runs_of(outputs, ({}, ["trainer.steps=100"]), (longer, ["trainer.steps=200"]))) == ["trainer.steps"]


def test_but_not_where_it_was_set_apart(outputs):
    longer = {"trainer.steps": 200, "optimizer.backbone.ramp": 50}
    overrides = ["trainer.steps=200", "optimizer.backbone.ramp=50"]
    assert varied(runs_of(outputs, ({}, []), (longer, overrides))) == ["trainer.steps", "optimizer.backbone.ramp"]


def test_a_recipe_speaks_for_everything_that_no_override_names(outputs):
    other = {"name": "deskdrop", "data.name": "deskdrop", "trainer.steps": 7, "tasks": {"follow": {"label": "f"}}, "seed": 4}
    assert varied(runs_of(outputs, ({}, []), (other, ["experiment=deskdrop", "seed=4"]))) == ["name"]


def test_a_group_without_a_name_is_known_by_its_override(outputs):
    fork = {"trainer.steps": 7, "trainer.batch_size": 128}
    assert varied(runs_of(outputs, ({}, []), (fork, ["trainer=fork"]))) == ["trainer"]


def test_seed_tracking_and_what_is_optimised_are_no_settings(outputs):
    other = {"seed": 1, "metric": "val/loss/mean", "tracking.notes": "x"}
    assert varied(runs_of(outputs, ({}, []), (other, ["seed=1", "metric=val/loss/mean"]))) == []


def test_a_mapping_that_an_override_names_is_listed_by_what_differs(outputs):
    more = {"data.source.rows": {"train": 500, "val": 10, "test": 10}}
    assert varied(runs_of(outputs, ({}, []), (more, ["data.source.rows={train: 500, val: 10, test: 10}"]))) == ["data.source.rows.train"]


def test_runs_that_differ_in_the_seed_alone_are_one_setting(outputs):
    runs = runs_of(outputs, *(({"seed": s, "trainer.steps": n}, []) for n in (1, 2) for s in (0, 1)))
    found, left_out = settings(runs, ["trainer.steps"])
    assert [[run.seed for run in s.runs] for s in found] == [[0, 1], [0, 1]]
    assert not left_out


def test_a_repeated_run_is_no_second_measurement(outputs):
    first, second, third = runs_of(outputs, ({}, []), ({"seed": 1}, []), ({}, []))
    found, left_out = settings([first, second, third], [])
    assert [run.id for run in found[0].runs] == [third.id, second.id]
    assert left_out == [first]


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (True, "true"), (0.0001, "0.0001"), (1e-7, "1e-07"), (0.30000000000000004, "0.3"), (3, "3"), ("a", "a")],
)
def test_settings_are_shown_as_an_override_would_say_them(value, said):
    assert show(value) == said


def test_long_texts_are_shown_where_they_differ():
    begin = "[{output: 64, aggregation: 64, reduction_factor: null}, {output: "
    assert apart([f"{begin}32}}]", f"{begin}64}}]"]) == ["…32}]", "…64}]"]
    assert apart(["short", "texts"]) == ["short", "texts"]
    assert all(len(text) <= 36 for text in apart(["x" * 90, "y" * 90]))
