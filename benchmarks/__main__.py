"""`python -m benchmarks [FIGURE ...] [--quick]`: measures, prints one table, writes outputs/benchmarks/TIME.json."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from rich.console import Console

from benchmarks.harness import Figure, measure
from recap_exp.paths import outputs_dir

FIGURES = ("training_step", "twhin", "tfrecord", "parquet", "scoring", "sweep", "help", "memory")
"""In the order of the table. Each is a module with `measure(quick) -> list[Figure]`."""


@contextmanager
def scratch_outputs() -> Iterator[None]:
    """Data sets and runs that the figures need are gone afterwards."""
    before = os.environ.get("RECAP_OUTPUTS")
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as scratch:
        os.environ["RECAP_OUTPUTS"] = scratch
        try:
            yield
        finally:
            del os.environ["RECAP_OUTPUTS"]
            os.environ |= {} if before is None else {"RECAP_OUTPUTS": before}


def main(argv: Sequence[str] | None = None) -> None:
    """Every figure in a fresh process, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; none: all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    given = parser.parse_args(argv)
    if unknown := [name for name in given.figures if name not in FIGURES]:
        parser.error(f"no figure '{unknown[0]}'; there are {', '.join(FIGURES)}")
    console, folder = Console(), outputs_dir() / "benchmarks"
    figures: list[Figure] = []
    with scratch_outputs():
        for name in given.figures or FIGURES:
            with console.status(f"measuring {name}"), ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                figures += fresh.submit(measure, name, given.quick).result()
    from benchmarks import report
    from benchmarks.machine import machine

    here = machine()
    console.print(report.table(figures, here))
    console.print(f"written to {report.write(figures, here, folder, given.quick)}", soft_wrap=True)


if __name__ == "__main__":
    main()
