"""An event log as edges, who acts -> what is acted on. Shape letter: M events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from recap_exp.data.events.log import Log, log_files, read_log
from recap_exp.data.events.pairs import flags
from recap_exp.data.graph.config import ITEM, VIEWER, EventEdgesSource, GraphConfig, RelationConfig, entity_types, instant
from recap_exp.data.graph.raw import CHUNK, Read, raw_batch
from recap_exp.data.graph.workshop import Workshop
from recap_exp.data.ids import whole_numbers
from recap_exp.errors import DataError


def read_event_edges(shop: Workshop, cfg: GraphConfig, source: EventEdgesSource) -> Read:
    """Puts an edge for each event into `raw`, in time order. Raises DataError where the log does not fit the configuration.

    Memory: the log is held as codes, at the peak about 400 bytes an event, as for tables.
    """
    log = read_log(source)
    shop.files, shop.record = log_files(source)[:1], "event"
    chosen = {name: flags(log, kinds, f"data.source.events.{name}") for name, kinds in source.events.items()}
    begin = 0 if source.since is None else int(np.searchsorted(log.time, _microseconds(source.since), side="left"))
    end = len(log) if source.until is None else int(np.searchsorted(log.time, _microseconds(source.until), side="left"))
    if not any(flag[begin:end].any() for flag in chosen.values()):
        first, last = (_say(log.time[i]) for i in (0, -1))
        raise DataError(f"the log has no such events between since={source.since} and until={source.until}: it goes from {first} to {last}")
    shop.insert("raw", _edges(log, list(chosen.values()), begin, end))
    return Read(
        entities=entity_types(cfg),
        relations={name: RelationConfig(left=VIEWER, right=ITEM) for name in source.events},
        splits=list(source.by_time),
        nodes="ids",
        by_time=source.by_time,
        say_time=_say,
    )


def _say(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat()


def _microseconds(text: str) -> int:
    return round(instant(text).timestamp() * 1e6)


def _edges(log: Log, flags: list[np.ndarray], begin: int, end: int) -> Iterator[pa.RecordBatch]:
    viewers, items = _ids(log.viewer_texts), _ids(log.item_texts)
    for first in range(begin, end, CHUNK):
        rows = slice(first, min(first + CHUNK, end))
        for rel, flag in enumerate(flags):
            events = first + np.flatnonzero(flag[rows])
            lhs, rhs = viewers.take(pa.array(log.viewer[events])), items.take(pa.array(log.item[events]))
            yield raw_batch(0, events, lhs, np.full(len(events), rel), rhs, pa.array(log.time[events]))


def _ids(texts: pa.Array) -> pa.Array:
    """Integers where all are written as such."""
    numbers, whole = whole_numbers(texts)
    return pa.array(numbers) if whole.all() else texts
