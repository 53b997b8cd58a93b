"""One folder a run, outputs/runs/RUN_ID: its configuration, checkpoints, journal and artifacts, and run.json, the card on its door."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from recap_exp.errors import CheckpointError
from recap_exp.paths import runs_dir
from recap_exp.sweep.job import SweepJob
from recap_exp.tracking.journal import is_being_written
from recap_exp.tracking.run_file import read_run, update_run

GRAPH = "graph"
"""The system of a run that trains a graph's embeddings, on its card."""


@dataclass(frozen=True)
class RunFolder:
    """A run's folder; the id is ours, so that it exists before any store answers."""

    path: Path

    @property
    def id(self) -> str:
        """Sorts by time."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The typed configuration, whole."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints by step."""
        return self.path / "checkpoints"

    @property
    def dependencies(self) -> Path:
        """What the run's numbers depend on beside its configuration."""
        return self.path / "dependencies.json"

    @property
    def schema(self) -> Path:
        """The schema of the data that the model was built for."""
        return self.path / "schema.json"

    @property
    def card(self) -> dict[str, Any]:
        """run.json: status, command, name, and the MLflow run id once there is one; {} where it can't be read."""
        try:
            return read_run(self.path)
        except ValueError:
            return {}

    @property
    def of_graph(self) -> bool:
        """Whether it trains a graph's embeddings; else a ranker."""
        return self.card.get("system") == GRAPH

    @property
    def alive(self) -> bool:
        """Whether a process is at work on it."""
        return is_being_written(self.path)

    def note(self, **values: Any) -> None:
        """Writes values onto the card, whole or not at all."""
        update_run(self.path, **values)


def new_run(command: str, name: str, config: str | None = None, job: SweepJob | None = None, **also: Any) -> RunFolder:
    """A fresh folder for a run; of a sweep's job, each knows of the other from then on.

    config: the run's configuration as YAML. also: what else its card says. The card comes last: whatever is found as a run can be taken up.
    """
    folder = _new_folder()
    if config is not None:
        folder.config.write_text(config, encoding="utf-8")
    started = datetime.now().isoformat(timespec="seconds")
    belongs = {"sweep": job.sweep, "job": job.number} if job else {}
    folder.note(id=folder.id, command=command, name=name, status="RUNNING", started=started, **belongs, **also)
    if job:
        job.note(run=folder.id)
    return folder


def _new_folder() -> RunFolder:
    """An empty folder whose name sorts by time, to the microsecond: of two runs of one second, `latest` is the later."""
    while True:
        now = datetime.now()
        folder = RunFolder(runs_dir() / f"{now:%Y%m%d-%H%M%S}-{now.microsecond:05x}{secrets.token_hex(1)[0]}")
        try:
            folder.path.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder


def find_run(text: str, command: str | None = "train", finished: bool | None = True, of_graph: bool | None = None) -> RunFolder:
    """The run that `text` means: our id, MLflow's id, the unambiguous beginning of either, or `latest`: the newest (un)finished one.

    command: only runs of it; None: of any. of_graph: which system `latest` is of; None: either.
    finished: what `latest` must be; None: either. Unfinished is a run that
    could go on: no process is at work on it, and no sweep has given it up.
    """
    folders = [RunFolder(p.parent) for p in sorted(runs_dir().glob("*/run.json"))]
    folders = [f for f in folders if command is None or f.card.get("command") == command]
    if text == "latest":
        done = [f for f in folders if finished is None or finished == (f.card.get("status") == "FINISHED")]
        done = [f for f in done if of_graph is None or f.of_graph == of_graph]
        if finished is False:
            done = [f for f in done if f.card.get("status") != "PRUNED" and not f.alive]
        if not done:
            kind = {True: "finished run", False: "unfinished run", None: command or "run"}[finished]
            kind += {True: " of a graph", False: " of a ranker", None: ""}[of_graph]
            raise CheckpointError(f"no {kind} in {runs_dir()}: {'run `recap-exp train` first, or ' if finished else ''}name a run")
        return done[-1]
    matches = [f for f in folders if f.id.startswith(text) or str(f.card.get("mlflow_run_id") or "").startswith(text)]
    exact = [f for f in matches if text in (f.id, f.card.get("mlflow_run_id"))]
    if len(exact or matches) == 1:
        return (exact or matches)[0]
    if matches:
        raise CheckpointError(f"run={text} means {len(matches)} runs: {', '.join(f.id for f in matches[:5])}; give more of the id")
    raise CheckpointError(f"no run '{text}' in {runs_dir()}: the newest are {', '.join(f.id for f in folders[-3:]) or 'none'}")
