"""Where things lie: the only module that knows. All paths are absolute, whatever the working folder."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """The root of the source checkout that the package runs from, or None where it was installed from a wheel."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "conf").is_dir() else None


def conf_dir() -> Path:
    """conf/ of the checkout, or the copy that travels in the wheel."""
    root = checkout()
    return root / "conf" if root else PACKAGE / "conf"


def outputs_dir() -> Path:
    """Everything that commands write: RECAP_OUTPUTS, else outputs/ of the checkout, else outputs/ of the working folder."""
    if path := os.environ.get("RECAP_OUTPUTS"):
        return Path(path).expanduser().resolve()
    return (checkout() or Path.cwd()) / "outputs"


def runs_dir() -> Path:
    """One folder a run, named by its run id."""
    return outputs_dir() / "runs"


def comparisons_dir() -> Path:
    """One folder a comparison, named after what it compares."""
    return outputs_dir() / "comparisons"


def made_data_dir() -> Path:
    """Data sets that the program made itself, one folder each."""
    return outputs_dir() / "data"


def data_path(path: str) -> Path:
    """A path from a configuration: absolute as it is, relative to RECAP_DATA where that is set, else to the working folder."""
    given = Path(path).expanduser()
    return given if given.is_absolute() else Path(os.environ.get("RECAP_DATA") or ".").expanduser().resolve() / given
