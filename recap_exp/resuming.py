"""Which run a training is: a new one, or one that goes on with its own configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recap_exp.checks import check
from recap_exp.composition import stored_training
from recap_exp.config import TrainConfig
from recap_exp.errors import ConfigError
from recap_exp.paths import runs_dir
from recap_exp.runs import RunFolder, find_run
from recap_exp.sweep.job import SweepJob
from recap_exp.tracking.send import unsent_runs

PROCESSES = "trainer.processes="
"""What may be another at a resume: it changes no more than how numbers are rounded."""


def taken_up(cfg: TrainConfig, job: SweepJob | None = None) -> tuple[RunFolder | None, TrainConfig]:
    """The run that `resume` names, or that this job of a resumed sweep was before, with its own configuration; None for a new run."""
    if job and job.card.run and (folder := RunFolder(runs_dir() / job.card.run)).config.is_file():
        return folder, stored_training(folder.config)
    if cfg.resume is None:
        return None, pinned(cfg)
    if others := [o for o in cfg.overrides if not o.startswith(("resume=", PROCESSES))]:
        raise ConfigError(f"resume={cfg.resume} goes on with the run's own configuration: drop {' '.join(others)}, or start a new run")
    folder = find_run(cfg.resume or "latest", finished=False)
    if folder.card.get("status") == "FINISHED":
        left = f"; `recap-exp send run={folder.id}` brings the rest of its records to MLflow" if any(unsent_runs(folder.id)) else ""
        raise ConfigError(f"resume={cfg.resume}: run {folder.id} is finished, there is nothing left to do{left or '; start a new run'}")
    if folder.alive:
        raise ConfigError(f"resume={cfg.resume}: run {folder.id} goes on in another process; wait for it, or stop it first")
    stored = stored_training(folder.config)
    return folder, on(cfg.trainer.processes, stored) if any(o.startswith(PROCESSES) for o in cfg.overrides) else stored


def on(processes: int, cfg: TrainConfig) -> TrainConfig:
    """`cfg` on another number of processes, which is checked."""
    cfg = replace(cfg, trainer=replace(cfg.trainer, processes=processes))
    check(cfg)
    return cfg


def pinned(cfg: TrainConfig) -> TrainConfig:
    """`cfg` with the very run or file that `trainer.warm_start` means now: `latest` is another one when the run is taken up."""
    if cfg.trainer.warm_start is None:
        return cfg
    path = Path(cfg.trainer.warm_start).expanduser()
    source = str(path.resolve()) if path.exists() else find_run(cfg.trainer.warm_start, of_graph=False).id
    return replace(cfg, trainer=replace(cfg.trainer, warm_start=source))
