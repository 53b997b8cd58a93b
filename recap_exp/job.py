"""What Hydra calls with every configuration that it has composed: a run of its own, or a job of a sweep."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recap_exp.commands import run
from recap_exp.composition import from_hydra
from recap_exp.config import CommandConfig, TrainConfig
from recap_exp.errors import first_line
from recap_exp.sweep.job import Pruned, SweepJob

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Read by the libraries when they are loaded."""


def run_composed(command: str, composed: DictConfig) -> None:
    """Runs it. A job's errors go onto its card, where its sweep finds them; those of a run of its own are raised.

    Ctrl-C is raised from either.
    """
    from hydra.core.hydra_config import HydraConfig

    overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith("sweep.job=")]
    if (place := OmegaConf.select(composed, "sweep.job")) is None:
        run(from_hydra(command, composed, overrides))
        return
    sweep, number = str(place).rsplit("/", 1)
    job, began = SweepJob(sweep, int(number)), time.monotonic()
    job.begins()
    try:
        cfg = from_hydra(command, composed, overrides)
        with own_share(cfg, job):
            values = objectives(run(cfg), job)
        end: dict[str, Any] = {"status": "FINISHED", "values": values}
    except Pruned as error:
        end = {"status": "PRUNED", "error": str(error)}
    except KeyboardInterrupt:
        job.note(status="KILLED", seconds=time.monotonic() - began)
        raise
    except Exception as error:
        end = {"status": "FAILED", "error": str(error) if os.environ.get("RECAP_DEBUG") else first_line(error)}
    job.note(seconds=time.monotonic() - began, **end)


def objectives(result: Any, job: SweepJob) -> dict[str, float]:
    """What a training or a scoring reached of what its sweep is about; not-a-number where it has no such metric."""
    metrics = result.metrics if hasattr(result, "metrics") else {k: v for report in result for k, v in report.metrics.items()}
    return {name: float(metrics.get(name, "nan")) for name in job.whole.objectives}


@contextmanager
def own_share(cfg: CommandConfig, job: SweepJob) -> Iterator[None]:
    """Jobs at once don't fight for the machine: each takes its part of the CPUs, and GPUs of its own where there are enough.

    A number of threads that the configuration names is left as it is: it is part of what makes a run the same again.
    """
    at_once, processes = job.whole.at_once, cfg.trainer.processes if isinstance(cfg, TrainConfig) else 1
    if at_once > 1:
        threads = max(1, len(os.sched_getaffinity(0)) // (at_once * processes))
        for name in THREADS:
            os.environ.setdefault(name, str(threads))
        if isinstance(cfg, TrainConfig) and cfg.trainer.threads is None:
            cfg.trainer.threads = threads
    if at_once == 1 or (isinstance(cfg, TrainConfig) and cfg.trainer.device == "cpu"):
        yield
        return
    import torch

    slots = torch.cuda.device_count() // processes
    if slots < 2:
        yield
        return
    with free_slot(job.folder, slots) as slot:
        torch.cuda.set_device(slot * processes)
        yield


@contextmanager
def free_slot(folder: Path, count: int) -> Iterator[int]:
    """One of the numbers 0 ... count - 1 that no other process holds, until the block ends; where all are held, one that is shared."""
    for number in range(count):
        with open(folder / f".slot_{number}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    yield os.getpid() % count
