"""Which group a candidate is in, and the comparison of two groups against references and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from recap_exp.errors import ConfigError, DataError
from recap_exp.scoring.config import GroupsConfig
from recap_exp.scoring.difference import auc_between, compare_groups, hedges_g
from recap_exp.scoring.groups import assign


def candidates(predict, extra=None, labels=None):
    count = len(extra if extra is not None else labels)
    return predict(
        np.full((count, 1), 0.5),
        ("like",),
        extras={} if extra is None else {"half": np.asarray(extra)},
        labels_NT=None if labels is None else np.asarray(labels, np.float32)[:, None],
    )


def by_half(**fields):
    return GroupsConfig(by="extra", name="half", **fields)


def test_text_column_in_alphabetical_order(predict):
    groups = assign(candidates(predict, np.array(["b", "a", None, "b"], dtype=object)), by_half())
    assert groups.labels == ("a", "b") and groups.member_N.tolist() == [1, 0, -1, 1] and groups.left_out == 1 and groups.sizes == (1, 2)


def test_chosen_values_in_their_order(predict):
    groups = assign(candidates(predict, [3, 1, 2, 3]), by_half(values=[1, 3], labels_only=True))
    assert groups.labels == ("half = 1", "half = 3") and groups.member_N.tolist() == [1, 0, -1, 1] and groups.labels_only
    first, second = groups.split(np.arange(4.0))
    assert first.tolist() == [1.0] and second.tolist() == [0.0, 3.0]


def test_numbers_and_truth_values_the_larger_first(predict):
    assert assign(candidates(predict, [0.5, np.nan, 2.5]), by_half()).member_N.tolist() == [1, -1, 0]
    assert assign(candidates(predict, [True, False]), by_half()).labels == ("half = True", "half = False")


def test_by_label(predict):
    groups = assign(candidates(predict, labels=[1, 0, 1]), GroupsConfig(by="label", name="like"))
    assert groups.labels == ("like = 1", "like = 0") and groups.member_N.tolist() == [0, 1, 0]


def test_no_groups(predict):
    assert assign(candidates(predict, [1, 2]), GroupsConfig()) is None
    assert assign(candidates(predict, [1, 2]), GroupsConfig(by="label", name="like")) is None  # no labels in these data


def test_groups_that_cannot_be_told(predict):
    with pytest.raises(DataError, match=r"3 values \(3, 2, 1\); two groups need exactly two"):
        assign(candidates(predict, [3, 1, 2]), by_half())
    with pytest.raises(DataError, match=r"1 value \('a'\)"):
        assign(candidates(predict, np.array(["a", "a"], dtype=object)), by_half())
    with pytest.raises(DataError, match=r"no candidate has half='positiv' \(did you mean 'positive'\?\)"):
        assign(candidates(predict, np.array(["positive", "negative"], dtype=object)), by_half(values=["positiv", "negative"]))
    with pytest.raises(ConfigError, match=r"name='halff': the data carries no such column \(did you mean 'half'\?\)"):
        assign(candidates(predict, [1, 2]), GroupsConfig(by="extra", name="halff"))
    with pytest.raises(ConfigError, match=r"no such task \(did you mean 'like'\?\)"):
        assign(candidates(predict, labels=[1, 0]), GroupsConfig(by="label", name="likes"))


def test_against_scipy_and_sklearn():
    rng = np.random.default_rng(0)
    a, b = np.round(rng.normal(1, 2, 70), 1), np.round(rng.normal(0, 1, 40), 1)  # with ties
    d = compare_groups(a, b)
    student, welch, rank = stats.ttest_ind(a, b), stats.ttest_ind(a, b, equal_var=False), stats.mannwhitneyu(a, b)
    assert (d.t_student, d.p_student) == (student.statistic, student.pvalue)
    assert (d.t_welch, d.p_welch) == (welch.statistic, welch.pvalue)
    assert (d.u_mann_whitney, d.p_mann_whitney) == (rank.statistic, rank.pvalue)
    assert d.difference.value == pytest.approx(a.mean() - b.mean())
    interval = welch.confidence_interval(0.95)
    assert (d.difference.low, d.difference.high) == (interval.low, interval.high)
    assert d.auc.value == pytest.approx(roc_auc_score([1] * 70 + [0] * 40, np.r_[a, b])) == pytest.approx(rank.statistic / (70 * 40))


def test_delong_error_against_its_definition():
    rng = np.random.default_rng(1)
    a, b = np.round(rng.normal(0.7, 1, 25), 1), np.round(rng.normal(0, 1, 15), 1)
    wins = (a[:, None] > b[None, :]) + 0.5 * (a[:, None] == b[None, :])
    error = math.sqrt(wins.mean(axis=1).var(ddof=1) / 25 + wins.mean(axis=0).var(ddof=1) / 15)
    auc, got = auc_between(a, b)
    assert auc.value == pytest.approx(wins.mean()) and got == pytest.approx(error)
    assert 0 < auc.low < auc.value < auc.high < 1


def test_swapping_groups_mirrors_everything():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.4, 1, 60), rng.normal(0, 2, 90)
    d, e = compare_groups(a, b), compare_groups(b, a)
    assert d.p_welch == pytest.approx(e.p_welch) and d.auc.value == pytest.approx(1 - e.auc.value)
    assert (d.auc.low, d.difference.low, d.hedges_g.low) == pytest.approx((1 - e.auc.high, -e.difference.high, -e.hedges_g.high))


def test_hedges_g_by_hand():
    # means 3 and 1, pooled standard deviation 1, J = 1 - 3 / (4 * 4 - 1)
    g = hedges_g(np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0, 2.0]))
    assert g.value == pytest.approx(2 * (1 - 3 / 15))
    half = 1.959964 * (1 - 3 / 15) * math.sqrt(2 / 3 + 2**2 / (2 * 4))
    assert (g.low, g.high) == pytest.approx((1.6 - half, 1.6 + half), rel=1e-6)


def test_complete_separation_keeps_an_honest_interval():
    d = compare_groups(np.arange(10.0, 15.0), np.arange(5.0))
    assert (d.auc.value, d.auc.high) == (1.0, 1.0) and d.auc.low == pytest.approx(0.025 ** (1 / 5))
    assert compare_groups(np.arange(5.0), np.arange(10.0, 15.0)).auc.high == pytest.approx(1 - 0.025 ** (1 / 5))


def test_no_variance_is_no_test():
    same = compare_groups(np.full(5, 0.3), np.full(7, 0.3))
    assert math.isnan(same.p_student) and math.isnan(same.hedges_g.value) and same.p_mann_whitney == 1.0 and same.auc.value == 0.5
    assert not same.significant
    apart = compare_groups(np.full(5, 0.3), np.full(7, 0.1))
    assert math.isnan(apart.p_welch) and apart.difference.value == pytest.approx(0.2) and apart.auc.value == 1.0
    one_sided = compare_groups(np.full(5, 0.3), np.arange(7.0))
    assert np.isfinite(one_sided.p_welch) and np.isfinite(one_sided.hedges_g.value)


def test_too_few():
    with pytest.raises(ValueError, match="at least 2 candidates in each, not 1 and 3"):
        compare_groups(np.ones(1), np.ones(3))


@pytest.fixture(scope="module")
def simulated():
    """250 comparisons each: without a difference; with one of half a standard deviation; with unequal variances and sizes."""
    rng = np.random.default_rng(3)
    null = [compare_groups(rng.normal(0, 2, 40), rng.normal(0, 2, 25)) for _ in range(250)]
    real = [compare_groups(rng.normal(0.5, 1, 60), rng.normal(0, 1, 40)) for _ in range(250)]
    unequal = [compare_groups(rng.normal(1, 3, 30), rng.normal(0, 1, 200)) for _ in range(250)]
    return null, real, unequal


def test_null_groups_give_uniform_p(simulated):
    null, *_ = simulated
    for p in ("p_student", "p_welch", "p_mann_whitney"):
        assert stats.kstest([getattr(d, p) for d in null], "uniform").pvalue > 0.01, p


def test_intervals_cover_the_truth(simulated):
    pooled = math.sqrt((29 * 9 + 199) / 228)
    truths = {
        "difference": (0.0, 0.5, 1.0),
        "hedges_g": (0.0, 0.5, 1 / pooled),
        "auc": (0.5, stats.norm.cdf(0.5 / math.sqrt(2)), stats.norm.cdf(1 / math.sqrt(10))),
    }
    for name, by_case in truths.items():
        for results, truth in zip(simulated, by_case, strict=True):
            covered = np.mean([getattr(d, name).low <= truth <= getattr(d, name).high for d in results])
            assert 0.91 <= covered <= 0.99, (name, truth, covered)  # 0.95 within three standard errors of 250


def test_power_at_the_detectable_difference():
    rng = np.random.default_rng(4)
    promised = np.mean([compare_groups(rng.normal(0, 1, 50), rng.normal(0, 1.5, 80)).detectable for _ in range(20)])
    first, second = rng.normal(promised, 1, (500, 50)), rng.normal(0, 1.5, (500, 80))
    found = np.mean(stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue < 0.05)
    assert 0.74 <= found <= 0.86


def test_welch_holds_where_student_does_not():
    rng = np.random.default_rng(5)
    results = [compare_groups(rng.normal(0, 5, 10), rng.normal(0, 1, 100)) for _ in range(120)]
    assert np.mean([d.p_student < 0.05 for d in results]) > 0.2
    assert np.mean([d.p_welch < 0.05 for d in results]) < 0.1
