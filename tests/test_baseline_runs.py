"""Whole runs of the baselines: everything that works for a ranker works for them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import recap_exp
from recap_exp.cli import main
from recap_exp.composition import compose, from_yaml
from recap_exp.config import ExperimentConfig
from recap_exp.data.prepare import prepare
from recap_exp.errors import ConfigError
from recap_exp.model.config import RankerConfig
from recap_exp.record import Result

BASELINES = ["logistic_regression", "lightgbm"]
FEW_TREES = {"logistic_regression": [], "lightgbm": ["model.trees=15"]}
SMALL = ["data.source.rows={train: 1500, val: 400, test: 400}", "trainer.threads=1", "evaluation.pictures=[]"]
NO_STORE = "tracking=none"


def run_cli(*arguments: str) -> int:
    """The command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def train(*overrides: str) -> Result:
    result = recap_exp.run(compose("train", [*SMALL, NO_STORE, *overrides]))
    assert isinstance(result, Result)
    return result


def points(folder: Path) -> dict[tuple[str, int | None], float]:
    """Every logged number but timings and NaNs, by name and step; each is there once."""
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    told = [((name, r["step"]), v) for r in records if r["k"] == "metrics" for name, v in r["v"].items() if not name.startswith("perf/")]
    assert len(told) == len(dict(told)), "a point is there twice"
    return {key: value for key, value in told if value == value}


@pytest.mark.parametrize("model", BASELINES)
def test_a_run_is_evaluated_scored_stored_and_rescored_like_any_other(model, outputs, capsys):
    result = train(f"model={model}", "tracking.log_model=true")
    told = points(result.folder)
    assert {("train/loss", 1), ("train/loss/is_favorited", 1), ("val/auroc/mean", 1), ("test/auroc/is_favorited", 1)} <= set(told)
    assert result.objective == result.metrics["val/auroc/mean"] == told["val/auroc/mean", 1]
    assert result.metrics["test/auroc/is_video_playback_50"] > 0.6
    assert math.isfinite(result.metrics["score/mean"])
    assert ("model/parameters" in result.metrics) == (model == "logistic_regression")
    printed = capsys.readouterr().out
    assert {"logistic_regression": "logistic regression: 68 inputs, 690 parameters, 10 tasks", "lightgbm": "LightGBM: 68 inputs, 10 tasks"}[
        model
    ] in printed

    finished = recap_exp.load_run(result.run_id)
    dataset = prepare(finished.config.data, [t.label for t in finished.config.tasks.values()])
    said = next(finished.predict(finished.ranker(), dataset, "test", batch_size=50))
    import mlflow.pyfunc

    rows = next(dataset.read("test"))
    served = mlflow.pyfunc.load_model(str(result.folder / "model"))
    answer = served.predict({name: rows.blocks[name][:50] for name, block in dataset.schema.blocks.items() if block.kind != "discrete"})
    for t, task in enumerate(said.tasks):
        np.testing.assert_allclose(answer[f"prob/{task}"], said.probs_NT[:, t], rtol=1e-6)
    assert ("lightgbm==" in (result.folder / "model/requirements.txt").read_text()) == (model == "lightgbm")

    assert run_cli("score", f"run={result.run_id}", NO_STORE) == 0
    (scored,) = (p for p in outputs.glob("runs/*") if p != result.folder)
    assert points(scored)["score/mean", None] == points(result.folder)["score/mean", None]


@pytest.mark.parametrize("model", BASELINES)
def test_a_run_is_the_same_twice(model, outputs):
    others = ["trainer.steps=7", "optimizer=adam", "trainer.batch_size=64"]  # only rankers read these
    first, again = (train(f"model={model}", *FEW_TREES[model], *more) for more in ([], others))
    assert points(first.folder) == points(again.folder)


