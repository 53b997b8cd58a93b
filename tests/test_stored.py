"""Stored configurations with overrides: typed, checked, and never looked up in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recap_exp.composition import compose, plain
from recap_exp.config import ExperimentConfig
from recap_exp.errors import ConfigError
from recap_exp.paths import conf_dir
from recap_exp.stored import recompose

RECIPES = [[], *([f"experiment={p.stem}"] for p in sorted((conf_dir() / "experiment").glob("*.yaml")))]


def stored(*overrides: str, command: str = "train") -> dict:
    return plain(compose(command, overrides))


@pytest.mark.parametrize("overrides", RECIPES)
def test_a_configuration_stays_as_it_is(overrides):
    cfg = compose("train", overrides)
    assert recompose("train", plain(cfg)) == replace(cfg, sweep=compose("train").sweep)  # a run alone is no sweep of its recipe


def test_a_job_of_a_sweep_becomes_a_run_of_its_own():
    cfg = compose("train", ["sweep=tpe", "+sweep.space.seed='range(0,3)'", "sweep.job=20261124-000000-abcdef/3"])
    again = recompose("train", plain(cfg))
    assert again.sweep == compose("train").sweep
    assert replace(again, sweep=cfg.sweep) == cfg


def test_keys_change_and_what_followed_from_them_stays():
    again = recompose("train", stored("trainer.steps=100"), ["trainer.steps=50", "seed=3", "+tracking.tags.why='a=b'", "~scoring.groups"])
    assert (again.trainer.steps, again.seed, again.tracking.tags) == (50, 3, {"why": "a=b"})
    assert again.optimizer.backbone.end == 100


def test_a_choice_replaces_its_group_and_finds_what_it_looks_up_here():
    before = stored("model=masknet_serial", "model.tower.dropout=0.5", "trainer.steps=100", "optimizer=adam_constant")
    again = recompose("train", before, ["model=mlp", "optimizer=adam_cosine", "trainer.steps=50", "model.sharing=share_partial"])
    fresh = compose("train", ["model=mlp", "optimizer=adam_cosine", "trainer.steps=50", "model.sharing=share_partial"])
    assert (again.model, again.optimizer) == (fresh.model, fresh.optimizer)
    assert again.optimizer.backbone.end == 50


def test_the_overrides_say_what_the_run_differs_in():
    before = stored("model=masknet_serial", "model.tower.dropout=0.5", "seed=1", "trainer.steps=9")
    assert recompose("train", before, ["model=mlp", "seed=2"]).overrides == ["trainer.steps=9", "model=mlp", "seed=2"]


def test_weight_sets_stay_as_stored_until_the_scoring_is_chosen_anew():
    before = stored("scoring.compare=[home_2026]", "scoring.unmatched=list")
    before["compared"]["home_2026"]["engagements"]["favorite"]["weight"] = 7.0

    def weight(*overrides: str) -> float:
        return recompose("train", before, overrides).compared["home_2026"].engagements["favorite"].weight

    assert weight() == weight("seed=3") == 7.0
    assert weight("scoring=home_2023", "scoring.compare=[home_2026]", "scoring.unmatched=list") == 0.5


def test_a_scoring_takes_overrides_too():
    before = stored("run=abc", "scoring=home_2026", command="score")
    again = recompose("score", before, ["data=planted", "scoring.positive_mapping=false", "splits=[val]"])
    assert (again.run, again.data.name, again.scoring.positive_mapping, again.splits) == ("abc", "planted", False, ["val"])


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("trainer.stps=3", ["'trainer.stps'", "did you mean 'steps'"]),
        ("modle=mlp", ["'modle'", "did you mean 'model'"]),
        ("model=mpl", ["model=mpl", "did you mean 'mlp'"]),
        ("trainer.steps=abc", ["trainer.steps='abc'", "an integer"]),
        ("trainer.steps=0", ["at least 1"]),
        ("metric=val/auc/mean", ["metric='auc'"]),
        ("data.source.kind=plantd", ["did you mean 'planted'"]),
        ("data=dataset", ["data.source.path must be given"]),
        ("seed", ["'seed' is no override"]),
        ("seed=0,1", ["seed=0,1", "one new run"]),
        ("experiment=deskdrop", ["experiment=deskdrop", "composed already"]),
        ("sweep.job=a/1", ["sweep.job=a/1"]),
        ("resume=latest", ["resume=latest"]),
        ("hydra.run.dir=/", ["unknown key 'hydra.run.dir'"]),
        ("+hydra.run.dir=/", ["unknown key 'hydra'"]),
        ("+_target_=os.system", ["unknown key '_target_'"]),
        ("+model@trainer=mlp", ["trainer"]),
        ("seed=${oc.env:NOT_THERE}", ["NOT_THERE"]),
    ],
)
def test_a_mistake_is_one_line_that_teaches(override, parts):
    with pytest.raises(ConfigError) as caught:
        recompose("train", stored(), [override])
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@given(st.text(alphabet=st.sampled_from("${}\\:.'\" aé") | st.characters(exclude_categories=["Cs"])))
def test_texts_are_looked_up_nowhere(text):
    before = {**PLAIN, "tracking": {**PLAIN["tracking"], "notes": text, "tags": {"a": text}}}
    again = recompose("train", before)
    assert isinstance(again, ExperimentConfig)
    assert again.tracking.notes == again.tracking.tags["a"] == text


PLAIN = stored()
