"""`recap-exp rerun`: a run again from its own record, what it depended on checked, and every metric compared with the first time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from recap_exp import experiment, rescore
from recap_exp.composition import plain, stored_command
from recap_exp.config import ExperimentConfig, GraphExperimentConfig, ScoreConfig, TrainConfig
from recap_exp.data.prepare import prepare
from recap_exp.dependencies import SHOWN, Dependencies, Difference, difference_table, differences
from recap_exp.errors import CheckpointError, RecapError
from recap_exp.finished import load_run
from recap_exp.plain_yaml import read_plain
from recap_exp.runs import RunFolder, find_run
from recap_exp.stored import BESIDE, recompose
from recap_exp.terminal import console
from recap_exp.tracking.journal import records
from recap_exp.train_command import train_and_record
from recap_exp.training import torchrun
from recap_exp.twhin.pin import pinned_tables

NEVER_THE_SAME = "perf/"
"""Metrics of time and memory."""

Point = tuple[str, int | None]
"""A metric's name and the step that it was told of; None for the run as a whole."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The metrics of two runs, point by point."""

    then: dict[Point, float]
    now: dict[Point, float]

    @property
    def points(self) -> list[Point]:
        """All that either has."""
        return list({**self.then, **self.now})

    @property
    def differing(self) -> list[Point]:
        """Points that are not the same to the last bit, the largest relative difference first."""
        return sorted((p for p in self.points if not self._same(p)), key=lambda p: (-self.size(p), p[0], p[1] or 0))

    def size(self, point: Point) -> float:
        """|now - then| / max(|now|, |then|); infinite where one of them is missing or not finite."""
        then, now = self.then.get(point, math.nan), self.now.get(point, math.nan)
        largest = max(abs(then), abs(now))
        return abs(now - then) / largest if math.isfinite(now - then) and largest else math.inf

    def _same(self, point: Point) -> bool:
        return point in self.then and point in self.now and self.then[point].hex() == self.now[point].hex()

    def words(self) -> str:
        """How many metrics and points there are."""
        return f"{len({name for name, _ in self.points})} metrics, {len(self.points)} points"

    def table(self) -> Table:
        """The first of the points that differ."""
        differing = self.differing
        table = Table("metric", "step", "then", "now", "relative difference")
        for point in differing[:SHOWN]:
            size = f"{self.size(point):.2g}" if math.isfinite(self.size(point)) else ""
            values = ("-" if (value := side.get(point)) is None else repr(value) for side in (self.then, self.now))
            table.add_row(escape(point[0]), "" if point[1] is None else str(point[1]), *values, size)
        if len(differing) > SHOWN:
            table.add_row(f"... and {len(differing) - SHOWN} more")
        return table


def rerun(text: str, overrides: Sequence[str] = (), exact: bool = False) -> Comparison:
    """Runs again what the run that `text` means has run, and compares.

    Says first what differs from what the run recorded of itself: configuration, code, versions, machine, every byte of the data.

    exact: refuse to start where anything does.

    Raises:
        RecapError: there is no such finished run, an override is wrong, or `exact` is asked for and can't be.
    """
    old = finished(text)
    command = old.card["command"]
    before = stored_command(command, old.config)
    cfg = recompose(command, read_plain(old.config), overrides)
    assert isinstance(cfg, TrainConfig | ScoreConfig)
    if isinstance(cfg, ExperimentConfig):
        cfg.data = pinned_tables(cfg.data, cfg.tracking)
    changed = [*_config_differences(plain(before), plain(cfg)), *_recorded_differences(old, depends_on(cfg))]
    screen = console()
    if exact and changed:
        for difference in changed:
            screen.print(f"{difference.thing}: then {difference.then}, now {difference.now}", markup=False, highlight=False, soft_wrap=True)
        raise RecapError(f"--exact: {len(changed)} of what run {old.id} depended on is not as it was (above); nothing was started")
    if changed:
        screen.print(f"not as in run {old.id}:", difference_table(changed), sep="\n", highlight=False)
    else:
        screen.print(f"everything that run {old.id} depended on is as it was", highlight=False)
    if isinstance(cfg, TrainConfig):
        new = RunFolder(train_and_record(cfg, rerun_of=old).folder)
    else:
        torchrun.require_alone("a scoring")
        new = rescore.score_and_record(cfg, rerun_of=old)[0]
    found = Comparison(then=points(old.path), now=points(new.path))
    new.note(identical=not found.differing)
    if found.differing:
        screen.print(f"{len(found.differing)} of {len(found.points)} points differ:", found.table(), sep="\n", highlight=False)
    else:
        screen.print(f"identical: {found.words()}", highlight=False)
    return found


def finished(text: str) -> RunFolder:
    """The finished training that `text` means (an id, the beginning of one, `latest`), or the scoring, by its id."""
    folder = find_run(text, "train" if text == "latest" else None)
    command, status = folder.card.get("command"), folder.card.get("status")
    if command not in ("train", "score"):
        raise CheckpointError(f"{folder.id} is a {command}: rerun one of its jobs")
    if status != "FINISHED":
        way = f": `recap-exp train resume={folder.id}` finishes it" if command == "train" else ""
        raise CheckpointError(f"run {folder.id} is {status}, and only a finished run can be compared with{way}")
    return folder


def depends_on(cfg: TrainConfig | ScoreConfig) -> Dependencies:
    """What a run of `cfg` would depend on, the data read byte by byte."""
    if isinstance(cfg, ExperimentConfig):
        dataset = prepare(cfg.data, [task.label for task in cfg.tasks.values()])
        return experiment.depends_on(cfg, dataset, fresh=True)
    if isinstance(cfg, GraphExperimentConfig):
        from recap_exp import graph_experiment

        return graph_experiment.depends_on(cfg, graph_experiment.prepare_graph(cfg.data), fresh=True)
    run = load_run(cfg.run)
    return rescore.depends_on(cfg, run, rescore.data_of(cfg, run), fresh=True)


def points(folder: Path) -> dict[Point, float]:
    """Every metric that the run in `folder` has told, but for those of time and memory."""
    told = (record for record in records(folder) if record["k"] == "metrics")
    return {(n, r["step"]): float(v) for r in told for n, v in r["v"].items() if not n.startswith(NEVER_THE_SAME)}


def _config_differences(then: dict[str, object], now: dict[str, object]) -> list[Difference]:
    before, after = ({key: value for key, value in side.items() if key not in BESIDE} for side in (then, now))
    return [Difference(f"config {d.thing.replace(' ', '.')}", d.then, d.now) for d in differences(before, after)]


def _recorded_differences(old: RunFolder, now: Dependencies) -> list[Difference]:
    then = Dependencies.read(old.dependencies)
    if then is None:
        return [Difference("what it depends on", "not recorded", "-")]
    resumed = [Difference(f"{thing}, since it was resumed", *values) for thing, *values in old.card.get("resumed_with") or ()]
    return [*differences(then, now), *resumed]
