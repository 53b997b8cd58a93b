"""Files that are there whole or not at all, whenever the process dies and whoever reads meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, alone: bool = False) -> Iterator[Path]:
    """A draft beside `path` for the block to write. It takes the place of `path` at the block's end, and is gone if the block fails.

    alone: nobody else writes `path` now, so that other drafts of it are those of killed processes, and are removed.
    """
    draft = draft_of(path)
    if alone:
        remove_drafts(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # also after renaming one link of a file to another of it, which leaves both


def draft_of(path: Path) -> Path:
    """A hidden name beside `path`, of this process and moment, for a file or folder that will take its place."""
    return path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}")


def remove_drafts(path: Path) -> None:
    """Removes what killed processes have left of `path`. Only for whoever is the only one to write it."""
    name = re.compile(rf"\.{re.escape(path.name)}\.\d+-\d+")
    for found in path.parent.iterdir() if path.parent.is_dir() else ():
        if name.fullmatch(found.name):
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            else:
                found.unlink()
