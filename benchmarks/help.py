"""`recap-exp --help` against starting Python: what a person waits for beside the interpreter."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benchmarks.harness import Figure, Spread, alternate, wall_seconds

COMMANDS = ("", "train", "score", "data", "compare", "rerun", "ui", "send")
"""recap-exp itself, and its commands."""


def measure(quick: bool) -> list[Figure]:
    """Seconds from the call to the prompt. The details are the commands' own --help, above starting Python."""
    rounds = 1 if quick else 11

    def run(*arguments: str) -> float:
        return wall_seconds(lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL))

    calls = {command: partial(run, "-m", "recap_exp", *command.split(), "--help") for command in COMMANDS}
    costs = alternate({**calls, "python": partial(run, "-c", "pass")}, rounds)
    more = {command: Spread.of([a - b for a, b in zip(costs[command], costs["python"], strict=True)]) for command in COMMANDS}
    return [
        Figure(
            name="help",
            ours="recap-exp --help",
            theirs="python -c pass",
            value=more[""],
            unit="s",
            target=1,
            at_least=False,
            sides={"help": Spread.of(costs[""]), "python": Spread.of(costs["python"])},
            costs="s",
            rounds=rounds,
            details={f"{command}_more": more[command].median for command in COMMANDS if command},
        )
    ]
