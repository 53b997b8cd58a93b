"""The whole report: names, files, pictures, words; a study over trained and new rows."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.patches import StepPatch
from rich.console import Console

from recap_exp.composition import load_choice
from recap_exp.errors import DataError
from recap_exp.scoring.config import GroupsConfig, ScoringConfig
from recap_exp.scoring.plots import linear_width
from recap_exp.scoring.report import report
from recap_exp.scoring.study import study_figure, study_words
from recap_exp.tasks import Task

TASKS = ("like", "reply", "report")
WEIGHTS = {"like": 0.5, "reply": 13.5, "report": -369.0}


def halves(predict, *, count=400, shift=0.0, seed=0, **rest):
    """Candidates in two halves; the logits of the first are `shift` higher."""
    rng = np.random.default_rng(seed)
    first = np.arange(count) < count // 2
    logits = rng.normal([-0.5, -3.0, -7.0], 1.0, (count, 3)) + shift * np.outer(first, [1, 1, -1])
    extras = {"half": np.where(first, "positive", "negative").astype(object)}
    return predict(1 / (1 + np.exp(-logits)), TASKS, extras=extras, ids={"post": np.arange(100, 100 + count)}, **rest)


@pytest.fixture
def cfg(scoring):
    groups = GroupsConfig(by="extra", name="half", values=["positive", "negative"], labels_only=True)
    return scoring(WEIGHTS, groups=groups, show=2)


def test_everything_is_there(cfg, predict, scoring, tmp_path):
    cfg.compare = ["flat"]
    predictions = halves(predict, shift=0.5)
    r = report(predictions, cfg, partition="test", others={"flat": scoring(dict.fromkeys(TASKS, 1.0), name="flat")})
    for name in ("mean", "std", "mean_mapped", "negative_share", "contribution/like", "share/report", "difference_low", "p_student"):
        assert f"score/{name}" in r.metrics
    for name in ("p_welch", "p_mann_whitney", "hedges_g", "auc_between_groups", "auc_between_groups_high", "spearman/flat", "kendall/flat"):
        assert np.isfinite(r.metrics[f"score/{name}"])
    sums = predictions.probs_NT.astype(np.float64) @ [0.5, 13.5, -369.0]
    assert r.metrics["score/mean"] == pytest.approx(sums.mean()) and r.metrics["score/std"] == pytest.approx(sums.std(ddof=1))
    assert r.metrics["score/difference"] == pytest.approx(sums[:200].mean() - sums[200:].mean())
    assert sum(r.metrics[f"score/contribution/{t}"] for t in TASKS) == pytest.approx(r.metrics["score/mean"])

    assert set(r.figures) == {f"score/{n}.png" for n in ("distribution", "contributions", "by_rank", "ranking_flat")}
    for figure in r.figures.values():
        figure.savefig(png := io.BytesIO())
        assert png.getvalue().startswith(b"\x89PNG")
    assert set(r.tables) == {f"score/{n}.csv" for n in ("engagements", "top", "group_test", "weight_sets", "movers_flat")}
    for columns in r.tables.values():
        assert len({len(values) for values in columns.values()}) == 1

    path = r.write(tmp_path / "score")
    assert [p.name for p in path.parent.iterdir()] == ["candidates.parquet"]
    stored = pq.read_table(path).to_pydict()
    assert stored["post"] == list(range(100, 500)) and stored["group"][0] == "positive" and stored["group"][-1] == "negative"
    total = sum(np.array(stored[f"contribution/{t}"]) for t in TASKS)
    np.testing.assert_allclose(total, stored["sum"], rtol=1e-12)
    assert sorted(stored["rank"]) == list(range(1, 401)) and stored["sum"][stored["rank"].index(1)] == max(stored["sum"])

    assert len(r.lines) == 4 and r.lines[0].startswith("candidate 0 post=100 group=positive: like ")
    console = Console(file=io.StringIO(), width=100)
    console.print(r.table())
    shown = console.file.getvalue()
    assert "score of test: made, raw probabilities" in shown and "-369" in shown


def test_two_reports_of_the_same_candidates_are_identical(cfg, predict):
    first, second = (report(halves(predict, count=12_000), cfg, partition="test") for _ in range(2))
    assert first.metrics == second.metrics and first.words == second.words
    for path, figure in list(first.figures.items())[:1]:  # the one that samples
        figure.savefig(a := io.BytesIO())
        second.figures[path].savefig(b := io.BytesIO())
        assert a.getvalue() == b.getvalue()


def test_several_partitions_have_stages_of_their_own(cfg, predict):
    cfg.partitions = ["train", "fresh"]
    assert "score_fresh/mean" in report(halves(predict), cfg, partition="fresh").metrics
    cfg.partitions = ["fresh"]
    assert "score/mean" in report(halves(predict), cfg, partition="fresh").metrics


def test_notes(predict, scoring):
    cfg = scoring({"like": 1.0, "quote": 5.0, "report": 369.0}, unmatched="list", weights="equal_share", probabilities="calibrated")
    tasks = {"like": Task(label="a"), "report": Task(label="b", positive=False)}
    notes = report(halves(predict), cfg, partition="test", task_list=tasks).notes
    assert [n.split(":")[0] for n in notes[:4]] == [
        "scores use calibrated probabilities",
        "weights are set on these very data",
        "left out, the run has no such task",
        "tasks without a weight",
    ]
    assert "quote" in notes[2] and "reply" in notes[3]
    assert "'report' weighs" in notes[4] and "against the item" in notes[4] and len(notes) == 5


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_candidates(cfg, predict, count):
    r = report(halves(predict, count=count), cfg, partition="test") if count > 1 else None
    if count == 1:
        cfg.groups = GroupsConfig()
        r = report(halves(predict, count=1), cfg, partition="test")
        assert r.words == "" and r.metrics["score/std"] == 0
    else:
        assert r.difference is None and "has 1 candidate; a comparison needs at least 2" in r.words
    for figure in r.figures.values():
        figure.savefig(io.BytesIO())


def test_a_tail_that_dwarfs_the_bulk_gets_an_axis_of_its_own(cfg, predict):
    predictions = halves(predict, count=2000)
    predictions.probs_NT[::400, 2] = 0.9  # five sure reports at -369 each
    assert linear_width(np.random.default_rng(0).normal(size=1000)) is None
    r = report(predictions, cfg, partition="test")
    axes = [r.figures[f"score/{n}.png"].axes[0] for n in ("distribution", "by_rank")]
    assert (axes[0].get_xscale(), axes[1].get_yscale()) == ("asinh", "asinh")
    steps = [p for p in axes[0].patches if isinstance(p, StepPatch)]
    assert len(steps) == 2
    z = np.arcsinh(steps[0].get_data().edges / linear_width(r.scores.sum_N))
    areas = [(np.diff(z) * p.get_data().values).sum() for p in steps]
    assert all(0.99 < a <= 1.0 + 1e-9 for a in areas)  # shares of candidates, but for those beyond the axis
    for figure in r.figures.values():
        figure.savefig(io.BytesIO())


def test_all_scores_equal(cfg, predict):
    predictions = predict(np.full((10, 3), 0.25), TASKS, extras={"half": np.array(["positive", "negative"] * 5, dtype=object)})
    r = report(predictions, cfg, partition="test")
    assert "No t-test is possible: every candidate has the same score" in r.words
    for figure in r.figures.values():
        figure.savefig(io.BytesIO())


def test_by_label_without_labels(cfg, predict):
    cfg.groups = GroupsConfig(by="label", name="like")
    r = report(halves(predict), cfg, partition="test")
    assert r.difference is None and "these data have no labels" in r.words and "score/p_student" not in r.metrics


def test_no_candidates(cfg, predict):
    with pytest.raises(DataError, match="partition 'test' has no candidates"):
        report(predict(np.zeros((0, 3)), TASKS), cfg, partition="test")


def test_words_of_a_memorised_study(cfg, predict):
    train = report(halves(predict, shift=0.8), cfg, partition="train", trained_on=True)
    fresh = report(halves(predict, seed=2), cfg, partition="fresh")
    assert "the means differ" in train.words and "labels that it memorised" in train.words and "No difference larger" not in train.words
    assert "no difference of the means is shown" in fresh.words and "No difference larger than" in fresh.words
    assert "there was nothing to find" in fresh.words
    lines = study_words([train, fresh]).splitlines()
    assert lines[:2] == [train.words, fresh.words] and len(lines) == 3
    assert "memorised labels, which don't carry over" in lines[2]
    study_figure([train, fresh]).savefig(io.BytesIO())


def test_words_of_a_study_without_signal(cfg, predict):
    train = report(halves(predict, seed=1), cfg, partition="train", trained_on=True)
    fresh = report(halves(predict, seed=2), cfg, partition="fresh")
    assert "no memorised label shows" in train.words
    assert "Neither shows a difference" in study_words([train, fresh])


def test_words_of_a_signal_in_the_features(cfg, predict):
    cfg.groups.labels_only = False
    train = report(halves(predict, shift=0.8, seed=1), cfg, partition="train", trained_on=True)
    fresh = report(halves(predict, shift=0.8, seed=2), cfg, partition="fresh")
    assert "only rows that are new to it can tell" in train.words and "carries over" in fresh.words
    assert "the features carry it" in study_words([train, fresh])
    cfg.groups.labels_only = True
    train, fresh = (report(halves(predict, shift=0.8, seed=s), cfg, partition=str(s), trained_on=s == 1) for s in (1, 2))
    assert "look for a column that gives the group away" in study_words([train, fresh])


def test_no_groups_no_study(predict, scoring):
    r = report(halves(predict), scoring(WEIGHTS), partition="test")
    assert study_words([r]) == "" and study_figure([r]) is None


def test_a_hundred_thousand_candidates_are_quick(cfg, predict):
    """About half a CPU second on an ordinary core; the bound only catches a lapse into per-candidate work."""
    import time

    predictions = halves(predict, count=100_000)
    home = load_choice("scoring", "home_2026", ScoringConfig)
    assert home.unmatched == "list"
    began = time.process_time()
    report(predictions, cfg, partition="test")
    assert time.process_time() - began < 5
