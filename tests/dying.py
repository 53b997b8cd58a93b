"""Commands of ours in processes that die: each is a child of one warm process, and is killed at a moment of one's choice.

A moment is the n-th change that the process makes to the disk (what lies between two changes leaves the same files behind), or the call of
a function by its qualified name.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pkgutil
import signal
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

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
    """Starts the warm process, which has imported everything and has no thread."""
    with_tests = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    before = {name: os.environ.get(name) for name in with_tests}
    os.environ.update(with_tests)
    WARM.set_forkserver_preload([__name__])
    forkserver.ensure_running()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


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


def start(outputs: Path, *arguments: str, dies: int | str | None = None, sender: bool = False) -> Any:
    """The process of `recap-exp ARGUMENTS`, started; its changes to the disk are listed in outputs/moments.txt if it lives on."""
    outputs.mkdir(parents=True, exist_ok=True)
    process = WARM.Process(target=_command, args=(outputs, arguments, dies, sender))
    process.start()
    return process


def end(process: Any, outputs: Path) -> Ended:
    """Waits for the process."""
    process.join(120)
    return Ended(process.exitcode, (outputs / SAID).read_text())


def run(outputs: Path, *arguments: str, dies: int | str | None = None, sender: bool = False) -> Ended:
    """A command from start to end, or to its death at the moment `dies`. Without `sender` the journal is left to `recap-exp send`."""
    return end(start(outputs, *arguments, dies=dies, sender=sender), outputs)


def _command(outputs: Path, arguments: tuple[str, ...], dies: int | str | None, sender: bool) -> None:
    os.environ["RECAP_OUTPUTS"] = str(outputs)
    said = os.open(outputs / SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1), os.dup2(said, 2)
    if not sender:
        recorder.deliver = lambda folder, uri: None  # type: ignore[assignment, return-value]
    made: list[str] = []

    def counted(name: str, change: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            made.append(f"{name} {args[0]}")
            if len(made) == dies:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **kwargs)

        return wrapped

    for name in CHANGES:
        setattr(os, name, counted(name, getattr(os, name)))
    if isinstance(dies, str):
        owner, _, method = dies.rpartition(".")
        setattr(pkgutil.resolve_name(owner), method, lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL))
    try:
        main(arguments)
    finally:
        (outputs / MOMENTS).write_text("".join(f"{n} {what}\n" for n, what in enumerate(made, 1)))
