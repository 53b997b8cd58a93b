"""Configuration of the tracking room. Free of torch and mlflow."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from recap_exp.configclass import configclass


@configclass
class TrackingConfig:
    """Where a run is recorded."""

    kind: Literal["mlflow", "none"] = "mlflow"
    uri: str | None = None
    """Tracking server (http, https) or store (sqlite:///...); null: SQLite under outputs/."""
    experiment: str | None = None
    """MLflow experiment; null: the recipe's name."""
    run_name: str | None = None
    """null: what differs from the recipe's defaults."""
    tags: dict[str, str] = field(default_factory=dict)
    notes: str = ""
    params: list[str] = field(default_factory=list)
    """Further config keys logged as params, beside those that the overrides name and the recipe is likely to vary."""
    log_model: bool = True
    """Log a model that mlflow.pyfunc loads."""
