"""One process of ours at a time writes an SQLite store. Free of mlflow."""

from __future__ import annotations

import contextlib
import fcntl
import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from recap_exp.tracking.destination import database

P = ParamSpec("P")
T = TypeVar("T")


class Door:
    """A store's door, through which one process of ours goes at a time; within a process it is entered again and again.

    SQLite gives up a write that waits too long for others, and MLflow doesn't survive two that create one SQLite store. A server or another
    database keeps order itself.
    """

    def __init__(self, uri: str) -> None:
        self._path = database(uri).with_name(f".{database(uri).name}.lock") if uri.startswith("sqlite:") else None
        self._inside = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> None:
        if self._path and not self._inside:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(self._stack.enter_context(open(self._path, "w")), fcntl.LOCK_EX)
        self._inside += 1

    def __exit__(self, *_: object) -> None:
        self._inside -= 1
        if not self._inside:
            self._stack.close()


class HasDoor(Protocol):
    """What can be entered."""

    door: Door


S = TypeVar("S", bound=HasDoor)


def alone(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """While the method runs, no other process of ours writes the store."""

    @functools.wraps(method)
    def call(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.door:
            return method(self, *args, **kwargs)

    return call
