"""What makes two data sets the same: hashes of contents."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recap_exp import paths
from recap_exp.whole import whole

SETTLED_NS = 2_000_000_000
"""Age of a change after which another one can't have the same time, on any usual file system."""


def sha256(text: str) -> str:
    """Hex digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def json_sha256(value: Any) -> str:
    """Hex digest of a JSON value, whatever the order of its keys."""
    return sha256(json.dumps(value, sort_keys=True, default=str))


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_hash(path: Path) -> str:
    """As `hash_file`, remembered under outputs/cache for as long as the file system says that nothing was written to the file.

    That is the time of the inode's last change, which, unlike the time of the content's last change, nobody can set back. A file that was
    changed just now is not remembered: it could change again at what is the same time to the file system's clock.
    """
    stat, now = path.stat(), time.time_ns()
    key = f"{path.resolve()}|{stat.st_dev}|{stat.st_ino}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}"
    cache = paths.outputs_dir() / "cache" / "sha256" / sha256(key)
    if cache.is_file() and len(known := cache.read_text()) == 64:
        return known
    digest = hash_file(path)
    if now - stat.st_ctime_ns > SETTLED_NS:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with whole(cache) as draft:
            draft.write_text(digest)
    return digest


def file_hashes(files: Sequence[Path], fresh: bool = False) -> dict[str, str]:
    """SHA-256 of each file, in order, by its path below the folder that all of them are in: the same wherever that folder lies.

    fresh: every byte is read, also of a file that the file system says is as it was when it was read last.
    """
    if not files:
        return {}
    root = os.path.commonpath([file.parent.resolve() for file in files])
    return {os.path.relpath(file.resolve(), root): hash_file(file) if fresh else cached_hash(file) for file in files}
