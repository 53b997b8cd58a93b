"""One file under two names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from recap_exp.whole import whole


def link(source: Path, target: Path) -> None:
    """`source`, a file or folder, at `target` too: linked where the file system can, else copied; each file whole or not at all.

    Only for whoever is the only one to write `target`.
    """
    if source.is_dir():
        for child in source.iterdir():
            link(child, target / child.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole(target, alone=True) as draft:
        try:
            os.link(source, draft)
        except OSError:
            shutil.copy2(source, draft)
