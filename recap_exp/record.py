"""What is told of a run beside its numbers: its name, what it varies, its configuration, data and surroundings."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from rich.console import Console

from recap_exp.composition import plain
from recap_exp.config import ScoreConfig, TrainConfig
from recap_exp.dependencies import Dependencies, difference_table, differences
from recap_exp.errors import RecapError, first_line
from recap_exp.help import GROUPS
from recap_exp.runs import RunFolder
from recap_exp.sweep.job import Pruned, SweepJob
from recap_exp.terminal import console
from recap_exp.tracking.destination import resolve_uri, ui_command
from recap_exp.tracking.environment import own_version, record_environment
from recap_exp.tracking.nobody import Nobody
from recap_exp.tracking.open import open_tracker
from recap_exp.tracking.sender import one_line
from recap_exp.tracking.tracker import RunInfo, Status, Tracker
from recap_exp.training.loop import FitResult

VARIED = (
    "seed",
    "data.name",
    "model.name",
    "model.sharing",
    "model.dim",
    "model.operator",
    "optimizer.name",
    "optimizer.backbone.rate",
    "optimizer.table.schedule.rate",
    "trainer.steps",
    "trainer.batch_size",
    "scoring.name",
)
"""What a recipe's user is likely to vary: the params by which two runs are told apart."""


def run_name(recipe: str, overrides: Sequence[str]) -> str:
    """What differs from the recipe's defaults, or the recipe's own name where nothing does."""
    differs = [o for o in overrides if not o.startswith(("experiment=", "tracking", "hydra"))]
    # A choice says by itself what it is: `masknet_serial`, not `model=masknet_serial`.
    said = [o.split("=", 1)[1] if o.split("=", 1)[0] in GROUPS["train"] else o for o in differs]
    return " ".join(said)[:120] or recipe


def params(cfg: Any, also: Sequence[str] = ()) -> dict[str, Any]:
    """Values by dotted key: what is likely to vary, what the overrides name, and the keys in `also`."""
    named = [o.lstrip("+~").split("=", 1)[0] for o in cfg.overrides]
    return dict(_flat(plain(cfg), [*VARIED, *named, *also]))


