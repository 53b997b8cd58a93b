"""Weights find their task by name; equal shares are equal; wrong names are told."""

import numpy as np
import pytest

from recap_exp.composition import load_choice
from recap_exp.errors import ConfigError, DataError
from recap_exp.paths import conf_dir
from recap_exp.scoring.config import Engagement, GroupsConfig, ScoringConfig
from recap_exp.scoring.score import score_predictions
from recap_exp.scoring.weights import resolve

HOME = (
    "is_favorited",
    "is_good_clicked_convo_desc_favorited_or_replied",
    "is_good_clicked_convo_desc_v2",
    "is_negative_feedback_v2",
    "is_profile_clicked_and_profile_engaged",
    "is_replied",
    "is_replied_reply_engaged_by_author",
    "is_report_tweet_clicked",
    "is_retweeted",
    "is_video_playback_50",
)


def test_home_2023_weighs_each_task_as_published():
    weights = resolve(load_choice("scoring", "home_2023", ScoringConfig), HOME)
    by_task = {t.task: t.weight for t in weights.terms}
    assert [by_task[t] for t in HOME] == [0.5, 11.0, 10.0, -74.0, 12.0, 13.5, 75.0, -369.0, 1.0, 0.005]
    assert weights.unmatched == weights.unweighted == ()
    assert weights.positive_size == pytest.approx(123.005) and weights.negative_size == 443.0


def test_home_2026_takes_the_tasks_there_are_and_lists_the_rest():
    cfg = load_choice("scoring", "home_2026", ScoringConfig)
    assert len(cfg.engagements) == 25
    weights = resolve(cfg, HOME)
    assert {t.name: (t.task, t.weight) for t in weights.terms} == {
        "favorite": ("is_favorited", 0.5),
        "reply": ("is_replied", 5.0),
        "retweet": ("is_retweeted", 1.0),
        "video_quality_view": ("is_video_playback_50", 0.05),
        "not_interested": ("is_negative_feedback_v2", -43.2),
        "report": ("is_report_tweet_clicked", -234.0),
        "profile_click": ("is_profile_clicked_and_profile_engaged", 0.0),
    }
    assert len(weights.unmatched) == 18 and {"quote", "share", "block_author", "dwell_time"} <= set(weights.unmatched)
    assert set(weights.unweighted) == {
        "is_good_clicked_convo_desc_favorited_or_replied",
        "is_good_clicked_convo_desc_v2",
        "is_replied_reply_engaged_by_author",
    }
    assert "share" in {t.name for t in resolve(cfg, (*HOME, "is_shared")).terms}


