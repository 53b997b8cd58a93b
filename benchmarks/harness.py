"""Two ways of doing a thing, measured in turn in one run, so that whatever else the machine does meets both."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, Literal, Self

Side = Callable[[], float]
"""Does the thing once and says what it cost: seconds, or bytes."""


@dataclass(frozen=True)
class Spread:
    """The median of a few rounds, and how far they lie apart: min and max are the noise."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> Self:
        """Of the values of all rounds."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table."""

    name: str
    ours: str
    """What is measured, in words."""
    theirs: str
    """What it is measured against."""
    value: Spread
    """Made round by round from the two sides."""
    unit: Literal["x", "s"] = "x"
    """x: a ratio; s: a difference in seconds."""
    target: float
    at_least: bool = True
    """False: the value has to be at most `target`."""
    sides: dict[str, Spread]
    """What each side cost."""
    costs: str
    """What the sides' costs are: "ms a step"."""
    rounds: int
    details: dict[str, float] = field(default_factory=dict)
    """Further numbers of the same run, for the reader."""

    @property
    def reached(self) -> bool:
        """Whether the median reaches the target."""
        return self.value.median >= self.target if self.at_least else self.value.median <= self.target


def measure(name: str, quick: bool) -> list[Figure]:
    """The figures of one module of this package. Lies here so that a fresh process can find it."""
    return import_module(f"benchmarks.{name}").measure(quick)


def alternate(sides: Mapping[str, Side], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Calls the sides in turn, A B A B ..., `rounds` times each after `warm_up` calls that don't count; what each call returned."""
    costs: dict[str, list[float]] = {name: [] for name in sides}
    for counts in [False] * warm_up + [True] * rounds:
        for name, side in sides.items():
            cost = side()
            if counts:
                costs[name].append(cost)
    return costs


def ratios(above: list[float], below: list[float]) -> Spread:
    """above / below, round by round."""
    return Spread.of([a / b for a, b in zip(above, below, strict=True)])


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of this process, all its threads together."""
    start = time.process_time()
    work()
    return time.process_time() - start


def wall_seconds(work: Callable[[], object]) -> float:
    """Time that somebody who waits sees."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Apart:
    """A side that lives in a fresh process of its own, so that memory settings and caches of the others don't touch it.

    build(*args), called there once, makes the side.
    """

    def __init__(self, build: Callable[..., Side], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(far_end, build, args), daemon=True)
        self.process.start()
        far_end.close()

    def __call__(self) -> float:
        """One call of the side over there."""
        self.pipe.send(True)
        cost = self.pipe.recv()
        if isinstance(cost, BaseException):
            raise cost
        return cost

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.pipe.close()
        self.process.join()


def _serve(pipe: Connection, build: Callable[..., Side], args: tuple[Any, ...]) -> None:
    side: Side | None = None
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        try:
            side = side or build(*args)
            pipe.send(side())
        except Exception as error:
            pipe.send(error)
