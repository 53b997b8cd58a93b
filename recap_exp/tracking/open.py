"""The door of the room: a configuration and a run in, a tracker out."""

from __future__ import annotations

from recap_exp.tracking.config import TrackingConfig
from recap_exp.tracking.destination import resolve_uri
from recap_exp.tracking.recorder import Recorder
from recap_exp.tracking.tracker import RunInfo, Tracker


def open_tracker(cfg: TrackingConfig, run: RunInfo) -> Tracker:
    """Starts to record a run, or goes on with one whose folder has a journal. Returns at once; no store is needed to train."""
    return Recorder(run, resolve_uri(cfg.uri) if cfg.kind == "mlflow" else None)
