"""Configuration of the tracking room. Free of torch and mlflow."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from recap_exp.configclass import configclass

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
"""What a tracking uri may begin with. MLflow's folder of files (file:, or a bare path) is no longer a store."""


def check_uri(uri: str, key: str) -> str:
    """The uri itself, or a ValueError that names `key`."""
    scheme = uri.split(":", 1)[0].split("+", 1)[0] if "://" in uri else ""
    if scheme not in SCHEMES:
        raise ValueError(f"{key} must begin with {', '.join(f'{s}://' for s in SCHEMES)}, not '{uri}'")
    return uri


@configclass
class TrackingConfig:
    """Where a run is recorded. Whatever is chosen, the run's folder under outputs/runs/ holds every record."""

    kind: Literal["mlflow", "none"] = "mlflow"
    """none: the run's folder only."""
    uri: str | None = None
    """Tracking server (http, https) or database (sqlite:////absolute/path.db, postgresql, ...);
    null: MLFLOW_TRACKING_URI of the environment, else SQLite under outputs/."""
    experiment: str | None = None
    """MLflow experiment; null: the recipe's name."""
    run_name: str | None = None
    """null: what differs from the recipe's defaults."""
    tags: dict[str, str] = field(default_factory=dict)
    notes: str = ""
    """Shown as the run's description, Markdown."""
    params: list[str] = field(default_factory=list)
    """Further config keys logged as params, beside those that the overrides name and the recipe is likely to vary."""
    log_model: bool = True
    """Log a model that mlflow.pyfunc loads."""

    def __post_init__(self) -> None:
        if self.uri is not None:
            check_uri(self.uri, "tracking.uri")
