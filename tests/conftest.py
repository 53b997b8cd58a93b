"""Every test writes its outputs to a folder of its own, and uses one thread: the suite runs in several processes."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    """outputs/ of this test."""
    folder = tmp_path / "outputs"
    monkeypatch.setenv("RECAP_OUTPUTS", str(folder))
    for name in ("RECAP_DATA", "RECAP_DEBUG", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return folder
