"""The jobs of a grid: all at once, those that are there already left out."""

from __future__ import annotations

from collections.abc import Sequence

from recap_exp.sweep.jobs import JobCard, Jobs
from recap_exp.sweep.space import Space


class Grid:
    """Hands out every combination once."""

    def __init__(self, space: Space, jobs: Jobs) -> None:
        known = {card.overrides for card in jobs.all()}
        self._jobs = jobs
        self._left = [job for job in space.grid() if job not in known]

    @property
    def left(self) -> int:
        """Jobs that are still to be made."""
        return len(self._left)

    def draw(self, most: int | None) -> list[JobCard]:
        """The next jobs, at most so many (None: all); none where the grid is done."""
        drawn, self._left = self._left[:most], self._left[len(self._left[:most]) :]
        return self._jobs.add(drawn)

    def tell(self, cards: Sequence[JobCard]) -> None:
        """What became of jobs: nothing that a grid would learn from."""
