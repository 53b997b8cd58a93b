"""A sweep, top to bottom: jobs drawn, launched, watched, and gathered in a parent run of MLflow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from recap_exp.composition import compose, typed
from recap_exp.config import ScoreConfig, TrainConfig
from recap_exp.errors import ConfigError, RecapError, first_line
from recap_exp.evaluation.config import higher_is_better
from recap_exp.paths import outputs_dir, runs_dir
from recap_exp.runs import RunFolder, find_run, new_run
from recap_exp.sweep.config import SearchConfig, SweepConfig
from recap_exp.sweep.grid import Grid
from recap_exp.sweep.job import STUDY, SweepCard
from recap_exp.sweep.jobs import JobCard, Jobs
from recap_exp.sweep.parallel import Parallel, parallel
from recap_exp.sweep.space import Space, read_space
from recap_exp.sweep.stop import stop_jobs
from recap_exp.sweep.study import Study
from recap_exp.sweep.watch import Watch
from recap_exp.sweep_record import sweep_recording
from recap_exp.training import torchrun

Objectives = dict[str, Literal["maximize", "minimize"]]


@dataclass(frozen=True)
class Composed:
    """Stands for the typed root configuration where only its sweep is known to be right."""

    sweep: SweepConfig


def run_sweep(command: str, arguments: Sequence[str], composed: DictConfig, launcher: Launcher) -> None:
    """Every job of `recap-exp COMMAND -m ARGUMENTS...`, by Hydra's launcher.

    A job that fails is shown and the others go on. Raises RecapError in the end where some failed, KeyboardInterrupt after Ctrl-C.
    """
    torchrun.require_alone("a sweep, which starts the processes of its jobs (trainer.processes),")
    cfg: SweepConfig = typed(Composed, {"sweep": OmegaConf.to_container(composed.sweep, resolve=True)}).sweep
    folder = find_run(cfg.resume, "sweep", finished=None) if cfg.resume else None
    overrides = [a for a in arguments if not a.lstrip("+").startswith("sweep.resume=")]
    if folder and not [a for a in overrides if not a.startswith(("sweep.", "sweep="))]:
        stored = SweepCard.read(folder.path)
        if stored.command != command:
            raise ConfigError(f"sweep.resume={cfg.resume} is a sweep of `recap-exp {stored.command}`: recap-exp {stored.command} -m ...")
        changed = {a.split("=", 1)[0] for a in overrides}
        overrides = [*(a for a in stored.arguments if a.split("=", 1)[0] not in changed), *overrides]
        cfg = typed(Composed, {"sweep": _stored_sweep(command, overrides)}).sweep
    overrides = _with_run(command, overrides)
    space = read_space(cfg.space, overrides)
    first = check(command, space)
    machine = parallel(composed.hydra.launcher)
    objectives = objectives_of(cfg, first)
    name = first.name if isinstance(first, TrainConfig) else find_run(first.run, of_graph=False).card["name"]
    folder = folder or new_run("sweep", name)
    card = SweepCard(
        command=command,
        arguments=overrides,
        varied=space.keys,
        objectives=objectives,
        experiment=first.tracking.experiment or name,
        at_once=machine.sharing,
        alone=machine.here,
    )
    jobs = Jobs(folder.path)
    with sweep_recording(first, folder, card, jobs) as record:
        source = Study(cfg, space, objectives, jobs, folder.path / STUDY) if isinstance(cfg, SearchConfig) else Grid(space, jobs)
        broken = [jobs.change(c.number, status="WAITING") for c in jobs.all() if c.status not in ("FINISHED", "PRUNED")]
        total = len(jobs.all()) + source.left
        watch = Watch(jobs, total, lambda job: " ".join(_values(job, space)) or "the only one", record.best_words)
        most = cfg.at_once if isinstance(cfg, SearchConfig) and cfg.at_once else machine.at_once
        everything = not isinstance(cfg, SearchConfig) and not machine.here
        try:
            while cards := broken or source.draw(None if everything else most):
                broken = []
                launch(cards, folder, launcher, machine, watch)
                source.tell(jobs.all())
                record.progress()
        except KeyboardInterrupt:
            stop_jobs(jobs)
            watch.look()
            raise
        finally:
            close_runs(jobs)
    if failed := [str(c.number + 1) for c in jobs.all() if c.status in ("FAILED", "KILLED")]:
        again = f"recap-exp {command} -m sweep.resume={folder.id}"
        raise RecapError(f"{len(failed)} of {total} jobs failed ({', '.join(failed[:10])}{', ...' * (len(failed) > 10)}); again: {again}")


def launch(cards: Sequence[JobCard], folder: RunFolder, launcher: Launcher, machine: Parallel, watch: Watch) -> None:
    """Runs the jobs and waits for them: here one after the other, or elsewhere all that were drawn."""
    jobs = Jobs(folder.path)
    batches = [[card] for card in cards] if machine.here else [list(cards)]
    for batch in batches:
        if machine.here:
            watch.begins(batch[0])
        with contextlib.nullcontext() if machine.here else watch.going_on():
            lost = "its process ended without a word"
            try:
                launcher.launch([[*card.overrides, *place(folder, card)] for card in batch], initial_job_idx=batch[0].number)
            except Exception as error:  # a launcher's own, such as a worker that the system killed; a job's are on its card
                lost += f" ({first_line(error)})"
            for card in batch:
                if not jobs.read(card.number).ended:
                    jobs.change(card.number, status="FAILED", error=lost)
        watch.look()


def close_runs(jobs: Jobs) -> None:
    """Runs whose process is gone and could not say so."""
    for card in jobs.all():
        if card.ended and card.run and (run := RunFolder(runs_dir() / card.run)).card.get("status") == "RUNNING":
            run.note(status="KILLED")


def place(folder: RunFolder, card: JobCard) -> list[str]:
    """What tells a job where it belongs, also in a process that was started before, or on another machine."""
    settings = {"RECAP_OUTPUTS": str(outputs_dir()), "RECAP_DATA": os.environ.get("RECAP_DATA")}
    quoted = {name: "'" + value.replace("\\", r"\\").replace("'", r"\'") + "'" for name, value in settings.items() if value}
    return [f"sweep.job={folder.id}/{card.number}", *(f"+hydra.job.env_set.{name}={value}" for name, value in quoted.items())]


def check(command: str, space: Space) -> TrainConfig | ScoreConfig:
    """Composes jobs that have every value once, so that a wrong one is said before anything runs; returns the first's configuration."""
    first, *_ = [compose(command, list(job)) for job in space.corners()]
    assert isinstance(first, TrainConfig | ScoreConfig)
    return first


