"""A store whose maker is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest


def make_and_die(uri: str) -> None:
    """In a process of its own: killed in the middle of a change of the tables."""
    import alembic.ddl.impl

    from recap_exp.tracking.store import Store

    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    alembic.ddl.impl.DefaultImpl.rename_table = die  # type: ignore[method-assign]
    Store(uri)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_it_makes_the_store_the_next_one_makes_it(outputs: Path) -> None:
    from recap_exp.tracking.store import Store

    uri = f"sqlite:///{outputs}/mlflow.db"
    pid = os.fork()
    if pid == 0:
        make_and_die(uri)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    store = Store(uri)
    start = {"run": "r", "experiment": "e", "name": "n", "notes": "", "tags": {}, "t": time.time_ns() // 1_000_000}
    assert store.run(start, None).info.status == "RUNNING"
    assert not [p.name for p in outputs.iterdir() if p.is_dir() and p.name.startswith(".")]