@pytest.mark.parametrize(("model", "reached"), [("logistic_regression", "checkpoints/step_*"), ("lightgbm", "schema.json")])
def test_a_run_that_was_killed_ends_as_if_it_never_was(model, reached, outputs):
    overrides = [*SMALL, NO_STORE, f"model={model}"]
    whole = train(f"model={model}")
    process = subprocess.Popen(
        [sys.executable, "-m", "recap_exp", "train", *overrides], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not any(any(p.glob(reached)) for p in set(outputs.glob("runs/*")) - {whole.folder}):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    (folder,) = set(outputs.glob("runs/*")) - {whole.folder}
    assert run_cli("train", f"resume={folder.name}") == 0
    assert points(folder) == points(whole.folder)


@pytest.mark.parametrize("model", BASELINES)
def test_weights_of_rows_and_rates_reach_the_fit(model, outputs):
    chosen = [f"model={model}", *FEW_TREES[model]]
    plain = points(train(*chosen).folder)
    rates = "+data.sampling_rates={is_favorited: {positive: 1.0, negative: 0.1}}"
    weighed = points(train(*chosen, rates).folder)
    heavier = points(train(*chosen, "tasks.is_favorited.pos_weight=9").folder)
    for other, way in ((weighed, -1), (heavier, 1)):
        assert way * (other["val/pctr/is_favorited", 1] - plain["val/pctr/is_favorited", 1]) > 0
        assert other["val/pctr/is_replied", 1] == plain["val/pctr/is_replied", 1]


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        ("lightgbm", ["experiment=original_local", "data.source.rows={train: 256, val: 64, test: 64}", "data.name=few"]),
        ("logistic_regression", ["experiment=fork_study"]),
    ],
)
def test_recipes_of_rankers_take_baselines(model, recipe, outputs):
    """TFRecords of the original's widths, partitions with rates of their own, none that is watched."""
    cfg = compose("train", [*recipe, f"model={model}", *FEW_TREES[model], "evaluation.pictures=[]", NO_STORE])
    result = recap_exp.run(cfg)
    assert isinstance(result, Result)
    assert math.isfinite(result.objective)
    assert cfg.name in recipe[0]


@pytest.mark.parametrize("model", BASELINES)
def test_every_recipe_composes_with_a_baseline(model):
    for recipe in ("deskdrop", "fork_study", "null_labels", "original_local"):
        assert compose("train", [f"experiment={recipe}", f"model={model}"]).model.name == model


def test_a_sweep_goes_over_rankers_and_baselines(outputs):
    models = "model=masknet_parallel,logistic_regression,lightgbm"
    assert run_cli("train", "-m", *SMALL, NO_STORE, models, "trainer.steps=8", "trainer.batch_size=64") == 0
    cards = [json.loads(p.read_text()) for p in outputs.glob("runs/*/run.json")]
    trained = [c for c in cards if c["command"] == "train"]
    assert [c["status"] for c in trained] == ["FINISHED"] * 3
    configs = [from_yaml(ExperimentConfig, outputs / "runs" / c["id"] / "config.yaml") for c in trained]
    assert {c.model.name for c in configs} == {"masknet_parallel", "logistic_regression", "lightgbm"}


def test_without_the_extra_nothing_is_begun(outputs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert run_cli("train", *SMALL, NO_STORE, "model=lightgbm") == 1
    assert capsys.readouterr().err == (
        "recap-exp: model=lightgbm needs the package lightgbm, which is not installed: pip install 'recap-exp[lightgbm]'\n"
    )
    assert not list(outputs.glob("*"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model=lightgbm", "model.leavs=3"], "did you mean 'leaves'"),
        (["model=lightgbm", "model.trees=0"], "model: trees must be at least 1, not 0"),
        (["model=lightgbm", "model.sharing=share_all"], "unknown key 'model.sharing'"),
        (["model=logistic_regression", "model.C=abc"], "model.C='abc': must be a number"),
        (["model.kind=lightgb"], "model.kind='lightgb': allowed are ranker, logistic_regression, lightgbm.*did you mean 'lightgbm'"),
        (["model=logistic_regression", "data=random", "model.blocks=[contnuous]"], "did you mean 'continuous'"),
    ],
)
def test_a_mistake_is_one_line_that_teaches(overrides, says):
    with pytest.raises(ConfigError, match=says):
        compose("train", overrides)


def test_a_configuration_from_before_there_were_baselines_is_a_ranker_s(tmp_path):
    from recap_exp.composition import to_yaml

    stored = to_yaml(compose("train", []))
    old = stored.replace("model:\n  kind: ranker\n", "model:\n")
    assert old != stored
    (tmp_path / "config.yaml").write_text(old)
    assert isinstance(from_yaml(ExperimentConfig, tmp_path / "config.yaml").model, RankerConfig)


def test_a_ranker_that_nothing_watched_still_tells_its_validation(outputs):
    result = train("trainer.steps=4", "trainer.evaluate_every=null", "trainer.early_stopping=null", "trainer.batch_size=64")
    assert points(result.folder)["val/auroc/mean", 4] == result.metrics["val/auroc/mean"]


REAL_DATA = os.environ.get("RECAP_DATA")


@pytest.mark.skipif(not REAL_DATA or not list(Path(REAL_DATA).glob("deskdrop/users_interactions.csv*")), reason="needs the Deskdrop log")
@pytest.mark.parametrize("model", BASELINES)
def test_the_real_log_reaches_its_figures(model, outputs, monkeypatch):
    monkeypatch.setenv("RECAP_DATA", str(REAL_DATA))
    result = recap_exp.run(compose("train", ["experiment=deskdrop", f"model={model}", NO_STORE, "evaluation.pictures=[]"]))
    assert isinstance(result, Result)
    assert result.metrics["test/auroc/mean"] >= 0.81
