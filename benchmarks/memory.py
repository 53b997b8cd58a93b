"""The peak memory of a whole training run on ten times the rows, against the same run on the rows once."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

from benchmarks.harness import Figure, Spread, alternate, ratios

FACTOR = 10

PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Runs a command from a process that is itself small: a process starts with the peak of the one that it was forked from."""

UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in the system's unit of a peak."""


def run(rows: int, steps: int) -> float:
    """Bytes at the peak of `recap-exp train`: rows at the original's widths in Parquet, a small model, evaluation and scoring included."""
    command = [sys.executable, "-m", "recap_exp", "train", "data=random", "tracking=none", "evaluation.batch_size=512"]
    command += [f"data.source.rows={{train: {rows}, val: {rows // 4}, test: {rows // 4}}}"]
    command += [f"trainer.steps={steps}", "trainer.batch_size=128", f"trainer.evaluate_every={steps}"]
    found = subprocess.run([sys.executable, "-c", PEAK, *command], check=True, capture_output=True, text=True, env=dict(os.environ))
    return UNIT * float(found.stdout)


def measure(quick: bool) -> list[Figure]:
    """The warm-up makes the data sets. The steps are as many as pass over the larger set once."""
    rows, steps, rounds = (256, 3, 1) if quick else (4096, FACTOR * 4096 // 128, 2)
    costs = alternate({"ten times": partial(run, FACTOR * rows, steps), "once": partial(run, rows, steps)}, rounds)
    return [
        Figure(
            name="memory",
            ours=f"peak of recap-exp train on {FACTOR * rows:,} + {FACTOR * rows // 2:,} rows of 11 kB, {steps} steps, evaluated and scored",
            theirs=f"the same on {rows:,} + {rows // 2:,} rows",
            value=ratios(costs["ten times"], costs["once"]),
            target=1.1,
            at_least=False,
            sides={name: Spread.of([c / 1e6 for c in cs]) for name, cs in costs.items()},
            costs="MB",
            rounds=rounds,
            details={"data_mb": FACTOR * rows * 1.5 * 11.8e3 / 1e6},
        )
    ]
