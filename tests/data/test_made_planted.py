"""Planted data: its truth is true, strong, shared and out of a linear model's reach; null data has none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from recap_exp.data.config import BlockConfig, DataConfig
from recap_exp.data.made.config import NEGATIVE_LABELS, RATES, NullSource, PlantedSource
from recap_exp.data.made.sources import make
from recap_exp.data.schema import Columns
from recap_exp.errors import ConfigError

ROWS = {"train": 20_000, "test": 20_000}


def draw(source, labels=(), **cfg):
    schema, splits, _ = make(source, DataConfig(name="made", source=source, **cfg), list(labels))
    return {split: join(list(stream())) for split, stream in splits.items()}, schema


def join(chunks: list[Columns]) -> Columns:
    whole = Columns()
    for group, arrays in chunks[0].groups():
        setattr(whole, group, {k: np.concatenate([getattr(c, group)[k] for c in chunks]) for k in arrays})
    return whole


def features(columns: Columns) -> np.ndarray:
    """All that a linear model can read, heavy tails undone, standardised."""
    x = np.concatenate(list(columns.blocks.values()), axis=1)
    x = np.sign(x) * np.log1p(np.abs(x))
    return (x - x.mean(0)) / x.std(0)


@pytest.fixture(scope="module", params=[0, 1])
def planted(request):
    return draw(PlantedSource(rows=ROWS, seed=request.param))


def test_columns(planted):
    rows, schema = planted
    assert schema.labels == schema.truths == tuple(RATES)
    for split, columns in rows.items():
        assert len(columns) == ROWS[split]
        for name, block in schema.blocks.items():
            x = columns.blocks[name]
            assert x.shape == (ROWS[split], block.width) and np.isfinite(x).all()
            assert x.dtype == (np.int64 if block.kind == "discrete" else np.float32)
        assert set(np.unique(columns.blocks["binary"])) == {0, 1}
        assert set(np.unique(columns.blocks["discrete"])) == set(range(10))
        for label in schema.labels:
            assert set(np.unique(columns.labels[label])) <= {0, 1}
            truth = columns.truths[label]
            assert truth.dtype == np.float64 and truth.min() > 0 and truth.max() < 1


def test_heavy_tails_that_the_log_undoes(planted):
    x = planted[0]["train"].blocks["continuous"]
    z = np.sign(x) * np.log1p(np.abs(x))
    assert np.median(scipy.stats.kurtosis(x)) > 10
    np.testing.assert_allclose(scipy.stats.kurtosis(z), 0, atol=0.4)


def test_users_and_authors_repeat_and_posts_have_one_author(planted):
    rows, _ = planted
    ids = rows["train"].ids
    assert len(np.unique(ids["user_id"])) < ROWS["train"] / 3
    posts = {}
    for post, author in zip(ids["post_id"].tolist(), ids["author_id"].tolist(), strict=True):
        assert posts.setdefault(post, author) == author
    emb = {}
    for user, vector in zip(ids["user_id"].tolist(), rows["train"].blocks["user_embedding"][:2000], strict=False):
        np.testing.assert_array_equal(emb.setdefault(user, vector), vector)
    assert set(ids["user_id"]) & set(rows["test"].ids["user_id"])


def test_base_rates_and_calibration(planted):
    rows, _ = planted
    for label, rate in RATES.items():
        truth = np.concatenate([c.truths[label] for c in rows.values()])
        y = np.concatenate([c.labels[label] for c in rows.values()])
        n = len(y)
        # the intercept is solved on another sample of 65,536 rows
        assert abs(truth.mean() - rate) < 5 * truth.std() * np.sqrt(1 / n + 1 / 65_536)
        assert abs(y.sum() - truth.sum()) < 4 * np.sqrt((truth * (1 - truth)).sum())
        # also where the truth is high: in its top tenth
        top = truth >= np.quantile(truth, 0.9)
        assert abs(y[top].sum() - truth[top].sum()) < 4 * np.sqrt((truth * (1 - truth))[top].sum())


def test_signal_is_strong_and_no_single_feature_has_it(planted):
    test = planted[0]["test"]
    x = features(test)
    for label in RATES:
        y = test.labels[label]
        if y.sum() < 200:
            continue
        auc = roc_auc_score(y, test.truths[label])
        assert 0.77 < auc < 0.89
        order = np.argsort(x, axis=0).argsort(axis=0)
        single = (order[y == 1].mean(0) - order[y == 0].mean(0)) / len(y) + 0.5
        assert np.maximum(single, 1 - single).max() < auc - 0.05


def test_a_linear_model_falls_short(planted):
    rows, _ = planted
    for label in ("recap.engagement.is_favorited", "recap.engagement.is_video_playback_50"):
        fit = LogisticRegression(C=0.1).fit(features(rows["train"]), rows["train"].labels[label])
        test = rows["test"]
        linear = roc_auc_score(test.labels[label], fit.decision_function(features(test)))
        truth = roc_auc_score(test.labels[label], test.truths[label])
        assert 0.8 * truth < linear < 0.95 * truth


def test_tasks_share_their_signal(planted):
    truths = planted[0]["test"].truths
    logit = {label: np.log(p / (1 - p)) for label, p in truths.items()}
    for_it = np.stack([z for label, z in logit.items() if label not in NEGATIVE_LABELS])
    assert np.corrcoef(for_it).min() > 0.3
    for label in NEGATIVE_LABELS:  # whoever likes such posts seldom reports them
        assert np.corrcoef(logit[label], for_it.mean(0))[0, 1] < -0.2


def test_seeds_splits_and_lengths():
    (short, _), (long, _), (other, _) = (
        draw(PlantedSource(rows={"train": n, "test": 500}, seed=seed)) for n, seed in ((9_000, 0), (20_000, 0), (9_000, 1))
    )
    for group, named in short["train"].groups():
        for k, array in named.items():
            np.testing.assert_array_equal(array, getattr(long["train"], group)[k][: len(array)])
    a, b, c = short["train"].blocks["continuous"][:500], short["test"].blocks["continuous"], other["train"].blocks["continuous"][:500]
    for x, y in ((a, b), (a, c)):
        assert abs(np.corrcoef(np.sign(x).ravel(), np.sign(y).ravel())[0, 1]) < 5 / np.sqrt(x.size)


def test_a_label_means_the_same_whatever_stands_beside_it():
    label = "recap.engagement.is_retweeted"
    alone, _ = draw(PlantedSource(rows={"test": 500}, rates={label: 0.02}))
    among, _ = draw(PlantedSource(rows={"test": 500}))
    np.testing.assert_allclose(alone["test"].truths[label], among["test"].truths[label], rtol=1e-9)


def test_ids_go_by_the_names_they_are_given():
    rows, schema = draw(PlantedSource(rows={"test": 50}), ids={"viewer": "user_id"})
    assert schema.ids == {"viewer": "user_id"} and list(rows["test"].ids) == ["viewer"]


def test_the_manifest_knows_the_hidden_function():
    source = PlantedSource(rows={"test": 50})
    _, _, made = make(source, DataConfig(name="made", source=source), [])
    hidden = json.loads(json.dumps(made))["hidden_function"]
    assert set(hidden["tasks"]) == set(RATES)
    assert {len(t["loadings"]) for t in hidden["tasks"].values()} == {len(hidden["factors"])}


def test_null_has_no_signal():
    rows, _ = draw(NullSource(rows=ROWS))
    planted, _ = draw(PlantedSource(rows=ROWS))
    np.testing.assert_array_equal(rows["train"].blocks["continuous"], planted["train"].blocks["continuous"])
    x, x_test = features(rows["train"]), features(rows["test"])
    for label, rate in RATES.items():
        y, y_test = rows["train"].labels[label], rows["test"].labels[label]
        assert np.unique(rows["test"].truths[label]).tolist() == [rate]
        assert abs(y.sum() - rate * len(y)) < 4 * np.sqrt(rate * (1 - rate) * len(y))
        if rate < 0.02:
            continue
        auc = roc_auc_score(y_test, LogisticRegression(C=0.1).fit(x, y).decision_function(x_test))
        positives = y_test.sum()
        error = np.sqrt((len(y_test) + 1) / (12 * positives * (len(y_test) - positives)))
        assert abs(auc - 0.5) < 4 * error


@pytest.mark.parametrize("seed", range(3))
def test_smallest_widths(seed):
    rows, _ = draw(PlantedSource(rows={"train": 2000}, continuous=8, binary=2, discrete=1, embedding=4, rates={"like": 0.3}, seed=seed))
    assert roc_auc_score(rows["train"].labels["like"], rows["train"].truths["like"]) > 0.7


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rates": {}}, "rates must name"),
        ({"rates": {"like": 0.0}}, "rates.like must be in \\(0, 1\\), not 0.0"),
        ({"continuous": 4}, "continuous must be at least 8, not 4"),
        ({"embedding": 1}, "embedding must be at least 4, not 1"),
        ({"seed": -2}, "seed must be at least 0"),
    ],
)
def test_wrong_values(wrong, message):
    with pytest.raises(ValueError, match=message):
        PlantedSource(**wrong)


def test_what_it_cannot_make():
    source = PlantedSource(rows={"train": 4}, rates={"like": 0.3})
    with pytest.raises(ConfigError, match=r"no label column 'likes' \(did you mean 'like'\?\): add it to data.source.rates"):
        draw(source, labels=["likes"])
    with pytest.raises(ConfigError, match=r"data\.blocks must be empty"):
        draw(source, blocks={"b": BlockConfig(kind="binary", columns=["b"], width=1)})
    with pytest.raises(ConfigError, match=r"data\.extras must be empty"):
        draw(source, extras={"network": "network"})
    with pytest.raises(ConfigError, match="tweet_id"):
        draw(source, ids={"post_id": "tweet_id"})
