"""Tables built from an event log: see EventsSource for what a row is and what its features may know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recap_exp.data.config import DataConfig
    from recap_exp.data.events.config import EventsSource
    from recap_exp.data.schema import Columns, Schema


def build(source: EventsSource, cfg: DataConfig) -> tuple[Schema, dict[str, Callable[[], Iterator[Columns]]], dict[str, Any]]:
    """The table's schema, its splits (each call gives the rows anew, in time order, in chunks), and how it was made.

    The last is plain JSON: names of the features by block, numbers of events, pairs and rows, times of the splits, vocabularies.
    Memory: the table stays, 4 bytes a feature and row; besides, at the peak, about 400 bytes an event.
    Raises DataError, one line, where the log does not fit the configuration.
    """
    from recap_exp.data.events.table import build

    return build(source, cfg)
