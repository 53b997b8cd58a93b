"""How many jobs a Hydra launcher runs at the same time, and whether they share this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig


@dataclass(frozen=True)
class Parallel:
    """What the sweep must know of its launcher."""

    at_once: int
    """Jobs at the same time."""
    sharing: int
    """Jobs at the same time on one machine's CPUs."""
    here: bool
    """The jobs run in this process, one after the other."""


def parallel(launcher: DictConfig | Any) -> Parallel:
    """Of the launcher that hydra.launcher configures: basic, joblib, submitit_local, submitit_slurm, ray or another."""
    cpus = len(os.sched_getaffinity(0))
    kind = str(launcher.get("_target_", ""))
    if kind.endswith("BasicLauncher"):
        return Parallel(1, 1, here=True)
    if "joblib" in kind:
        given = launcher.get("n_jobs") or 1
        at_once = int(given) if given > 0 else max(1, cpus + 1 + int(given))  # joblib's -1 is all CPUs, -2 all but one
        return Parallel(at_once, at_once, here=False)
    if "submitit" in kind and kind.endswith("LocalLauncher"):
        at_once = max(1, cpus // int(launcher.get("cpus_per_task") or 1))
        return Parallel(at_once, at_once, here=False)
    if "submitit" in kind:
        return Parallel(int(launcher.get("array_parallelism") or 256), 1, here=False)  # SLURM gives every job CPUs of its own
    return Parallel(cpus, 1, here=False)  # Ray sets the threads of its tasks itself
