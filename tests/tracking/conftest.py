import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recap_exp.tracking.config import TrackingConfig
from recap_exp.tracking.open import open_tracker
from recap_exp.tracking.tracker import RunInfo, Tracker

OpenRun = Callable[..., Tracker]


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty outputs folder, and no MLflow settings of the user's."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RECAP_OUTPUTS", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that mlflow has created, to be copied: creating one takes seconds."""
    from recap_exp.tracking.store import Store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{path}")
    return path


@pytest.fixture
def store_ready(outputs: Path, made_store: Path) -> Path:
    """An outputs folder with an empty default store."""
    shutil.copy(made_store, outputs / "mlflow.db")
    return outputs


@pytest.fixture
def open_run(outputs: Path) -> OpenRun:
    """Opens a run by its id in the outputs folder."""

    def open_(run: str = "20261124-034512-a1b2c3", *, info: dict[str, Any] | None = None, **tracking: object) -> Tracker:
        info = RunInfo(**{"id": run, "folder": outputs / "runs" / run, "experiment": "recipe", "name": "seed=1", **(info or {})})
        return open_tracker(TrackingConfig(**tracking), info)  # type: ignore[arg-type]

    return open_


@pytest.fixture
def no_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose sender never came up: their journals are left to `send`, in this process."""
    monkeypatch.setattr("recap_exp.tracking.recorder.deliver", lambda folder, uri: None)
