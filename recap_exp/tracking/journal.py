"""The run's own record of itself: records.jsonl, one JSON object a line, appended and never changed.

Every record has `k` (its kind) and `t` (ms since 1970); the rest belongs to the kind:

    start     run, experiment, name, tags, notes, uri       a process began to write (again, after a resume);
              [parent]                                      our id of the run that this one belongs to
              [sweep {varied, objectives}]                  how a sweep's jobs are shown
    params    v {name: value}
    metrics   v {name: number}, step                        NaN and infinities as Python's json writes them
    tags      v {name: text}
    artifact  path                                          a file or folder under artifacts/
    dataset   name, digest, context, source, schema, profile
    end       status                                        the process closed the run
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recap_exp.errors import RecapError

log = logging.getLogger(__name__)

RECORDS = "records.jsonl"
Record = dict[str, Any]


class Journal:
    """Appends records. A record is one write to the file: it outlives the process, however that ends.

    The file stays locked while the journal is open, which keeps a second process off the run and tells others that it lives.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / RECORDS
        self._lock = threading.Lock()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        if not self._locked():
            os.close(self._file)
            raise RecapError(f"run {folder.name} is being written by another process; wait for it or stop it")
        self._unwritten = b""
        self._warned = False
        if self._torn():
            self._write(b"\n")

    def append(self, kind: str, **fields: Any) -> None:
        """One record, now. Where the disk is full it waits in memory for the next call."""
        record = {"t": time.time_ns() // 1_000_000, "k": kind, **fields}
        self._write(json.dumps(record, separators=(",", ":"), default=str).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        with self._lock:
            self._unwritten += line
            try:
                while self._unwritten:
                    self._unwritten = self._unwritten[os.write(self._file, self._unwritten) :]
            except OSError as error:
                if not self._warned:
                    log.warning("%s can't be written (%s): records wait in memory, training goes on", self.path, error.strerror)
                self._warned = True

    def close(self) -> None:
        """Unlock the file; no more records."""
        os.close(self._file)

    def _locked(self) -> bool:
        """The lock is ours. Whoever only looks (`is_being_written`) holds it for a moment: try again."""
        for _ in range(10):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(0.05)
        return False

    def _torn(self) -> bool:
        """Whether an earlier process died in the middle of a line."""
        size = os.fstat(self._file).st_size
        return size > 0 and os.pread(self._file, 1, size - 1) != b"\n"


def read(path: Path, offset: int = 0) -> Iterator[tuple[Record, int]]:
    """Records from byte `offset` on, each with the offset behind it. A torn line is skipped, an unfinished last one waits."""
    with open(path, "rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record, offset


def records(folder: Path) -> Iterator[Record]:
    """All that the run in `folder` has recorded so far; nothing where it has no journal yet."""
    if (path := folder / RECORDS).is_file():
        for record, _ in read(path):
            yield record


def first_start(folder: Path) -> Record | None:
    """What the run in `folder` said of itself when it began; None where it hasn't."""
    return next((record for record in records(folder) if record["k"] == "start"), None)


def is_being_written(folder: Path) -> bool:
    """Whether the process that writes the run's journal lives."""
    try:
        file = os.open(folder / RECORDS, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)
