"""A sweep of short jobs, records in MLflow included, against the time that its jobs train and evaluate."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.harness import Figure, Spread, ratios
from recap_exp.comparison.read import read_runs
from recap_exp.paths import outputs_dir, runs_dir


def command(jobs: int, steps: int) -> list[str]:
    """`recap-exp train -m` over so many seeds of the default model on a small planted set."""
    rows = "data.source.rows={train: 16384, val: 4096, test: 4096}" if steps > 10 else "data.source.rows={train: 1100, val: 200, test: 200}"
    values = ["evaluation.pictures=[]", rows, f"trainer.steps={steps}", f"seed=range({jobs})"]
    return [sys.executable, "-m", "recap_exp", "train", "-m", *values]


def run(arguments: Sequence[str]) -> tuple[float, float]:
    """Seconds of the whole command, and of its jobs' training and evaluation; its runs are deleted."""
    before = time.perf_counter()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    whole = time.perf_counter() - before
    own = sum(found.metrics.get("perf/train_seconds", 0.0) for found in read_runs(p.parent for p in runs_dir().glob("*/run.json")))
    shutil.rmtree(runs_dir())
    return whole, own


def measure(quick: bool) -> list[Figure]:
    """A first sweep of one job makes the data and MLflow's store, as any earlier run would have, and does not count."""
    jobs, steps, rounds = (2, 4, 1) if quick else (16, 100, 3)
    outputs_dir().mkdir(parents=True, exist_ok=True)
    if not quick:
        run(command(1, steps))
    seconds = [run(command(jobs, steps)) for _ in range(rounds)]
    whole, own = [w for w, _ in seconds], [o for _, o in seconds]
    return [
        Figure(
            name="sweep",
            ours=f"recap-exp train -m, {jobs} jobs of {steps} steps, from call to prompt",
            theirs="the jobs' own training and evaluation",
            value=ratios(whole, own),
            target=3,
            at_least=False,
            sides={"sweep": Spread.of(whole), "jobs": Spread.of(own)},
            costs="s",
            rounds=rounds,
            details={"seconds_a_job": own[0] / jobs},
        )
    ]
