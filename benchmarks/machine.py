"""The machine that the figures are of, and its limits: what no program can beat."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("recap-exp", "torch", "numpy", "pyarrow", "isal")


def machine() -> dict[str, Any]:
    """Processor, cores, threads, versions, and how busy it is at the moment (the load average of the last minute)."""
    return {
        "cpu": _cpu(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "load": os.getloadavg()[0],
    }


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def product_rate(width: int = 2048) -> float:
    """Floating-point operations a second of the matrix product [width, width] x [width, width], float32: the best of three."""
    a, b = torch.randn(width, width), torch.randn(width, width)
    out = torch.empty(width, width)
    return 2 * width**3 / _best(lambda: torch.mm(a, b, out=out))


def copy_rate(megabytes: int = 256) -> float:
    """Bytes a second, read and written ones together, of copying memory that no cache holds: the best of three."""
    source = torch.zeros(megabytes * 2**20, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best(lambda: target.copy_(source))


def _best(work: Callable[[], object], times: int = 3) -> float:
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
