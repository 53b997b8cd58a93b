"""A run that is interrupted anywhere and taken up equals one that never was, whatever its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from recap_exp.composition import compose
from recap_exp.config import ExperimentConfig
from recap_exp.data.dataset import Dataset
from recap_exp.data.prepare import prepare
from recap_exp.experiment import build_model, train
from recap_exp.ranker_record import RankerRecord
from recap_exp.resuming import pinned
from recap_exp.runs import RunFolder, new_run
from recap_exp.tracking.config import TrackingConfig
from recap_exp.tracking.journal import records
from recap_exp.tracking.open import open_tracker
from recap_exp.tracking.tracker import RunInfo, Tracker
from recap_exp.training.config import EarlyStoppingConfig
from recap_exp.training.loop import FitResult
from recap_exp.training.seeds import prepare_torch

Prepared = tuple[ExperimentConfig, Dataset]
Fitted = tuple[FitResult, dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A small configuration and its data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECAP_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        rows = "data.source.rows={train: 600, val: 100, test: 100}"
        cfg = compose("train", [rows, "model=mlp", "trainer.batch_size=16", "tracking=none", "optimizer=adam_constant"])
        assert isinstance(cfg, ExperimentConfig)
        return cfg, prepare(cfg.data, [task.label for task in cfg.tasks.values()])


class Interrupted:
    """A tracker that is hit by Ctrl-C after having told metrics so many times."""

    def __init__(self, tracker: Tracker, after: int | None) -> None:
        self.tracker, self.left = tracker, after

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        self.tracker.metrics(values, step)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tracker, name)


def fitted(folder: RunFolder, cfg: ExperimentConfig, dataset: Dataset, after: int | None = None) -> Fitted:
    """One process's part of a run; KeyboardInterrupt where it is interrupted."""
    tracker = open_tracker(TrackingConfig(kind="none"), RunInfo(id=folder.id, folder=folder.path, experiment="e", name="n"))
    try:
        record = RankerRecord(Interrupted(tracker, after), folder, Console(quiet=True))  # type: ignore[arg-type]
        prepare_torch(cfg.seed, cfg.trainer)
        ranker = build_model(cfg, dataset.schema)
        return train(cfg, dataset, ranker, record), ranker.state_dict()
    finally:
        tracker.finish("KILLED")


def told(folder: Path) -> Iterator[tuple[tuple[str, int], str]]:
    """Every point but timings."""
    for record in records(folder):
        if record["k"] == "metrics":
            yield from (((n, record["step"]), repr(v)) for n, v in record["v"].items() if not n.startswith("perf/"))


@st.composite
def trainers(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "steps": draw(st.integers(1, 8)),
        "accumulate": draw(st.integers(1, 3)),
        "evaluate_every": draw(st.integers(1, 4)),
        "checkpoint_every": draw(st.none() | st.integers(1, 5)),
        "log_every": draw(st.integers(1, 3)),
        "keep_checkpoints": draw(st.integers(1, 2)),
        "precision": draw(st.sampled_from(["fp32", "bf16"])),
        "early_stopping": draw(
            st.none()
            | st.builds(
                EarlyStoppingConfig,
                metric=st.just("val/loss/mean"),
                mode=st.sampled_from(["min", "max"]),
                min_delta=st.just(0.0),
                patience=st.integers(1, 2),
                stop=st.booleans(),
            )
        ),
    }


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trainer=trainers(), dropout=st.sampled_from([0.0, 0.3]), interruptions=st.lists(st.integers(0, 12), min_size=1, max_size=2))
def test_interrupted_and_taken_up_equals_uninterrupted(
    prepared: Prepared, trainer: dict[str, Any], dropout: float, interruptions: list[int]
) -> None:
    cfg, dataset = prepared
    tower = replace(cfg.model.tower, dropout=dropout)
    cfg = replace(cfg, trainer=replace(cfg.trainer, **trainer), model=replace(cfg.model, tower=tower))
    whole, interrupted = new_run("train", "planted"), new_run("train", "planted")
    expected, weights = fitted(whole, cfg, dataset)
    for after in interruptions:
        try:
            fitted(interrupted, cfg, dataset, after)
        except KeyboardInterrupt:
            continue
    result, resumed = fitted(interrupted, cfg, dataset)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in weights.items())
    ended = ("step", "best_step", "best_value", "restored", "stopped_early")
    assert {name: getattr(result, name) for name in ended} == {name: getattr(expected, name) for name in ended}
    points = list(told(interrupted.path))
    assert len(points) == len(dict(points))
    assert dict(points) == dict(told(whole.path))
    checkpoints = [sorted(p.name for p in run.checkpoints.iterdir()) for run in (whole, interrupted)]
    assert checkpoints[0] == checkpoints[1]


def test_a_warm_start_from_the_latest_run_means_the_same_run_later(prepared: Prepared, tmp_path: Path) -> None:
    cfg, _ = prepared
    latest = new_run("train", "planted")
    latest.note(status="FINISHED")
    for meant, found in (("latest", latest.id), (latest.id[:-2], latest.id), (str(tmp_path), str(tmp_path))):
        assert pinned(replace(cfg, trainer=replace(cfg.trainer, warm_start=meant))).trainer.warm_start == found
