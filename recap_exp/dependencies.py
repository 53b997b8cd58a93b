"""What a run's numbers depend on beside its configuration: code, packages, machine, data, weights. Recorded at its start, checked later."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.markup import escape
from rich.table import Table

from recap_exp.composition import typed
from recap_exp.configclass import configclass
from recap_exp.data.config import DataConfig, EventsSource
from recap_exp.data.dataset import Dataset
from recap_exp.data.embeddings import table_files
from recap_exp.data.fingerprint import file_hashes
from recap_exp.data.graph.config import EventEdgesSource, GraphConfig
from recap_exp.data.graph.graph import Graph
from recap_exp.errors import CheckpointError, ConfigError
from recap_exp.tracking.environment import git_state, own_version, packages
from recap_exp.training.checkpoint import find_checkpoint
from recap_exp.training.config import TrainerConfig
from recap_exp.training.seeds import choose_device, threads
from recap_exp.whole import whole

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "OPENBLAS_CORETYPE",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
"""Of the environment, what changes in which order and with which instructions numbers are added."""

NAMES = {"version": "recap_exp", "changes": "uncommitted code", "cpus": "CPUs"}
"""Of fields, where a reader wants another."""

SHOWN = 20
"""Rows of a table of differences."""


class Difference(NamedTuple):
    """Something that a run depends on, as it was and as it is; `-` where there is nothing."""

    thing: str
    then: str
    now: str


@configclass
class Dependencies:
    """Two runs of one configuration in which all of this is equal give the same numbers."""

    version: str
    """Of recap_exp."""
    commit: str | None
    """The code's git commit; null where the code lies in no repository."""
    changes: str
    """SHA-256 of what was changed since the commit, sources in no commit among it (artifact environment/git.diff); empty: nothing."""
    python: str
    packages: dict[str, str]
    """Version of every installed package."""
    system: str
    cpu: str
    """Model and instructions that torch uses."""
    cpus: int
    """That the process may use."""
    device: str
    """The GPU's name, or cpu."""
    threads: int
    """Of torch, as each process of the run used them."""
    processes: int = 1
    """That trained together."""
    environment: dict[str, str]
    """VARIABLES, as far as they were set."""
    data: dict[str, dict[str, str]]
    """Split -> SHA-256 of each of its files, in order."""
    log: dict[str, str]
    """SHA-256 of each file of the event log that the data was built from."""
    weights: dict[str, str]
    """SHA-256 of each file of the weights that the run began with."""
    embeddings: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each table of embeddings that rows are joined with."""

    def write(self, file: Path) -> None:
        """Stores it as JSON, whole or not at all."""
        with whole(file, alone=True) as draft:
            draft.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, file: Path) -> Dependencies | None:
        """What was stored; None where there is no file, as in a run of an older version.

        Raises:
            ConfigError: the file is not what a run writes.
        """
        try:
            return typed(cls, json.loads(file.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, ConfigError) as error:
            raise ConfigError(f"{file}: can't be read as what a run depends on: {error}") from error


def dependencies(
    data: DataConfig | GraphConfig,
    dataset: Dataset | Graph,
    trainer: TrainerConfig | None = None,
    weights: Path | None = None,
    fresh: bool = False,
) -> Dependencies:
    """What a run that begins now depends on.

    data, dataset: what it reads. trainer: of a training; None computes on the CPU.
    weights: a weights file, a checkpoint, or a folder of them.
    fresh: every byte of the data is read, also of files that the file system says are as they were.
    """
    git = git_state()
    device = choose_device(trainer) if trainer else torch.device("cpu")
    return Dependencies(
        version=own_version(),
        commit=git.commit if git else None,
        changes=git.changes if git else "",
        python=platform.python_version(),
        packages=packages(),
        system=platform.platform(),
        cpu=f"{_cpu_model()}, {torch.backends.cpu.get_cpu_capability()}",
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=threads(trainer) if trainer else torch.get_num_threads(),
        processes=trainer.processes if trainer else 1,
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
        data={split: dataset.hashes(split, fresh) for split in dataset.splits},
        log=file_hashes(_log_files(data), fresh),
        weights=file_hashes(_weight_files(weights), fresh),
        embeddings=file_hashes(table_files(data), fresh) if isinstance(data, DataConfig) else {},
    )


def differences(then: Any, now: Any, thing: str = "") -> list[Difference]:
    """Every value that differs, mappings looked into."""
    sides = [asdict(side) if is_dataclass(side) and not isinstance(side, type) else side for side in (then, now)]
    if not all(isinstance(side, Mapping) or side is None for side in sides) or sides == [None, None]:
        return [] if then == now else [Difference(NAMES.get(thing, thing), _short(then), _short(now))]
    before, after = (side or {} for side in sides)
    return [d for key in {**before, **after} for d in differences(before.get(key), after.get(key), f"{thing} {key}".strip())]


def difference_table(found: Sequence[Difference]) -> Table:
    """What differs, the first SHOWN of it."""
    table = Table("", "then", "now")
    for difference in found[:SHOWN]:
        table.add_row(*(escape(text) for text in difference))
    if len(found) > SHOWN:
        table.add_row(f"... and {len(found) - SHOWN} more", "", "")
    return table


def _short(value: Any) -> str:
    text = "-" if value in (None, "") else str(value)
    return text[:12] if len(text) in (40, 64) and all(c in "0123456789abcdef" for c in text) else text


def _log_files(data: DataConfig | GraphConfig) -> list[Path]:
    if not isinstance(data.source, EventsSource | EventEdgesSource):
        return []
    from recap_exp.data.events.log import log_files

    return log_files(data.source)


def _weight_files(weights: Path | None) -> list[Path]:
    """A weights file itself, or the tensors of a checkpoint; none where they are gone, as they may be when a run goes on."""
    if weights is None or weights.is_file():
        return [weights] if weights else []
    try:
        return sorted(p for p in (find_checkpoint(weights) / "state").rglob("*") if p.is_file())
    except CheckpointError:
        return []


@cache
def _cpu_model() -> str:
    """As the system calls it: what the C libraries choose their instructions by."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor() or "unknown")
