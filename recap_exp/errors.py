"""Errors that a user can act on: one line that names the thing, the value and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib.util import find_spec


class RecapError(Exception):
    """Ends a command with exit code 1 and this one line, without a stack trace (RECAP_DEBUG=1 shows it)."""


class ConfigError(RecapError):
    """A wrong key, value or combination in the configuration; raised before torch is imported."""


class DataError(RecapError):
    """Data that can't be read or used: names file, record, column and value as far as they are known."""


class CheckpointError(RecapError):
    """A checkpoint, run or weights file that is missing, unreadable or of another model."""


def require_package(package: str, what: str) -> None:
    """Raises ConfigError where an optional package that `what` needs, the extra of the same name, is not installed. Imports nothing."""
    if find_spec(package) is None:
        raise ConfigError(f"{what} needs the package {package}, which is not installed: pip install 'recap-exp[{package}]'")


def known(name: str, allowed: Iterable[str], key: str) -> None:
    """Raises ConfigError where `key` names something that is not allowed."""
    allowed = list(allowed)
    if name not in allowed:
        raise ConfigError(f"{key}='{name}': allowed are {', '.join(allowed)}{nearest(name, allowed)}")


def first_line(error: BaseException) -> str:
    """What another library's error says, without what follows; its type's name where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def nearest(wrong: str, allowed: Iterable[str]) -> str:
    """ " (did you mean 'x'?)" for the nearest right spelling, or "" where none is near."""
    match = difflib.get_close_matches(wrong, [str(a) for a in allowed], n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""
