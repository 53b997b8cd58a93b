"""Rows with a known signal: users meet authors, and a hidden function turns what is known of both into probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recap_exp.data.config import BlockKind, DataConfig
from recap_exp.data.made.config import NullSource, PlantedSource
from recap_exp.data.made.draws import chunks, generator
from recap_exp.data.made.hidden import Features, HiddenFunction
from recap_exp.data.schema import Block, Columns, Schema
from recap_exp.errors import ConfigError

CHUNK_ROWS = 8192
USERS, AUTHORS, POSTS = 5000, 1000, 64
"""Users and authors there are, and posts per author; rows repeat them."""

IDS = ("user_id", "author_id", "post_id")


class Planted:
    """A world of users, authors and one hidden function; every split is an independent draw of impressions in it."""

    def __init__(self, source: PlantedSource, cfg: DataConfig) -> None:
        """Draw the world from the seed. ConfigError where the configuration asks for blocks, ids or extras of its own."""
        self.source = source
        self.schema = _schema(source, cfg)
        self.labels = list(source.rates)
        rng = generator(source.seed, "world")
        # embeddings have a decaying spectrum: a few interests tell users and authors apart
        spectrum_E = (0.7 ** np.arange(source.embedding)).astype(np.float32)
        users, noise, authors = (rng.standard_normal((n, source.embedding), dtype=np.float32) for n in (USERS, USERS, AUTHORS))
        self.user_emb_UE = users * spectrum_E
        # what a user engages with resembles what the user follows, but is not the same
        self.user_eng_UE = (0.6 * users + 0.8 * noise) * spectrum_E
        self.author_emb_AE = authors * spectrum_E
        self.user_id_U, self.author_id_A = (rng.integers(2**32, 2**62, size=n) for n in (USERS, AUTHORS))
        self.post_id_AP = rng.integers(2**32, 2**62, size=(AUTHORS, POSTS))
        self.tail_C = rng.uniform(0.5, 2.0, source.continuous).astype(np.float32)
        self.rate_I = rng.uniform(0.2, 0.7, source.binary).astype(np.float32)
        self.hidden: HiddenFunction | None = None
        if not isinstance(source, NullSource):
            self.hidden = HiddenFunction(source, self.rate_I)
            self.hidden.calibrate(self._features(generator(source.seed, "calibration"), 8 * CHUNK_ROWS)[0])

    def split(self, split: str) -> Iterator[Columns]:
        """The rows of one split, in chunks."""
        return chunks(self._draw, self.source.seed, f"split/{split}", self.source.rows[split], CHUNK_ROWS)

    def _draw(self, rng: np.random.Generator, rows: int) -> Columns:
        x, ids = self._features(rng, rows)
        columns = Columns(ids={name: ids[column] for name, column in self.schema.ids.items()})
        # sign(x) log(1 + |x|), the ranker's first step, undoes the heavy tails
        continuous = np.sign(x.z_NC) * np.expm1(np.abs(x.z_NC) * self.tail_C)
        columns.blocks = {
            "continuous": continuous,
            "binary": x.binary_NI,
            "discrete": x.discrete_NJ,
            "user_embedding": x.user_NE,
            "user_eng_embedding": x.user_eng_NE,
            "author_embedding": x.author_NE,
        }
        probs_NT = self.hidden.probs(x) if self.hidden else np.tile(list(self.source.rates.values()), (rows, 1))
        drawn_NT = rng.random(probs_NT.shape) < probs_NT
        columns.labels = {label: drawn_NT[:, t].astype(np.int64) for t, label in enumerate(self.labels)}
        columns.truths = {label: np.ascontiguousarray(probs_NT[:, t]) for t, label in enumerate(self.labels)}
        return columns

    def _features(self, rng: np.random.Generator, rows: int) -> tuple[Features, dict[str, np.ndarray]]:
        user_N = rng.integers(USERS, size=rows)
        author_N = (AUTHORS * rng.random(rows) ** 2).astype(np.int64)  # few authors are seen often
        post_N = rng.integers(POSTS, size=rows)
        s = self.source
        features = Features(
            z_NC=rng.standard_normal((rows, s.continuous), dtype=np.float32),
            binary_NI=(rng.random((rows, s.binary), dtype=np.float32) < self.rate_I).astype(np.float32),
            discrete_NJ=rng.integers(0, 10, size=(rows, s.discrete), dtype=np.uint8).astype(np.int64),
            user_NE=self.user_emb_UE[user_N],
            user_eng_NE=self.user_eng_UE[user_N],
            author_NE=self.author_emb_AE[author_N],
        )
        return features, {
            "user_id": self.user_id_U[user_N],
            "author_id": self.author_id_A[author_N],
            "post_id": self.post_id_AP[author_N, post_N],
        }


def _schema(source: PlantedSource, cfg: DataConfig) -> Schema:
    if cfg.blocks:
        raise ConfigError(f"data.blocks must be empty: {source.kind} data has blocks of its own, their widths are set in data.source")
    if cfg.extras:
        raise ConfigError(f"data.extras must be empty: {source.kind} data has none")
    if wrong := {name: column for name, column in cfg.ids.items() if column not in IDS}:
        raise ConfigError(f"data.ids names the columns {list(wrong.values())}: {source.kind} data has {', '.join(IDS)}")
    widths: dict[str, tuple[BlockKind, int]] = {
        "continuous": ("continuous", source.continuous),
        "binary": ("binary", source.binary),
        "discrete": ("discrete", source.discrete),
        "user_embedding": ("embedding", source.embedding),
        "user_eng_embedding": ("embedding", source.embedding),
        "author_embedding": ("embedding", source.embedding),
    }
    labels = tuple(source.rates)
    return Schema(
        blocks={name: Block(kind=kind, columns=(name,), width=width, use=width) for name, (kind, width) in widths.items()},
        ids=dict(cfg.ids) or {name: name for name in IDS},
        labels=labels,
        truths=labels,
    )