@pytest.mark.parametrize("file", sorted((conf_dir() / "scoring").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_scoring_is_named_like_its_file_and_scores(file, predict):
    cfg = load_choice("scoring", file.stem, ScoringConfig)
    assert cfg.name == file.stem
    tasks = ("like", "bookmark", "follow", "comment") if file.stem == "deskdrop" else HOME
    scores = score_predictions(predict(np.full((3, len(tasks)), 0.1), tasks), cfg)
    assert np.isfinite(scores.score_N).all()


def test_order_of_tasks_does_not_matter(predict, scoring):
    rng = np.random.default_rng(0)
    probs, tasks = rng.random((50, 4)), ("a", "b", "c", "d")
    for kind in ("given", "equal_share"):
        cfg = scoring({"d": 4.0, "b": -2.0, "a": 1.0, "c": 3.0}, weights=kind)
        straight = score_predictions(predict(probs, tasks), cfg).score_N
        for _ in range(5):
            order = rng.permutation(4)
            permuted = score_predictions(predict(probs[:, order], tuple(tasks[i] for i in order)), cfg).score_N
            np.testing.assert_array_equal(permuted, straight)


def test_equal_share_contributes_equally_and_keeps_signs_and_scale(predict, scoring):
    probs = np.random.default_rng(1).random((1000, 4)) * [0.9, 0.1, 0.01, 0.001]
    given = scoring({"a": 0.5, "b": -74.0, "c": 0.0, "d": 13.5})
    equal = scoring({"a": 0.5, "b": -74.0, "c": 0.0, "d": 13.5}, weights="equal_share")
    predictions = predict(probs, ("a", "b", "c", "d"))
    before, after = score_predictions(predictions, given), score_predictions(predictions, equal)
    total = np.abs(before.mean_E).sum()
    np.testing.assert_allclose(after.mean_E, [total / 3, -total / 3, 0, total / 3], rtol=1e-12)
    np.testing.assert_allclose(after.share_E, [1 / 3, 1 / 3, 0, 1 / 3], rtol=1e-12)


def test_equal_share_of_zero_weights_is_zero(predict, scoring):
    scores = score_predictions(predict([[0.2, 0.3]], ("a", "b")), scoring({"a": 0.0, "b": 0.0}, weights="equal_share"))
    assert scores.weights.weight_E.tolist() == [0.0, 0.0]


def test_equal_share_needs_probabilities_that_are_not_all_zero(predict, scoring):
    cfg = scoring({"a": 1.0, "b": 1.0}, weights="equal_share")
    with pytest.raises(DataError, match=r"'b'.*mean probability 0"):
        score_predictions(predict([[0.2, 0.0]], ("a", "b")), cfg)
    with pytest.raises(ConfigError, match="equal_share"):
        resolve(cfg, ("a", "b"))


def test_two_engagements_may_share_a_task(predict, scoring):
    cfg = scoring({"block": ("negative", -30.0), "mute": ("negative", -50.0), "like": 1.0})
    scores = score_predictions(predict([[0.1, 0.5]], ("negative", "like")), cfg)
    np.testing.assert_allclose(scores.contributions_NE, [[-3.0, -5.0, 0.5]], rtol=1e-6)


def test_wrong_names_are_told_with_the_nearest_right_one(scoring):
    with pytest.raises(ConfigError, match=r"engagements\.fav: .*'is_favourited' \(did you mean 'is_favorited'\?\)"):
        resolve(scoring({"fav": ("is_favourited", 1.0), "is_replied": 1.0}), ("is_favorited", "is_replied"))
    with pytest.raises(ConfigError, match="no weight for task 'is_replied'"):
        resolve(scoring({"is_favorited": 1.0}), ("is_favorited", "is_replied"))
    with pytest.raises(ConfigError, match="did you mean 'is_favorited'"):  # leaving out is for absent tasks, not for misspelled ones
        resolve(scoring({"fav": ("is_favourited", 1.0), "is_replied": 1.0}, unmatched="list"), ("is_favorited", "is_replied"))
    with pytest.raises(ConfigError, match="none of its engagements"):
        resolve(scoring({"quote": 1.0}, unmatched="list"), ("is_favorited",))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"engagements": {}}, "at least one engagement"),
        ({"epsilon": 0.0}, "epsilon must be > 0"),
        ({"show": -1}, "show must be at least 0"),
        ({"partitions": []}, "at least one partition"),
        ({"partitions": ["test", "test"]}, "once each"),
        ({"compare": ["made"]}, "other scorings"),
    ],
)
def test_scoring_config_refuses(fields, said):
    with pytest.raises(ValueError, match=said):
        ScoringConfig(**({"name": "made", "engagements": {"a": Engagement(weight=1.0)}} | fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"by": "extra"}, "name must be given"),
        ({"by": "label", "name": "a", "values": [1]}, "two different values"),
        ({"by": "label", "name": "a", "values": [1, 1]}, "two different values"),
    ],
)
def test_groups_config_refuses(fields, said):
    with pytest.raises(ValueError, match=said):
        GroupsConfig(**fields)


def test_weight_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        Engagement(weight=float("nan"))


def test_stage_names_the_partition_only_where_there_are_several(scoring):
    assert scoring({"a": 1.0}).stage("test") == "score"
    assert scoring({"a": 1.0}, partitions=["train", "fresh"]).stage("fresh") == "score_fresh"
