"""Folders that are made once: under a name that what they are made of determines, whole or not there, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from recap_exp import paths
from recap_exp.data.dataset import MANIFEST
from recap_exp.data.fingerprint import json_sha256
from recap_exp.errors import DataError
from recap_exp.whole import draft_of, remove_drafts

T = TypeVar("T")


def maker() -> dict[str, str]:
    """Which version of the program makes a set, and at which command: for its manifest."""
    return {"recap-exp": version("recap-exp"), "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])}


class AlreadyThere(DataError):
    """The folder exists: nothing was written."""


def made_once(name: str, origin: Mapping[str, Any], open_it: Callable[[Path], T], make: Callable[[Path], T]) -> T:
    """What is in outputs/data under the name that `name` and `origin` give; made there by `make` where it is not there yet."""
    folder = paths.made_data_dir() / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}-{json_sha256(origin)[:12]}"
    if (folder / MANIFEST).is_file():
        return open_it(folder)
    with _only_maker(folder):
        if (folder / MANIFEST).is_file():
            return open_it(folder)
        remove_drafts(folder)
        return make(folder)


@contextmanager
def _only_maker(folder: Path) -> Iterator[None]:
    """Processes that need the same set wait for the one that makes it; one that is killed keeps nobody waiting."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft beside `folder` for the block to fill, which takes its name at the block's end. After any error nothing is left behind.

    Raises AlreadyThere where `folder` exists.
    """
    if folder.exists():
        raise AlreadyThere(f"{folder} exists already: remove it, or choose another folder")
    draft = draft_of(folder)
    try:
        draft.mkdir(parents=True)
        yield draft
        try:
            os.rename(draft, folder)
        except OSError as error:
            if not folder.exists():
                raise
            raise AlreadyThere(f"{folder} exists already: another process made it") from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
