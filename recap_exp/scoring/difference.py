"""Two groups of scores compared: means, distributions, and how sure one can be of either."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05
"""Significance level, as the fork tests; intervals are at 1 - LEVEL."""
POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First group minus second, candidates taken as independent draws. Quantities that the data can't give (no variance at all) are NaN."""

    sizes: tuple[int, int]
    means: tuple[float, float]
    stds: tuple[float, float]
    difference: Interval
    """Of the means, in units of the score; interval by Welch."""
    t_student: float
    p_student: float
    """Student's t: equal variances assumed, the fork's test."""
    t_welch: float
    p_welch: float
    """Welch's t: no such assumption."""
    u_mann_whitney: float
    p_mann_whitney: float
    """Rank test: does one group tend to score higher? Untouched by any monotone map of the score."""
    hedges_g: Interval
    """Difference of means in pooled standard deviations, corrected for small samples."""
    auc: Interval
    """Probability that a candidate of the first group scores higher than one of the second, ties one half; interval by DeLong."""
    auc_error: float
    """DeLong's standard error of the AUC."""
    detectable: float
    """The difference of means that such a sample would show, at LEVEL, in four cases of five."""

    @property
    def significant(self) -> bool:
        """Welch's verdict."""
        return self.p_welch < LEVEL

    @property
    def bound(self) -> float:
        """The largest difference, of either sign, that the interval admits."""
        return max(abs(self.difference.low), abs(self.difference.high))

    @property
    def pooled_std(self) -> float:
        """Of the two groups together, about their own means."""
        n, m = self.sizes
        return math.sqrt(((n - 1) * self.stds[0] ** 2 + (m - 1) * self.stds[1] ** 2) / (n + m - 2))

    def flat(self) -> dict[str, float]:
        """One number a name: sizes, means and deviations by `first` / `second`, intervals as NAME, NAME_low, NAME_high."""
        out: dict[str, float] = {}
        for name, value in asdict(self).items():
            if isinstance(value, dict):
                out |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
            elif isinstance(value, tuple):
                out |= {f"{name[:-1]}_first": float(value[0]), f"{name[:-1]}_second": float(value[1])}
            else:
                out[name] = float(value)
        return out


def compare_groups(first_N: np.ndarray, second_M: np.ndarray) -> Difference:
    """All of `Difference` for two samples of at least 2 each (fewer: ValueError)."""
    first_N, second_M = np.asarray(first_N, dtype=np.float64), np.asarray(second_M, dtype=np.float64)
    n, m = len(first_N), len(second_M)
    if min(n, m) < 2:
        raise ValueError(f"a comparison of two groups needs at least 2 candidates in each, not {n} and {m}")
    constant = _constant(first_N) and _constant(second_M)
    t_student = p_student = t_welch = p_welch = math.nan
    gap = float(first_N.mean() - second_M.mean())
    low = high = detectable = math.nan
    if not constant:
        with warnings.catch_warnings():
            # One constant group beside a varying one is a sound case for either test; scipy warns of it as a loss of precision.
            warnings.filterwarnings("ignore", message="Precision loss", category=RuntimeWarning)
            student, welch = stats.ttest_ind(first_N, second_M), stats.ttest_ind(first_N, second_M, equal_var=False)
        t_student, p_student, t_welch, p_welch = map(float, (student.statistic, student.pvalue, welch.statistic, welch.pvalue))
        interval = welch.confidence_interval(1 - LEVEL)
        low, high = float(interval.low), float(interval.high)
        error = math.sqrt(first_N.var(ddof=1) / n + second_M.var(ddof=1) / m)
        detectable = error * float(stats.t.ppf(1 - LEVEL / 2, welch.df) + stats.t.ppf(POWER, welch.df))
    u, p_rank = (n * m / 2, 1.0) if constant and gap == 0 else stats.mannwhitneyu(first_N, second_M)
    auc, auc_error = auc_between(first_N, second_M)
    return Difference(
        sizes=(n, m),
        means=(float(first_N.mean()), float(second_M.mean())),
        stds=(float(first_N.std(ddof=1)), float(second_M.std(ddof=1))),
        difference=Interval(value=gap, low=low, high=high),
        t_student=t_student,
        p_student=p_student,
        t_welch=t_welch,
        p_welch=p_welch,
        u_mann_whitney=float(u),
        p_mann_whitney=float(p_rank),
        hedges_g=hedges_g(first_N, second_M),
        auc=auc,
        auc_error=auc_error,
        detectable=detectable,
    )


def hedges_g(first_N: np.ndarray, second_M: np.ndarray) -> Interval:
    """g = J d, d = (mean1 - mean2) / s_p with the pooled deviation s_p, J = 1 - 3 / (4 df - 1). NaN without variance.

    Interval by the delta method, variances not assumed equal: Var d = (s1^2/n + s2^2/m) / s_p^2 + d^2 Var(s_p^2) / (4 s_p^4), with
    Var(s_p^2) = 2 (df1 s1^4 + df2 s2^4) / df^2; for equal variances it is Hedges and Olkin's (1985) 1/n + 1/m + d^2 / (2 df).
    """
    n, m = len(first_N), len(second_M)
    freedom = n + m - 2
    var_first, var_second = float(first_N.var(ddof=1)), float(second_M.var(ddof=1))
    pooled_var = ((n - 1) * var_first + (m - 1) * var_second) / freedom
    if pooled_var == 0 or (_constant(first_N) and _constant(second_M)):
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    d = float(first_N.mean() - second_M.mean()) / math.sqrt(pooled_var)
    var_pooled_var = 2 * ((n - 1) * var_first**2 + (m - 1) * var_second**2) / freedom**2
    var_d = (var_first / n + var_second / m) / pooled_var + d * d * var_pooled_var / (4 * pooled_var**2)
    correction = 1 - 3 / (4 * freedom - 1)
    half = correction * float(stats.norm.ppf(1 - LEVEL / 2)) * math.sqrt(var_d)
    return Interval(value=correction * d, low=correction * d - half, high=correction * d + half)


def auc_between(first_N: np.ndarray, second_M: np.ndarray) -> tuple[Interval, float]:
    """P(first > second) + P(equal) / 2 with DeLong's standard error (midrank form of Sun and Xu 2014).

    The interval is taken on the logit scale, so that it stays within [0, 1]. Where the groups are wholly separated the error is 0
    and the interval uses the smaller group alone: a bound b with b^n = LEVEL / 2.
    """
    n, m = len(first_N), len(second_M)
    rank = stats.rankdata(np.concatenate([first_N, second_M]))
    above_N = (rank[:n] - stats.rankdata(first_N)) / m
    below_M = 1 - (rank[n:] - stats.rankdata(second_M)) / n
    auc = float(above_N.mean())
    error = math.sqrt(above_N.var(ddof=1) / n + below_M.var(ddof=1) / m)
    if auc in (0.0, 1.0):
        edge = (LEVEL / 2) ** (1 / min(n, m))
        return Interval(value=auc, low=edge if auc == 1 else 0.0, high=1.0 if auc == 1 else 1 - edge), error
    half = float(stats.norm.ppf(1 - LEVEL / 2)) * error / (auc * (1 - auc))
    logit = math.log(auc / (1 - auc))
    return Interval(value=auc, low=_expit(logit - half), high=_expit(logit + half)), error


def _constant(values: np.ndarray) -> bool:
    """All equal, rounding apart: what separates them would be noise of the summation."""
    return float(np.ptp(values)) <= 1e-12 * max(1.0, float(np.abs(values).max()))


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
