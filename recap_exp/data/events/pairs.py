"""One row per (viewer, item) pair: when it begins, and which labels it earns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recap_exp.data.events.config import EventsSource
from recap_exp.data.events.log import HOUR, Log
from recap_exp.errors import DataError, nearest


@dataclass(kw_only=True)
class Pairs:
    """N rows in time order, and of each of the M events the pair it belongs to."""

    row: np.ndarray
    """[N] the event that begins the row: an index into the log."""
    pair: np.ndarray
    """[M] int64 code of the event's pair, 0 ... P - 1."""
    count: int
    """P: pairs with any event; N of them have one that begins a row."""


def flags(log: Log, kinds: list[str], key: str) -> np.ndarray:
    """[M] bool: events of one of these kinds. `key` is the setting that names them."""
    for kind in kinds:
        if kind not in log.kinds:
            raise DataError(f"{key}: the log has no event '{kind}'{nearest(kind, log.kinds)}; its kinds are {', '.join(sorted(log.kinds))}")
    return np.isin(log.event, [log.kinds.index(k) for k in kinds])


def firsts(pair_M: np.ndarray, count: int, where_M: np.ndarray | None = None) -> np.ndarray:
    """[P] each pair's first event (an index) among those where the flag is set; M where it has none."""
    events = np.arange(len(pair_M)) if where_M is None else np.flatnonzero(where_M)
    first = np.full(count, len(pair_M), np.int64)
    # Events are in time order: written backwards, the earliest of a pair is the last to be written.
    first[pair_M[events][::-1]] = events[::-1]
    return first


def find_pairs(log: Log, source: EventsSource) -> Pairs:
    """The rows of the table."""
    keys = log.viewer.astype(np.int64) * len(log.item_ids) + log.item
    distinct, pair = np.unique(keys, return_inverse=True)
    begins = None if source.impressions is None else flags(log, source.impressions, "data.source.impressions")
    row = np.sort(firsts(pair, len(distinct), begins))
    return Pairs(row=row[: np.searchsorted(row, len(log))], pair=pair, count=len(distinct))


def label(log: Log, pairs: Pairs, positive_M: np.ndarray, window_hours: float) -> np.ndarray:
    """[N] int8: 1 where the pair has a positive event within [t, t + window], t the row's time."""
    begin = np.full(pairs.count, np.iinfo(np.int64).max)
    begin[pairs.pair[pairs.row]] = log.time[pairs.row]
    events = np.flatnonzero(positive_M)
    since = log.time[events] - begin[pairs.pair[events]]  # far below 0 for pairs without a row
    hit = np.zeros(pairs.count, np.int8)
    hit[pairs.pair[events[(since >= 0) & (since <= round(window_hours * HOUR))]]] = 1
    return hit[pairs.pair[pairs.row]]
