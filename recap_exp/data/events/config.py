"""Configuration of tables built from an event log. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import field
from typing import Literal

from recap_exp.configclass import configclass

RESERVED = frozenset({"pairs", "new", "age_hours", "gap_hours"})
"""Feature names that the history makes itself, after `viewer_` and `item_`."""


@configclass
class EventColumns:
    """Columns of the log."""

    viewer: str = "viewer"
    """Who acts. Integers stay as they are; other ids become a stable 64-bit hash of their text."""
    item: str = "item"
    """What is acted on; as the viewer."""
    time: str = "time"
    event: str = "event"
    """Kind of event (view, like, ...)."""


@configclass
class HistoryConfig:
    """What is known of a viewer and of an item from events strictly before a row's time; events at that very time don't count."""

    counts: dict[str, list[str]] = field(default_factory=dict)
    """Name -> kinds of event counted together. Gives, for viewer and item each, the number of such events and a smoothed rate."""
    prior_strength: float = 5.0
    """s of the smoothed rate (a + s g) / (n + s): of n pairs begun before, a had such an event; g is that share in the whole log so far."""
    recent_hours: list[float] = field(default_factory=list)
    """For each h: every count once more, over [t - h, t) alone."""

    def __post_init__(self) -> None:
        _check_names("history.counts", self.counts)
        if clash := RESERVED & self.counts.keys():
            raise ValueError(f"history.counts.{min(clash)}: the name is taken; allowed are all but {sorted(RESERVED)}")
        if not self.prior_strength > 0:
            raise ValueError(f"history.prior_strength must be > 0, not {self.prior_strength}")
        if any(not h > 0 for h in self.recent_hours) or len(set(self.recent_hours)) < len(self.recent_hours):
            raise ValueError(f"history.recent_hours must be different numbers > 0, not {self.recent_hours}")


@configclass
class CategoryConfig:
    """A text or integer column as a category: a code, 0 for unknown or rare, and flags beside it."""

    column: str
    """Column of the log."""
    value: Literal["row", "last"] = "row"
    """row: as the row's own event says; last: as the viewer's latest earlier event with a value says. Take `last` where the log fills
    the column for some kinds of event only: at the row's own event a gap would then tell the label."""
    rules: dict[str, str] = field(default_factory=dict)
    """Category -> regular expression searched for in the value; the first that matches names the category, none: unknown.
    Empty: the value itself is the category."""
    min_count: int = 1
    """Categories with fewer rows in the first split are rare."""
    one_hot: bool = True
    """Also a flag for each category, in the binary block."""

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise ValueError(f"min_count must be at least 1, not {self.min_count}")
        for category, pattern in self.rules.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"rules.{category}: {pattern!r} is no regular expression: {error}") from None


@configclass
class EventsSource:
    """A log of (viewer, item, time, kind of event), turned into one row per (viewer, item) pair at its first event.

    No feature of a row knows anything at or after the row's time: history is strictly before it, and what is fitted (vocabularies) is
    fitted on the first split. Splits are consecutive in time.
    """

    kind: Literal["events"] = "events"
    files: list[str] = field(default_factory=list)
    """CSV (also .gz, or .zip with one member) or Parquet: paths or globs, relative to RECAP_DATA. A file beside its own compressed copy
    is read once."""
    columns: EventColumns = field(default_factory=EventColumns)
    time_unit: Literal["s", "ms", "us", "iso"] = "s"
    """Numbers since 1970 in that unit, or ISO 8601 texts (UTC where they name no zone). Parquet timestamps need none."""
    impressions: list[str] | None = None
    """Kinds of event that begin a pair: its row is at the first of them; null: at its first event of any kind."""
    labels: dict[str, list[str]] = field(default_factory=dict)
    """Name -> kinds of event. Label column `label_NAME` is 1 where the pair has such an event within [t, t + window_hours], t the row's
    time: an event that itself begins the pair counts, as does one at the same time."""
    window_hours: float = 24.0
    history: HistoryConfig = field(default_factory=HistoryConfig)
    calendar: list[Literal["hour", "weekday"]] = field(default_factory=list)
    """hour: sine and cosine of the time of day; weekday: a flag for each day, Monday first."""
    utc_offset_hours: float = 0.0
    """Local time minus UTC, for the calendar."""
    categorical: dict[str, CategoryConfig] = field(default_factory=dict)
    """By the name of the feature."""
    split: dict[str, float] = field(default_factory=lambda: {"train": 0.7, "val": 0.1, "test": 0.2})
    """Fractions of the rows, in time order. Rows of one time stay together, in the later split."""
    purge: bool = True
    """Drop the rows at a split's end whose label window reaches into the next split: there, their labels could not be known yet."""
    drop_incomplete: bool = True
    """Drop the rows at the log's end whose label window is not over."""

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("files must name at least one file")
        if not self.labels:
            raise ValueError("labels must name at least one label")
        _check_names("labels", self.labels)
        _check_names("categorical", self.categorical)
        for name, kinds in self.labels.items():
            if not kinds:
                raise ValueError(f"labels.{name} must list at least one kind of event")
        if self.impressions is not None and not self.impressions:
            raise ValueError("impressions must list at least one kind of event, or be null for all")
        if not self.window_hours >= 0:
            raise ValueError(f"window_hours must be at least 0, not {self.window_hours}")
        if len(set(self.calendar)) < len(self.calendar):
            raise ValueError(f"calendar must not repeat itself: {self.calendar}")
        if not self.split or any(not f > 0 for f in self.split.values()) or abs(sum(self.split.values()) - 1) > 1e-6:
            raise ValueError(f"split must be fractions > 0 that sum to 1, not {self.split}")


def _check_names(key: str, names: Iterable[str]) -> None:
    for name in names:
        if not re.fullmatch(r"\w+", name):
            raise ValueError(f"{key}: the name {name!r} may hold letters, digits and _ alone")
