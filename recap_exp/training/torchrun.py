"""What torchrun, or whoever starts processes as it does, tells each of them in the environment. Free of torch."""

from __future__ import annotations

import os

from recap_exp.errors import ConfigError

PLACE = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def world_size() -> int:
    """How many processes were started together; 1 where this one was started alone."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in PLACE) else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def local_rank() -> int:
    """Its number on its machine, which is its GPU's."""
    return int(os.environ.get("LOCAL_RANK", rank()))


def local_world_size() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))


def require_alone(what: str) -> None:
    """Raises ConfigError where several processes were started for what one does."""
    if world_size() > 1:
        raise ConfigError(f"{what} is the work of one process: start it without torchrun")
