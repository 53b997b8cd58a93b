"""Files that are there whole or not at all, whenever the process dies and whoever reads meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A draft beside `path` for the block to write. It takes the place of `path` at the block's end, and is gone if the block fails."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # also after renaming one link of a file to another of it, which leaves both
