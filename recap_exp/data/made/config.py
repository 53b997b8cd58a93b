"""Configuration of made data sets. Free of torch."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from recap_exp.configclass import configclass

Format = Literal["parquet", "tfrecord"]

ENGAGEMENT = "recap.engagement."
"""Prefix of the original's label columns."""

LABELS = [
    ENGAGEMENT + name
    for name in (
        "is_bookmarked",
        "is_favorited",
        "is_good_clicked_convo_desc_favorited_or_replied",
        "is_good_clicked_convo_desc_v2",
        "is_negative_feedback_v2",
        "is_profile_clicked_and_profile_engaged",
        "is_replied",
        "is_replied_reply_engaged_by_author",
        "is_report_tweet_clicked",
        "is_retweeted",
        "is_shared",
        "is_tweet_detail_dwelled_15_sec",
        "is_video_playback_50",
    )
]
"""The original's 13 label columns, in its order."""

NEGATIVE_LABELS = [ENGAGEMENT + "is_negative_feedback_v2", ENGAGEMENT + "is_report_tweet_clicked"]
"""Zero in the fork's positive half."""

POSITIVE_LABELS = [
    ENGAGEMENT + name
    for name in (
        "is_profile_clicked_and_profile_engaged",
        "is_replied_reply_engaged_by_author",
        "is_video_playback_50",
        "is_retweeted",
        "is_favorited",
        "is_shared",
        "is_replied",
        "is_good_clicked_convo_desc_favorited_or_replied",
        "is_tweet_detail_dwelled_15_sec",
    )
]
"""Zero in the fork's negative half; two positive engagements stay random in both halves, as in the fork."""

RATES = {
    ENGAGEMENT + "is_favorited": 0.12,
    ENGAGEMENT + "is_good_clicked_convo_desc_favorited_or_replied": 0.02,
    ENGAGEMENT + "is_good_clicked_convo_desc_v2": 0.05,
    ENGAGEMENT + "is_negative_feedback_v2": 0.01,
    ENGAGEMENT + "is_profile_clicked_and_profile_engaged": 0.03,
    ENGAGEMENT + "is_replied": 0.03,
    ENGAGEMENT + "is_replied_reply_engaged_by_author": 0.008,
    ENGAGEMENT + "is_report_tweet_clicked": 0.001,
    ENGAGEMENT + "is_retweeted": 0.02,
    ENGAGEMENT + "is_video_playback_50": 0.4,
}
"""Base rates of the planted data, from frequent to very rare."""


def _check_rows(rows: dict[str, int]) -> None:
    if not rows:
        raise ValueError("rows must name at least one split")
    for split, count in rows.items():
        if count < 1:
            raise ValueError(f"rows.{split} must be at least 1, not {count}")


def _check_storage(seed: int, files: int = 1) -> None:
    if seed < 0:
        raise ValueError(f"seed must be at least 0, not {seed}")
    if files < 1:
        raise ValueError(f"files must be at least 1, not {files}")


def _check_labels(columns: list[str], **chosen: list[str]) -> None:
    if len(set(columns)) < len(columns):
        raise ValueError(f"label_columns names a column twice: {columns}")
    for key, names in chosen.items():
        for name in names:
            if name not in columns:
                raise ValueError(f"{key} names {name!r}, which is not one of label_columns {columns}")


@configclass
class RandomSource:
    """The original's distributions: floats uniform in [0, 1), integers uniform in 0...9, no signal."""

    kind: Literal["random"] = "random"
    rows: dict[str, int] = field(default_factory=lambda: {"train": 4096, "val": 1024, "test": 1024})
    """Rows per split."""
    label_columns: list[str] = field(default_factory=lambda: list(LABELS))
    """Label columns that are stored."""
    labels: Literal["binary", "digits"] = "binary"
    """binary: 0/1 at rate 0.5; digits: the original's 0...9."""
    format: Format = "parquet"
    files: int = 1
    """Files per split."""
    seed: int = 0

    def __post_init__(self) -> None:
        _check_rows(self.rows)
        _check_storage(self.seed, self.files)
        _check_labels(self.label_columns)


@configclass
class HalvesSource:
    """The fork's data: a half without negative engagements, a half without positive ones; features carry no signal."""

    kind: Literal["halves"] = "halves"
    splits: list[str] = field(default_factory=lambda: ["train", "fresh"])
    """Every split is an independent draw of the same sizes."""
    positive_rows: int = 500
    negative_rows: int = 500
    extra_rows: int = 2
    """Rows appended at the end, as the fork does to feed its prefetching; all their labels are random."""
    label_columns: list[str] = field(default_factory=lambda: list(LABELS))
    """Label columns that are stored."""
    negative_labels: list[str] = field(default_factory=lambda: list(NEGATIVE_LABELS))
    """Label columns that are 0 in the positive half."""
    positive_labels: list[str] = field(default_factory=lambda: list(POSITIVE_LABELS))
    """Label columns that are 0 in the negative half."""
    labels: Literal["binary", "digits"] = "binary"
    """binary: 0/1 at rate 0.5 where they are not 0; digits: the fork's 0...9."""
    format: Format = "tfrecord"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.splits or len(set(self.splits)) < len(self.splits):
            raise ValueError(f"splits must name at least one split and none twice, not {self.splits}")
        for key, least in (("positive_rows", 1), ("negative_rows", 1), ("extra_rows", 0)):
            if (rows := getattr(self, key)) < least:
                raise ValueError(f"{key} must be at least {least}, not {rows}")
        _check_storage(self.seed)
        _check_labels(self.label_columns, negative_labels=self.negative_labels, positive_labels=self.positive_labels)


@configclass
class PlantedSource:
    """Features with a known signal: true probabilities come from a hidden ranker-like function and are stored beside the data."""

    kind: Literal["planted"] = "planted"
    rows: dict[str, int] = field(default_factory=lambda: {"train": 100_000, "val": 20_000, "test": 40_000})
    """Rows per split."""
    rates: dict[str, float] = field(default_factory=lambda: dict(RATES))
    """Base rate per label column: the mean of its true probabilities. These are the label columns that are stored."""
    continuous: int = 32
    """Heavy-tailed features."""
    binary: int = 12
    """Features that are 0 or 1."""
    discrete: int = 8
    """Categorical features, values 0...9."""
    embedding: int = 8
    """Width of each of the three embeddings (user, user_eng, author)."""
    format: Format = "parquet"
    files: int = 1
    """Files per split."""
    seed: int = 0
    """Of the hidden function, the users and authors, and every row: another seed is another world."""

    def __post_init__(self) -> None:
        _check_rows(self.rows)
        _check_storage(self.seed, self.files)
        if not self.rates:
            raise ValueError("rates must name at least one label column")
        for label, rate in self.rates.items():
            if not 0 < rate < 1:
                raise ValueError(f"rates.{label} must be in (0, 1), not {rate}")
        for key, least in (("continuous", 8), ("binary", 2), ("discrete", 1), ("embedding", 4)):
            if (width := getattr(self, key)) < least:
                raise ValueError(f"{key} must be at least {least}, not {width}")


@configclass
class NullSource(PlantedSource):
    """As planted, but labels are drawn at the base rates independently of the features: every AUC is 0.5 within error."""

    kind: Literal["null"] = "null"  # type: ignore[assignment]


MadeSource = RandomSource | HalvesSource | PlantedSource | NullSource
