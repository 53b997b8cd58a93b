"""Consecutive splits in time, and the rows at their ends whose labels could not be known there."""

from __future__ import annotations

import itertools

import numpy as np

from recap_exp.data.events.config import EventsSource
from recap_exp.data.events.log import HOUR
from recap_exp.errors import DataError


def split_rows(source: EventsSource, time_N: np.ndarray, log_end: int) -> dict[str, np.ndarray]:
    """Row numbers of each split; times are sorted, `log_end` is the time of the log's last event."""
    window = round(source.window_hours * HOUR)
    count = int(np.searchsorted(time_N, log_end - window, side="right")) if source.drop_incomplete else len(time_N)
    if not count:
        raise DataError(f"the log is shorter than a label window of {source.window_hours:g} h: set window_hours or drop_incomplete=false")
    shares = list(itertools.accumulate(source.split.values()))[:-1]
    # Rows of one time all go to the later split: the cut moves to the first of them.
    cuts = [int(np.searchsorted(time_N, time_N[min(round(s * count), count - 1)], side="left")) for s in shares]
    starts, ends = [0, *cuts], [*cuts, count]
    rows = {}
    for name, start, end in zip(source.split, starts, ends, strict=True):
        if source.purge and end < count:
            end = max(start, int(np.searchsorted(time_N, time_N[end] - window, side="left")))
        if end <= start:
            raise DataError(f"split '{name}' has no rows: {count} rows in all, fractions {source.split}, purge={str(source.purge).lower()}")
        rows[name] = np.arange(start, end)
    return rows
