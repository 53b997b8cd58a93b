"""The peak memory of a whole training run on ten times the rows, against the same run on the rows once."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benchmarks.harness import Figure, Spread, alternate, ratios

FACTOR = 10
BATCH = 512

PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Runs a command from a process that is itself small: a process starts with the peak of the one that it was forked from."""

ROW_BYTES = 4 * (2117 + 59 + 600)
"""What a row's features take in memory."""

UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in the system's unit of a peak."""


def peak(command: list[str]) -> float:
    """Bytes that a command and its children held at their largest."""
    found = subprocess.run([sys.executable, "-c", PEAK, *command], check=True, stdout=subprocess.PIPE, text=True)
    return UNIT * float(found.stdout)


def run(rows: int, steps: int) -> float:
    """Bytes at the peak of `recap-exp train`: rows at the original's widths in Parquet, a small model, evaluation and scoring included."""
    command = [sys.executable, "-m", "recap_exp", "train", "data=random", "tracking=none", f"evaluation.batch_size={BATCH}"]
    command += [f"data.source.rows={{train: {rows}, val: {rows // 4}, test: {rows // 4}}}"]
    command += [f"trainer.steps={steps}", f"trainer.batch_size={BATCH}", f"trainer.evaluate_every={steps}"]
    return peak(command)


def measure(quick: bool) -> list[Figure]:
    """The steps are as many as pass over the larger set once. A first run of each size makes its data set and does not count."""
    rows, steps, rounds = (512, 2, 1) if quick else (4096, FACTOR * 4096 // BATCH, 3)
    for size in () if quick else (rows, FACTOR * rows):
        run(size, steps=1)
    costs = alternate({"ten times": partial(run, FACTOR * rows, steps), "once": partial(run, rows, steps)}, rounds, warm_up=0)
    return [
        Figure(
            name="memory",
            ours=f"peak of recap-exp train, {steps} steps of {BATCH}, evaluation, scoring; {FACTOR * rows:,} rows, half as many evaluated",
            theirs=f"the same steps on {rows:,} rows and half as many",
            value=ratios(costs["ten times"], costs["once"]),
            target=1.1,
            at_least=False,
            sides={name: Spread.of([c / 1e6 for c in cs]) for name, cs in costs.items()},
            costs="MB",
            rounds=rounds,
            details={"data_mb": 1.5 * FACTOR * rows * ROW_BYTES / 1e6},
        )
    ]
