"""The one ordered list of engagements: it drives label columns, towers, metrics and weights, always by name."""

from __future__ import annotations

from recap_exp.configclass import configclass


@configclass
class Task:
    """One engagement to predict. Its name, short and the same in tables, plots and metrics, is its key in `tasks`."""

    label: str
    """Label column, as it is called in the data."""
    positive: bool = True
    """True where the engagement speaks for the item, False where against it (report, negative feedback)."""
    pos_weight: float = 1.0
    """Factor on the positive term of the binary cross entropy."""

    def __post_init__(self) -> None:
        if not self.pos_weight > 0:
            raise ValueError(f"pos_weight must be > 0, not {self.pos_weight}")


Tasks = dict[str, Task]


@configclass
class Rates:
    """Sampling rates of one task: the share of positives and of negatives that was kept when data was downsampled."""

    positive: float = 1.0
    negative: float = 1.0

    def __post_init__(self) -> None:
        for name, rate in (("positive", self.positive), ("negative", self.negative)):
            if not 0 < rate <= 1:
                raise ValueError(f"{name} sampling rate must be in (0, 1], not {rate}")