def _flat(config: Mapping[str, Any], keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for key in dict.fromkeys(keys):
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None and not isinstance(value, Mapping):
            yield key, value


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run leaves in memory; the rest is in its folder and in MLflow."""

    run_id: str
    folder: Path
    metrics: dict[str, float]
    objective: float
    """The metric that the configuration's `metric` names: what a sweep optimises."""
    url: str | None
    """Where MLflow's UI shows the run."""


class RunRecord:
    """Tells the tracker and the terminal what a run found: what is the same of every run."""

    def __init__(self, tracker: Tracker, folder: RunFolder, console: Console, uri: str | None = None) -> None:
        self.tracker, self.folder, self.console, self.uri = tracker, folder, console, uri
        self.metrics: dict[str, float] = {}

    @classmethod
    def beside(cls, folder: RunFolder) -> Self:
        """Of a process that trains beside the first one: it tells nobody."""
        return cls(Nobody(), folder, Console(quiet=True))

    def depends(self, found: Dependencies) -> None:
        """Stores what the run depends on. A run that is taken up again keeps what it began with, and says what is different by now."""
        began_with = Dependencies.read(self.folder.dependencies)
        if began_with is None:
            found.write(self.folder.dependencies)
        elif changed := differences(began_with, found):
            self.folder.note(resumed_with=changed)
            self.console.print("the run goes on, but not with what it began with:", difference_table(changed), sep="\n")
        self.tracker.artifact(self.folder.dependencies)

    def identity(self, cfg: TrainConfig) -> dict[str, Any]:
        """What a checkpoint says of the run it belongs to."""
        return {"run": self.folder.id, "mlflow_run_id": self.tracker.mlflow_run_id(), "config": plain(cfg), "version": own_version()}

    def fitted(self, fitted: FitResult) -> None:
        """How training ended."""
        found = {"train/steps": float(fitted.step), "perf/train_seconds": fitted.seconds}
        if fitted.best_step is not None:
            found["train/best_step"] = float(fitted.best_step)
        self.metrics |= found
        self.tracker.metrics(self.metrics)  # not sooner: MLflow's pages to compare runs begin with the first metric of a run
        for note in fitted.notes:
            self.console.print(note, highlight=False, markup=False, soft_wrap=True)
        if fitted.best_step is not None:
            self.console.print(f"best checkpoint: step {fitted.best_step} of {fitted.step}" + (", restored" if fitted.restored else ""))

    def checkpoint(self, path: Path | None) -> None:
        """The checkpoint that the results are of; linked, where the store is on this disk."""
        if path is not None:
            self.tracker.artifact(path, f"checkpoint/{path.name}")

    def result(self, metric: str) -> Result:
        """What the run leaves in memory; its objective is `metric`, not-a-number where it has no such one."""
        objective = self.metrics.get(metric, float("nan"))
        return Result(run_id=self.folder.id, folder=self.folder.path, metrics=self.metrics, objective=objective, url=self.tracker.url)

    def close(self) -> None:
        """The last lines in the terminal: where everything is."""
        self.console.print(f"run {self.folder.id}: {self.folder.path}", soft_wrap=True)
        if self.tracker.url:
            opener = f"{command}, then " if (command := ui_command(resolve_uri(self.uri))) else ""
            self.console.print(f"see it in MLflow: {opener}{self.tracker.url}", soft_wrap=True)
        if self.tracker.compare_url:
            self.console.print(f"beside the other runs of its experiment: {self.tracker.compare_url}", soft_wrap=True)


def sweep_tags(job: SweepJob, varied: Mapping[str, str]) -> dict[str, str]:
    """By which runs of one sweep are found, and told apart."""
    return {"recap.sweep": job.sweep, "recap.job": str(job.number), **{f"sweep.{key}": value for key, value in varied.items()}}


def run_link(folder: RunFolder) -> str:
    """A run's id, in Markdown as MLflow's interface shows it: a link where the run is in a store."""
    _, found, place = str(folder.card.get("url") or "").partition("#")
    return f"[{folder.id}](#{place})" if found else folder.id


R = TypeVar("R", bound=RunRecord)


@contextmanager
def recording(
    kind: type[R],
    cfg: TrainConfig | ScoreConfig,
    folder: RunFolder,
    recipe: str,
    tags: Mapping[str, str] | None = None,
    parent: str | None = None,
    job: SweepJob | None = None,
    rerun_of: RunFolder | None = None,
) -> Iterator[R]:
    """A record of the run in `folder`, closed with the status that the block ends in: FINISHED, FAILED, KILLED by Ctrl-C, or PRUNED.

    A failed run's error is its tag `recap.error`, the stack of it the artifact error.txt.

    job: of a sweep, whose child the run is. It is told apart from the others by what varies; the sweep speaks for it in the terminal, and
    waits at its own end until all are in the store (tracking.delivery.drain).
    """
    tracking = cfg.tracking
    varied = job.varied(cfg.overrides) if job else {}
    if rerun_of:
        folder.note(rerun_of=rerun_of.id)
        tags = {"recap.rerun_of": rerun_of.id, **(tags or {})}
    info = RunInfo(
        id=folder.id,
        folder=folder.path,
        experiment=tracking.experiment or (job.whole.experiment if job else recipe),
        name=tracking.run_name or run_name(recipe, [f"{k}={v}" for k, v in varied.items()] if job else cfg.overrides),
        tags={**(tags or {}), **(sweep_tags(job, varied) if job else {}), **tracking.tags},
        notes="\n\n".join([*filter(None, [tracking.notes]), *([f"Rerun of {run_link(rerun_of)}"] if rerun_of else [])]),
        parent=job.sweep if job else parent,
    )
    tracker = open_tracker(tracking, info)
    record = kind(tracker, folder, Console(quiet=True) if job else console(), tracking.uri)
    status: Status = "FAILED"
    try:
        tracker.params(varied or params(cfg, tracking.params))
        tracker.artifact(folder.config)
        tracker.text("".join(f"{o}\n" for o in cfg.overrides), "overrides.txt")
        record_environment(tracker)
        yield record
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except Pruned:
        status = "PRUNED"
        raise
    except Exception as error:
        tracker.tags({"recap.error": first_line(error) if isinstance(error, RecapError) else one_line(error)})
        tracker.text("".join(traceback.format_exception(error)), "error.txt")
        raise
    finally:
        tracker.finish(status, wait=job is None)  # a sweep waits for all of its jobs
        if status == "FINISHED":
            record.close()
