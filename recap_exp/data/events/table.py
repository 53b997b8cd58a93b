"""From an event log to a table of rows, features and labels."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from recap_exp.data.config import DataConfig
from recap_exp.data.events.categories import Category, categorise
from recap_exp.data.events.config import EventsSource
from recap_exp.data.events.history import History, smoothed
from recap_exp.data.events.log import HOUR, Log, read_log
from recap_exp.data.events.pairs import Pairs, find_pairs, firsts, flags, label
from recap_exp.data.events.split import split_rows
from recap_exp.data.schema import Block, Columns, Rows, Schema, chunk_rows

Features = dict[str, np.ndarray]
"""[N] by column name."""


def build(source: EventsSource, cfg: DataConfig) -> tuple[Schema, dict[str, Rows], dict[str, Any]]:
    """The table's schema, its splits in time order, and how it was made.

    The last is plain JSON: names of the features by block, numbers of events, pairs and rows, times of the splits, vocabularies.
    Memory: the table stays, 4 bytes a feature and row; besides, at the peak, about 400 bytes an event.
    Raises DataError, one line, where the log does not fit the configuration.
    """
    log = read_log(source, [c.column for c in source.categorical.values()])
    pairs = find_pairs(log, source)
    time = log.time[pairs.row]
    splits = split_rows(source, time, int(log.time[-1]))
    viewer = History(log.viewer, log.time, log.viewer[pairs.row], time, source.history.recent_hours)
    item = History(log.item, log.time, log.item[pairs.row], time, source.history.recent_hours)

    labels = {
        f"label_{name}": label(log, pairs, flags(log, kinds, f"data.source.labels.{name}"), source.window_hours)
        for name, kinds in source.labels.items()
    }
    continuous, binary = _history(source, log, pairs, {"viewer": viewer, "item": item})
    _add_calendar(source, time, continuous, binary)
    fit = next(iter(splits.values()))
    categories = {name: categorise(c, log, viewer, pairs.row, fit) for name, c in source.categorical.items()}
    for name, category in categories.items():
        if source.categorical[name].one_hot:
            binary |= {f"{name}={v}": f for v, f in zip(category.vocabulary, category.one_hot().T, strict=True)}
    discrete = {name: category.code for name, category in categories.items()}

    blocks = {"continuous": continuous, "binary": binary, "discrete": discrete}
    ids = {"viewer": log.viewer_ids[log.viewer[pairs.row]], "item": log.item_ids[log.item[pairs.row]]}
    extras = {"time": time / 1e6, "event": np.array(log.kinds, object)[log.event[pairs.row]]}
    extras |= {name: category.text() for name, category in categories.items()}
    schema = Schema(
        blocks={k: Block(kind=k, columns=tuple(f), width=len(f), use=len(f)) for k, f in blocks.items() if f},  # type: ignore[arg-type]
        ids={n: n for n in ids},
        labels=tuple(labels),
        extras={n: f"{n}_name" if n in categories else n for n in extras},  # a category's code has the plain name
    )

    step = chunk_rows(schema)

    def reader(rows: np.ndarray) -> Rows:
        def read() -> Iterator[Columns]:
            for start in range(0, len(rows), step):
                chosen = rows[start : start + step]
                yield Columns(
                    blocks={k: np.stack([v[chosen] for v in blocks[k].values()], axis=1) for k in schema.blocks},
                    ids={k: v[chosen] for k, v in ids.items()},
                    labels={k: v[chosen] for k, v in labels.items()},
                    extras={k: v[chosen] for k, v in extras.items()},
                    file=cfg.name,
                    records=chosen,
                )

        return read

    made = {"features": {k: list(f) for k, f in blocks.items()}, **_made(log, pairs, splits, time, categories)}
    return schema, {name: reader(rows) for name, rows in splits.items()}, made


def _history(source: EventsSource, log: Log, pairs: Pairs, entities: dict[str, History]) -> tuple[Features, Features]:
    """Continuous and binary features of viewer and item."""
    continuous: Features = {}
    binary: Features = {}
    config = source.history
    suffixes = ["", *(f"_{h:g}h" for h in config.recent_hours)]
    begun = _first_flags(pairs, np.ones(len(log), bool))
    # The whole log so far, as if it were one entity: the prior of every rate.
    everything = History(np.zeros(len(log), np.int32), log.time, np.zeros(len(pairs.row), np.int32), log.time[pairs.row])
    all_pairs = np.maximum(everything.counts(begun)[0], 1)
    for entity, history in entities.items():
        own_pairs = history.counts(begun)
        continuous |= {f"{entity}_pairs{s}": c.astype(np.float32) for s, c in zip(suffixes, own_pairs, strict=True)}
        for name, kinds in config.counts.items():
            flag = flags(log, kinds, f"data.source.history.counts.{name}")
            counts = history.counts(flag)
            continuous |= {f"{entity}_{name}{s}": c.astype(np.float32) for s, c in zip(suffixes, counts, strict=True)}
            first = _first_flags(pairs, flag)
            prior = everything.counts(first)[0] / all_pairs
            rate = smoothed(history.counts(first)[0], own_pairs[0], prior, config.prior_strength)
            continuous[f"{entity}_{name}_rate"] = rate.astype(np.float32)
        continuous[f"{entity}_age_hours"] = history.age_hours().astype(np.float32)
        continuous[f"{entity}_gap_hours"] = history.gap_hours().astype(np.float32)
        binary[f"{entity}_new"] = (~history.known()).astype(np.float32)
    return continuous, binary


def _first_flags(pairs: Pairs, flag_M: np.ndarray) -> np.ndarray:
    """[M] bool: the flagged events that are their pair's first of that sort."""
    first = firsts(pairs.pair, pairs.count, flag_M)
    marked = np.zeros(len(flag_M) + 1, bool)
    marked[first] = True
    return marked[:-1]


def _add_calendar(source: EventsSource, time_N: np.ndarray, continuous: Features, binary: Features) -> None:
    hours = time_N / HOUR + source.utc_offset_hours
    if "hour" in source.calendar:
        angle = 2 * np.pi * (hours % 24) / 24
        continuous["hour_sin"], continuous["hour_cos"] = np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)
    if "weekday" in source.calendar:
        day = (np.floor(hours / 24).astype(np.int64) + 3) % 7  # 1 January 1970 was a Thursday
        for i, name in enumerate(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")):
            binary[name] = (day == i).astype(np.float32)


def _made(log: Log, pairs: Pairs, splits: dict[str, np.ndarray], time: np.ndarray, categories: dict[str, Category]) -> dict[str, Any]:
    def text(microseconds: int) -> str:
        return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat()

    return {
        "events": {kind: int(n) for kind, n in zip(log.kinds, np.bincount(log.event, minlength=len(log.kinds)), strict=True)},
        "viewers": len(log.viewer_ids),
        "items": len(log.item_ids),
        "pairs": pairs.count,
        "rows_begun": len(pairs.row),
        "splits": {n: {"rows": len(r), "from": text(time[r[0]]), "to": text(time[r[-1]])} for n, r in splits.items()},
        "vocabularies": {name: category.vocabulary for name, category in categories.items()},
    }
