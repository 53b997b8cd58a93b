"""run.json in a run's folder: what the run is and where it stands. Threads and processes write it: under a lock, in one replacement."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

from recap_exp.whole import whole

RUN = "run.json"


def read_run(folder: Path) -> dict[str, Any]:
    """The fields of a run; {} where it has none yet."""
    try:
        return dict(json.loads((folder / RUN).read_text()))
    except FileNotFoundError:
        return {}


def update_run(folder: Path, **fields: Any) -> None:
    """Set these fields and leave the others as they are."""
    with open(folder / f".{RUN}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with whole(folder / RUN, alone=True) as draft:
            draft.write_text(json.dumps(read_run(folder) | fields, indent=2, default=str) + "\n")
