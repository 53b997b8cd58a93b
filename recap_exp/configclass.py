"""The one decorator of configuration dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

from pydantic import ConfigDict

T = TypeVar("T")


@dataclass_transform(kw_only_default=True)
def configclass(cls: type[T]) -> type[T]:
    """A keyword-only dataclass whose unknown keys and wrong types are errors when it is read from a configuration."""
    made = dataclass(kw_only=True)(cls)
    made.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[attr-defined]
    return made
