"""Where chance and the machine come in: device, threads, determinism, and the states of the random generators."""

from __future__ import annotations

import ctypes
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from recap_exp.errors import ConfigError
from recap_exp.training import torchrun
from recap_exp.training.config import TrainerConfig

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt(3)."""
LARGE = 50_000_000
"""Bytes of parameters."""


def choose_device(cfg: TrainerConfig) -> torch.device:
    """cfg.device; where it says auto, cuda if there is one. Changes nothing.

    Raises:
        ConfigError: cuda is asked for and absent, or fp16 without it.
    """
    here = torch.cuda.is_available()
    if cfg.device == "cuda" and not here:
        raise ConfigError("trainer.device=cuda: torch sees no CUDA device here; use auto or cpu")
    if cfg.precision == "fp16" and (cfg.device == "cpu" or not here):
        raise ConfigError("trainer.precision=fp16: needs a CUDA device, and the CPU computes; use fp32 or bf16")
    return torch.device("cuda" if here and cfg.device != "cpu" else "cpu")


def prepare_torch(seed: int, cfg: TrainerConfig) -> torch.device:
    """The device to compute on, once the whole process is seeded and set up as `cfg` says. Call it before anything computes."""
    device = choose_device(cfg)
    if cfg.threads is not None or cfg.processes > 1:
        torch.set_num_threads(threads(cfg))
    if cfg.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with workspaces of fixed size
        torch.backends.cudnn.benchmark = False
    # What torch.use_deterministic_algorithms does, but for telling the compiler, whose import takes seconds.
    torch.set_deterministic_debug_mode("error" if cfg.deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time; nothing here reads unwritten memory
    seed_everything(seed)
    return device


def threads(cfg: TrainerConfig) -> int:
    """torch's CPU threads in each process: cfg.threads; else torch's own choice, or of several processes an equal part of the CPUs."""
    if cfg.threads is not None:
        return cfg.threads
    if cfg.processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        here = torchrun.local_world_size() if torchrun.world_size() > 1 else cfg.processes
        return max(1, len(os.sched_getaffinity(0)) // here)
    return torch.get_num_threads()


def keep_freed_memory(ranker: nn.Module) -> None:
    """Lets glibc keep what a step of a large ranker frees for the next one, instead of returning it to the system page by page.

    The full size's gradients are fetched anew in every step otherwise: 50,000 page faults, a tenth of its time; the peak is the same.
    A small ranker's memory is its data, in pieces of many sizes, and is better returned.
    """
    large = sum(p.numel() * p.element_size() for p in ranker.parameters()) > LARGE
    if large and sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def capture() -> dict[str, Any]:
    """The states of all global random generators, that of the GPU in use among them, ready for JSON."""
    kind, words, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [kind, words.tolist(), *rest],  # type: ignore[union-attr]
        "torch": _hex(torch.get_rng_state()),
        "cuda": [_hex(torch.cuda.get_rng_state())] if torch.cuda.is_available() else [],
    }


def restore(state: dict[str, Any]) -> None:
    """Puts all global generators back to where `capture` found them; a GPU's where there is one."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, words, *rest = state["numpy"]
    np.random.set_state((kind, np.array(words, dtype=np.uint32), *rest))
    torch.set_rng_state(_bytes(state["torch"]))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(_bytes(state["cuda"][0]))


@contextmanager
def untouched() -> Iterator[None]:
    """What is drawn inside leaves no trace outside: how often a run is evaluated does not change how it trains."""
    state = capture()
    try:
        yield
    finally:
        restore(state)


def _hex(state: torch.Tensor) -> str:
    return bytes(state.numpy()).hex()


def _bytes(state: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(state), dtype=torch.uint8)
