"""What the terminal shows of a sweep while it runs: a line for every job that ends, a bar for all of them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recap_exp.sweep.jobs import JobCard, Jobs

EVERY_S = 0.3
"""Between two looks at the jobs' cards."""


class Watch:
    """Reads the jobs' cards, whoever runs the jobs and wherever."""

    def __init__(self, jobs: Jobs, total: int, describe: Callable[[JobCard], str], best: Callable[[], str]) -> None:
        """total: jobs of the whole sweep. describe: what makes a job differ. best: the best so far, in a few words."""
        self._jobs, self._total, self._describe, self._best = jobs, total, describe, best
        self._out, self._errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
        self._said = {card.number for card in jobs.all() if card.ended}

    def begins(self, card: JobCard) -> None:
        """A job is about to run in this process, where its own bar is shown."""
        self._errors.print(f"job {card.number + 1} of {self._total}: {self._describe(card)}", markup=False)

    def look(self) -> list[JobCard]:
        """Says which jobs have ended since the last look; returns all cards."""
        cards = self._jobs.all()
        for card in cards:
            if card.ended and card.number not in self._said:
                self._said.add(card.number)
                self._say(card)
        return cards

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Looks while the block waits for jobs in other processes."""
        done = threading.Event()
        bar = Progress(
            TextColumn("jobs"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._errors,
            disable=not sys.stderr.isatty(),
        )
        task = bar.add_task("", total=self._total, state="")

        def show() -> None:
            cards = self.look()
            counts = {s: sum(c.status == s for c in cards) for s in ("RUNNING", "FAILED")}
            state = ", ".join(f"{n} {s.lower()}" for s, n in counts.items() if n)
            bar.update(task, completed=sum(c.ended for c in cards), state="  ".join(t for t in (state, self._best()) if t))

        def follow() -> None:
            while not done.wait(EVERY_S):
                show()

        thread = threading.Thread(target=follow, name="recap-exp-watch", daemon=True)
        with bar:
            thread.start()
            try:
                yield
            finally:
                done.set()
                thread.join()
                show()

    def _say(self, card: JobCard) -> None:
        head = f"job {card.number + 1} of {self._total} ({self._describe(card)})"
        if card.status == "FINISHED":
            self._out.print(f"{head}: {values(card.values)}  {card.seconds:.0f} s", markup=False)
        elif card.status == "PRUNED":
            self._out.print(f"{head}: {card.error}  {card.seconds:.0f} s", markup=False)
        else:
            self._errors.print(f"{head} {card.status.lower()}: {card.error or 'stopped'}", markup=False, style="red")


def values(objectives: Mapping[str, float]) -> str:
    """Metrics in a few words."""
    return "  ".join(f"{name} {value:.4f}" for name, value in objectives.items())
