"""One file under two names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def link(source: Path, target: Path) -> None:
    """`source`, a file or folder, at `target` too: linked where the file system can, else copied; each file whole or not at all."""
    if source.is_dir():
        for child in source.iterdir():
            link(child, target / child.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.{os.getpid()}")
    half.unlink(missing_ok=True)
    try:
        os.link(source, half)
    except OSError:
        shutil.copy2(source, half)
    os.replace(half, target)
    half.unlink(missing_ok=True)  # renaming one name of a file to another of its names leaves both
