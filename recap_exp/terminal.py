"""The terminal that commands print to."""

from __future__ import annotations

from rich.console import Console

LOG_WIDTH = 140
"""Columns of a pipe or log file, which has no width to keep to."""


def console() -> Console:
    """Standard output: as wide as the terminal, or LOG_WIDTH."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=LOG_WIDTH)
