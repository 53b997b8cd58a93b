"""Commands of ours in processes that die: each is a child of one warm process, and is killed at a moment of one's choice.

A moment is the n-th change that the process makes to the disk (what lies between two changes leaves the same files behind), or the call of
a function of ours, `module:name`, with `#n` its n-th call.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch._dynamo
import torch.distributed.checkpoint  # noqa: F401  the warm process imports this module, and with it what takes long
from matplotlib.figure import Figure

import recap_exp.experiment  # noqa: F401
from recap_exp.cli import main
from recap_exp.composition import compose
from recap_exp.tracking import recorder
from recap_exp.tracking.environment import packages

CHANGES = ("open", "write", "fsync", "rename", "replace", "link", "symlink", "unlink", "mkdir", "rmdir")
"""Functions of `os` that change the disk."""
WARM = multiprocessing.get_context("forkserver")
MOMENTS, SAID = "moments.txt", "said.txt"

# What every process would do again.
compose("train")
packages()
Figure(layout="constrained").savefig(io.BytesIO())


def warm_up() -> None:
    """Starts the warm process. It has imported this module, and has no thread that a fork could lose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        WARM.set_forkserver_preload([__name__])
        forkserver.ensure_running()


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    """-9 where it was killed."""
    said: str
    """Standard output and error."""

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def start(outputs: Path, *arguments: str, dies: int | str | None = None, sender: bool = False) -> BaseProcess:
    """The process of `recap-exp ARGUMENTS`. Without `sender` its journal is left to `recap-exp send`."""
    process = WARM.Process(target=_command, args=(outputs, arguments, dies, sender))
    process.start()
    return process


def end(process: BaseProcess, outputs: Path) -> Ended:
    """Waits for the process."""
    process.join(120)
    assert process.exitcode is not None, "it does not end"
    return Ended(process.exitcode, (outputs / SAID).read_text())


def run(outputs: Path, *arguments: str, dies: int | str | None = None, sender: bool = False) -> Ended:
    """A command from start to end, or to its death at the moment `dies`. The changes of one that lives are in outputs/moments.txt."""
    return end(start(outputs, *arguments, dies=dies, sender=sender), outputs)


def senders(outputs: Path) -> list[int]:
    """The sender processes that work for `outputs`."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ours = f"RECAP_OUTPUTS={outputs}".encode() in (place / "environ").read_bytes().split(b"\0")
            if ours and b"recap_exp.tracking.follow" in (place / "cmdline").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


def _command(outputs: Path, arguments: tuple[str, ...], dies: int | str | None, sender: bool) -> None:
    os.environ["RECAP_OUTPUTS"] = str(outputs)
    said = os.open(outputs / SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if not sender:
        recorder.deliver = lambda folder, uri: None  # type: ignore[assignment, return-value]
    changes: list[str] = []
    for name in CHANGES:
        setattr(os, name, _deadly(getattr(os, name), dies, changes))
    if isinstance(dies, str):
        function, _, call = dies.partition("#")
        module, _, path = function.partition(":")
        owner: Any = importlib.import_module(f"recap_exp.{module}")
        *inside, name = path.split(".")
        for part in inside:
            owner = getattr(owner, part)
        setattr(owner, name, _deadly(getattr(owner, name), int(call or 1), []))
    try:
        main(arguments)
    finally:
        (outputs / MOMENTS).write_text("".join(f"{n} {change}\n" for n, change in enumerate(changes, 1)))


def _deadly(function: Callable[..., Any], dies: int | str | None, calls: list[str]) -> Callable[..., Any]:
    """`function`, but the process dies instead of its call that makes `calls` as long as `dies`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(f"{function.__name__} {args[0] if args else ''}")
        if len(calls) == dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return call
