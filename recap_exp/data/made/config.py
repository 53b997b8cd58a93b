"""Configuration of made data sets. Free of torch."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from recap_exp.configclass import configclass

Format = Literal["parquet", "tfrecord"]


def _check_rows(rows: dict[str, int]) -> None:
    if not rows:
        raise ValueError("rows must name at least one split")
    for split, count in rows.items():
        if count < 1:
            raise ValueError(f"rows.{split} must be at least 1, not {count}")


@configclass
class RandomSource:
    """The original's distributions: floats uniform in [0, 1), integers uniform in 0...9, no signal (SPEC 5, 7)."""

    kind: Literal["random"] = "random"
    rows: dict[str, int] = field(default_factory=lambda: {"train": 4096, "val": 1024, "test": 1024})
    """Rows per split."""
    labels: Literal["binary", "digits"] = "binary"
    """binary: 0/1 at rate 0.5; digits: the original's 0...9."""
    format: Format = "parquet"
    files: int = 1
    """Files per split."""
    seed: int = 0

    def __post_init__(self) -> None:
        _check_rows(self.rows)


@configclass
class HalvesSource:
    """The fork's data (SPEC 5): a half without negative engagements, a half without positive ones; features carry no signal."""

    kind: Literal["halves"] = "halves"
    splits: list[str] = field(default_factory=lambda: ["train", "fresh"])
    """Every split is an independent draw of the same sizes."""
    positive_rows: int = 500
    negative_rows: int = 500
    extra_rows: int = 2
    """Rows appended at the end, as the fork does to feed its prefetching."""
    negative_labels: list[str] = field(default_factory=list)
    """Label columns that are 0 in the positive half."""
    positive_labels: list[str] = field(default_factory=list)
    """Label columns that are 0 in the negative half."""
    labels: Literal["binary", "digits"] = "binary"
    format: Format = "tfrecord"
    seed: int = 0


@configclass
class PlantedSource:
    """Features with a known signal: true probabilities come from a hidden ranker-like function and are stored beside the data."""

    kind: Literal["planted"] = "planted"
    rows: dict[str, int] = field(default_factory=lambda: {"train": 100_000, "val": 20_000, "test": 40_000})
    rates: dict[str, float] = field(default_factory=dict)
    """Base rate per task name: the mean of the true probabilities."""
    continuous: int = 40
    binary: int = 12
    discrete: int = 8
    embedding: int = 8
    """Width of each of the three embeddings (user, user_eng, author)."""
    format: Format = "parquet"
    files: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        _check_rows(self.rows)
        for task, rate in self.rates.items():
            if not 0 < rate < 1:
                raise ValueError(f"rates.{task} must be in (0, 1), not {rate}")


@configclass
class NullSource(PlantedSource):
    """As planted, but labels are drawn at the base rates independently of the features: every AUC is 0.5 within error."""

    kind: Literal["null"] = "null"  # type: ignore[assignment]
