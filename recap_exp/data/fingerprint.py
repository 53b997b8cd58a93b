"""What makes two data sets the same: hashes of contents."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from recap_exp import paths
from recap_exp.whole import whole


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
    """As `hash_file`, remembered under outputs/cache for as long as path, size and time of change stay the same."""
    stat = path.stat()
    cache = paths.outputs_dir() / "cache" / "sha256" / sha256(f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}")
    if cache.is_file() and len(known := cache.read_text()) == 64:
        return known
    digest = hash_file(path)
    cache.parent.mkdir(parents=True, exist_ok=True)
    with whole(cache) as draft:
        draft.write_text(digest)
    return digest
