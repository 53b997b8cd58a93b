"""Which store a run goes to, and where it is seen there. Free of mlflow."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from recap_exp.errors import ConfigError
from recap_exp.paths import outputs_dir
from recap_exp.tracking.config import check_uri

PORT = 5000
"""Of the user interface that `recap-exp ui` starts."""
VIEW = "recap"
"""Name of the view of an experiment's runs that is stored with the experiment: see views.py."""


def default_uri() -> str:
    """SQLite under outputs/, absolute."""
    return f"sqlite:///{outputs_dir() / 'mlflow.db'}"


def artifacts_dir(uri: str) -> Path | None:
    """Where the artifacts of a store on this disk lie: beside its database. None where a server or another database decides."""
    return database(uri).with_name("mlartifacts") if uri.startswith("sqlite:") else None


def database(uri: str) -> Path:
    """The file of an SQLite uri."""
    return Path(uri.split("///", 1)[1].split("?", 1)[0])


def resolve_uri(given: str | None) -> str:
    """tracking.uri; else MLFLOW_TRACKING_URI of the environment; else the default store. SQLite paths become absolute."""
    if given is None and not (given := os.environ.get("MLFLOW_TRACKING_URI")):
        return default_uri()
    try:
        check_uri(given, "MLFLOW_TRACKING_URI")
    except ValueError as error:
        raise ConfigError(f"{error}; unset it, or set tracking.uri") from None
    return f"sqlite:///{database(given).expanduser().resolve()}" if given.startswith("sqlite:") else given.rstrip("/")


def is_server(uri: str) -> bool:
    """Whether a tracking server, and not we, writes the store."""
    return uri.startswith(("http://", "https://"))


def ui_base(uri: str) -> str:
    """Where the store's user interface is: the server's own, or the one that `recap-exp ui` opens."""
    return uri if is_server(uri) else f"http://127.0.0.1:{PORT}"


def run_url(uri: str, experiment_id: str, run_id: str) -> str:
    """Where a run is seen."""
    return f"{ui_base(uri)}/#/experiments/{experiment_id}/runs/{run_id}"


def sweep_view_key(sweep: str) -> str:
    """Name of the view of one sweep's jobs."""
    return f"{VIEW}-{sweep}"


def compare_url(uri: str, experiment_id: str, base: str | None = None, sweep: str | None = None) -> str:
    """The list of an experiment's runs, or of a sweep's jobs, with the columns that `views.py` chose."""
    return f"{base or ui_base(uri)}/#/experiments/{experiment_id}/runs?viewStateShareKey={sweep_view_key(sweep) if sweep else VIEW}"


def ui_command(uri: str) -> str | None:
    """The command that opens the interface; None where a server shows it anyway."""
    if is_server(uri):
        return None
    return "recap-exp ui" if uri == resolve_uri(None) else f"MLFLOW_TRACKING_URI={shlex.quote(uri)} recap-exp ui"
