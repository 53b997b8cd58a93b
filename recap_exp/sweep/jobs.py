"""The jobs of a sweep, a small file each in SWEEP/jobs: written by the sweep and by the job's process, read by whoever waits for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from recap_exp.whole import whole

Status = Literal["WAITING", "RUNNING", "FINISHED", "PRUNED", "FAILED", "KILLED"]
DONE = ("FINISHED", "PRUNED")
"""Of what a resumed sweep does not run again."""
ENDED = (*DONE, "FAILED", "KILLED")


@dataclass(frozen=True, kw_only=True)
class JobCard:
    """What is known of a job."""

    number: int
    """From 0 on, in the order in which jobs were made."""
    overrides: tuple[str, ...]
    status: Status = "WAITING"
    trial: int | None = None
    """Its trial of the sweep's study, where there is one."""
    run: str | None = None
    """Our id of its run, once it has begun."""
    place: dict[str, Any] = field(default_factory=dict)
    """Where it runs: host, pid, slurm (the id of SLURM's job)."""
    values: dict[str, float] = field(default_factory=dict)
    """The objectives' values, once it is finished."""
    seconds: float = 0.0
    error: str | None = None
    """One line, where it failed."""

    @property
    def ended(self) -> bool:
        """Nobody works on it any more."""
        return self.status in ENDED


class Jobs:
    """The folder of the files."""

    def __init__(self, sweep: Path) -> None:
        self.folder = sweep / "jobs"

    def write(self, card: JobCard) -> JobCard:
        """Puts the card down, whole or not at all; returns it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole(self.path(card.number)) as draft:
            draft.write_text(json.dumps(asdict(card), indent=1) + "\n")
        return card

    def change(self, number: int, **values: Any) -> JobCard:
        """Some fields of a card. Only one process at a time has to do with a job."""
        return self.write(replace(self.read(number), **values))

    def add(self, jobs: Sequence[tuple[str, ...]], trials: Sequence[int] | None = None) -> list[JobCard]:
        """New jobs, numbered behind the ones there are."""
        first = max((card.number for card in self.all()), default=-1) + 1
        return [
            self.write(JobCard(number=first + i, overrides=overrides, trial=trials[i] if trials else None))
            for i, overrides in enumerate(jobs)
        ]

    def read(self, number: int) -> JobCard:
        """One card."""
        return _card(self.path(number))

    def all(self) -> list[JobCard]:
        """Every card, by number."""
        return [_card(path) for path in sorted(self.folder.glob("*.json"))]

    def path(self, number: int) -> Path:
        """The card's file."""
        return self.folder / f"{number:05d}.json"


def _card(path: Path) -> JobCard:
    stored = json.loads(path.read_text())
    stored["overrides"] = tuple(stored["overrides"])
    return JobCard(**{f.name: stored[f.name] for f in fields(JobCard) if f.name in stored})
