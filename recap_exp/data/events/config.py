"""Configuration of tables built from an event log. Free of torch."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from recap_exp.configclass import configclass


@configclass
class EventsSource:
    """A log of (viewer, item, time, kind of event, other columns), turned into one row per (viewer, item) pair at its first event."""

    kind: Literal["events"] = "events"
    files: list[str] = field(default_factory=list)
    """CSV (also .gz, .zip) or Parquet, relative to RECAP_DATA."""
    # the rest is the room's own: see conf/data/events.yaml
