"""The original's random data and the fork's halves: shapes, distributions, labels, seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recap_exp.data.config import BlockConfig, DataConfig
from recap_exp.data.made.config import LABELS, NEGATIVE_LABELS, POSITIVE_LABELS, HalvesSource, RandomSource
from recap_exp.data.made.sources import make
from recap_exp.data.schema import Columns
from recap_exp.errors import ConfigError

BLOCKS = {
    "continuous": BlockConfig(kind="continuous", columns=["cont"], width=30, use=7),
    "binary": BlockConfig(kind="binary", columns=["bin"], width=12),
    "discrete": BlockConfig(kind="discrete", columns=["disc"], width=5),
    "author_embedding": BlockConfig(kind="embedding", columns=["emb"], width=8),
    "named": BlockConfig(kind="continuous", columns=["a", "b"], width=2),
}
IDS = {"user_id": "meta.user_id", "post_id": "meta.tweet_id"}


def draw(source, labels=(), **cfg):
    """Every split whole, as {split: Columns}, and the schema."""
    cfg = DataConfig(**({"name": "made", "source": source, "blocks": BLOCKS, "ids": IDS} | cfg))
    schema, splits, _ = make(source, cfg, list(labels))
    return {split: join(list(stream())) for split, stream in splits.items()}, schema


def join(chunks: list[Columns]) -> Columns:
    whole = Columns()
    for group, arrays in chunks[0].groups():
        setattr(whole, group, {k: np.concatenate([getattr(c, group)[k] for c in chunks]) for k in arrays})
    return whole


def arrays(columns: Columns):
    return {f"{group}/{k}": a for group, named in columns.groups() for k, a in named.items()}


def test_shapes_and_distributions():
    rows, schema = draw(RandomSource(rows={"train": 1000, "val": 3}))
    train = rows["train"]
    assert len(train) == 1000 and len(rows["val"]) == 3
    assert {n: a.shape for n, a in train.blocks.items()} == {n: (1000, b.width) for n, b in BLOCKS.items()}
    assert schema.blocks["continuous"].width == 30  # stored whole, whatever of it is used
    for name in ("continuous", "author_embedding", "named"):
        x = train.blocks[name]
        assert x.dtype == np.float32 and x.min() >= 0 and x.max() < 1
        assert abs(x.mean() - 0.5) < 5 / np.sqrt(12 * x.size)
    for name, dtype in (("binary", np.float32), ("discrete", np.int64)):
        x = train.blocks[name]
        assert x.dtype == dtype
        counts = np.bincount(x.ravel().astype(int), minlength=10)
        assert len(counts) == 10 and (abs(counts - x.size / 10) < 5 * np.sqrt(x.size / 10)).all()
    for ids in train.ids.values():
        assert ids.dtype == np.int64 and ids.min() >= 0 and (ids > 2**31).mean() > 0.99 and len(np.unique(ids)) == 1000
    assert tuple(train.labels) == schema.labels == tuple(LABELS)
    for y in train.labels.values():
        assert set(np.unique(y)) == {0, 1} and abs(y.mean() - 0.5) < 5 * 0.5 / np.sqrt(1000)
    assert not train.truths


def test_digits_are_the_originals():
    rows, _ = draw(RandomSource(rows={"train": 1000}, labels="digits"))
    for y in rows["train"].labels.values():
        assert set(np.unique(y)) == set(range(10))


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 600])
def test_exactly_the_rows_asked_for(rows):
    made, _ = draw(RandomSource(rows={"train": rows}))
    assert len(made["train"]) == rows


def test_same_seed_same_rows_and_longer_sets_begin_with_shorter():
    short, long, other = (
        arrays(draw(RandomSource(rows={"train": n}, seed=seed))[0]["train"]) for n, seed in ((300, 0), (700, 0), (300, 1))
    )
    for name, array in short.items():
        np.testing.assert_array_equal(array, long[name][:300])
        assert (array != other[name]).mean() > 0.3


def test_a_stream_starts_anew_each_time():
    source = RandomSource(rows={"train": 400})
    _, splits, _ = make(source, DataConfig(name="made", source=source, blocks=BLOCKS), [])
    first, second = (join(list(splits["train"]())) for _ in range(2))
    np.testing.assert_array_equal(first.blocks["continuous"], second.blocks["continuous"])


def test_splits_are_independent():
    rows, _ = draw(RandomSource(rows={"train": 500, "val": 500}))
    a, b = (rows[s].blocks["continuous"].ravel() for s in ("train", "val"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(a.size)


def test_halves():
    rows, schema = draw(HalvesSource(positive_rows=300, negative_rows=400, extra_rows=2))
    assert set(rows) == {"train", "fresh"} and schema.extras == {"half": "half"}
    for split in rows.values():
        half = split.extras["half"]
        assert half.tolist() == ["positive"] * 300 + ["negative"] * 400 + ["extra"] * 2
        for label, y in split.labels.items():
            for name, zero in (("positive", NEGATIVE_LABELS), ("negative", POSITIVE_LABELS)):
                rate = y[half == name].mean()
                assert rate == 0 if label in zero else 0.35 < rate < 0.65
        x = split.blocks["continuous"]
        assert abs(x[half == "positive"].mean() - x[half == "negative"].mean()) < 5 * np.sqrt(1 / 12 / x.shape[1] * (1 / 300 + 1 / 400))
    a, b = (rows[s].blocks["continuous"].ravel() for s in ("train", "fresh"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(a.size)
    assert len(POSITIVE_LABELS) == 9 and len(NEGATIVE_LABELS) == 2


def test_halves_may_have_no_extra_rows_and_digits():
    rows, _ = draw(HalvesSource(positive_rows=60, negative_rows=60, extra_rows=0, labels="digits"))
    assert len(rows["train"]) == 120 and max(y.max() for y in rows["train"].labels.values()) == 9


def test_labels_and_blocks_that_cannot_be_made():
    source = RandomSource(rows={"train": 4})
    with pytest.raises(ConfigError, match=r"'is_favourited'.*data.source.label_columns"):
        draw(source, labels=["is_favourited"])
    assert draw(source, labels=LABELS)[1].labels == tuple(LABELS)
    for block, message in (
        (replace(BLOCKS["binary"], width=None), "width is missing"),
        (replace(BLOCKS["binary"], columns=["b_*"]), "pattern 'b_\\*'"),
        (replace(BLOCKS["binary"], columns=["a", "b"]), "2 columns and width 12"),
    ):
        with pytest.raises(ConfigError, match=message):
            draw(source, blocks={"binary": block})
    with pytest.raises(ConfigError, match=r"data\.blocks is empty"):
        draw(source, blocks={})


@pytest.mark.parametrize(
    ("source", "wrong", "message"),
    [
        (RandomSource, {"rows": {}}, "rows must name"),
        (RandomSource, {"rows": {"train": 0}}, "rows.train must be at least 1, not 0"),
        (RandomSource, {"seed": -1}, "seed must be at least 0, not -1"),
        (RandomSource, {"files": 0}, "files must be at least 1"),
        (RandomSource, {"label_columns": ["a", "a"]}, "twice"),
        (HalvesSource, {"splits": []}, "splits must name"),
        (HalvesSource, {"extra_rows": -1}, "extra_rows must be at least 0, not -1"),
        (HalvesSource, {"positive_labels": ["nope"]}, "positive_labels names 'nope'"),
    ],
)
def test_wrong_values(source, wrong, message):
    with pytest.raises(ValueError, match=message):
        source(**wrong)