def objectives_of(cfg: SweepConfig, first: TrainConfig | ScoreConfig) -> Objectives:
    """What is best: what the sweep names, else the command's `metric` in the direction that it has by its name."""
    named: Objectives = {**dict.fromkeys(cfg.maximize, "maximize"), **dict.fromkeys(cfg.minimize, "minimize")}  # type: ignore[dict-item]
    if named or first.metric is None:
        return named
    better = higher_is_better(first.metric)
    if better is None:
        raise ConfigError(
            f"metric={first.metric}: more of it is not better or worse by its name; say sweep.maximize=[{first.metric}] or minimize"
        )
    return {first.metric: "maximize" if better else "minimize"}


def _stored_sweep(command: str, overrides: list[str]) -> Any:
    """The sweep's own settings as they were, with what the resuming command changes of them."""
    from recap_exp.composition import compose_untyped

    own = [o for o in overrides if o.lstrip("+").split("=", 1)[0].split(".")[0] == "sweep"]
    return OmegaConf.to_container(compose_untyped(command, own).sweep, resolve=True)


def _with_run(command: str, overrides: list[str]) -> list[str]:
    """The run that is scored by its id: `latest` must mean the same run to the last job, and after a resume."""
    if command != "score" or any(o.startswith("run=") and o != "run=latest" for o in overrides):
        return overrides
    return [f"run={find_run('latest', of_graph=False).id}", *(o for o in overrides if o != "run=latest")]


def _values(job: JobCard, space: Space) -> list[str]:
    given = dict(o.lstrip("+").split("=", 1) for o in job.overrides if "=" in o)
    return [f"{key}={given[key]}" for key in space.keys]
