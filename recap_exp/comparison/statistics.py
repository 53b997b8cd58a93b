"""What seeds say: a mean with its interval, and whether two settings differ by more than seeds do."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

LEVEL = 0.95
"""Of all intervals; a difference is more than noise where its adjusted p is below 1 − LEVEL."""
ALIKE = 0.01
"""Settings are taken to be equally noisy unless Bartlett's test says otherwise with a p below this."""

ROUNDING = 1e-12
"""Relative to the values: what is smaller is no deviation and no difference."""

Values = Mapping[int, float]
"""Seed -> a setting's metric."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One metric of one setting."""

    n: int
    mean: float
    std: float
    """Sample deviation (n − 1); NaN below 2 values, as the interval's ends."""
    low: float
    high: float
    """mean ± t · std / √n: where the mean over all seeds lies with 95 % confidence, on these very rows."""
    minimum: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of a setting minus the reference's."""

    mean: float
    low: float
    high: float
    """Its 95 % interval, not adjusted for how many settings are compared."""
    p: float
    """Two-sided, of no difference; NaN where there are too few seeds."""
    adjusted: float
    """p after Holm's correction for all settings compared with the reference."""
    paired: bool
    """By seed."""
    verdict: str


def summary(values: Sequence[float]) -> Summary:
    """Of one value a seed. All NaN without values."""
    x, n = np.asarray(values, dtype=np.float64), len(values)
    if not n:
        return Summary(n=0, **dict.fromkeys(("mean", "std", "low", "high", "minimum", "maximum"), math.nan))
    mean, std = float(x.mean()), float(x.std(ddof=1)) if n > 1 else math.nan
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * std / math.sqrt(n) if n > 1 else math.nan
    return Summary(n=n, mean=mean, std=std, low=mean - reach, high=mean + reach, minimum=float(x.min()), maximum=float(x.max()))


def differences(settings: Sequence[Values], reference: int) -> list[Difference | None]:
    """Each setting's difference to settings[reference] (None there).

    Two settings are compared by a paired t-test where at least half of either's seeds, and two, are common, else by Welch's. Three seeds
    tell little of a deviation, but three each of many settings do: where more settings have two seeds or more and are equally noisy, the
    noise is the residual of an analysis of variance of them all, by setting and, where seeds pair, by seed. p is adjusted by Holm.
    """
    others = [i for i in range(len(settings)) if i != reference]
    found: dict[int, Difference] = {i: _pair(settings[i], settings[reference]) for i in others}
    testable = [i for i in others if len(settings[i]) >= 2 and len(settings[reference]) >= 2]
    if len(testable) >= 2 and equally_noisy([settings[i] for i in (*testable, reference)]):
        found |= dict(zip(testable, _together([settings[i] for i in testable], settings[reference]), strict=True))
    tested = [i for i in others if not math.isnan(found[i].p)]
    for i, p in zip(tested, holm([found[i].p for i in tested]), strict=True):
        found[i] = replace(found[i], adjusted=p, verdict=_verdict(found[i].mean, p))
    return [found.get(i) for i in range(len(settings))]


def equally_noisy(settings: Sequence[Values]) -> bool:
    """Whether the settings' deviations over seeds could be the same (Bartlett). False where one has none."""
    samples = [list(s.values()) for s in settings if len(s) >= 2]
    if any(np.ptp(sample) == 0 for sample in samples):
        return False
    return len(samples) < 2 or float(stats.bartlett(*samples).pvalue) >= ALIKE


def pairs(a: Values, b: Values) -> list[int]:
    """The seeds by which two settings pair; none where they are too few."""
    common = sorted(a.keys() & b.keys())
    return common if len(common) >= 2 and 2 * len(common) >= max(len(a), len(b)) else []


def _pair(a: Values, b: Values) -> Difference:
    """a − b, by their own deviations."""
    size = max((abs(v) for v in (*a.values(), *b.values())), default=0.0)
    if common := pairs(a, b):
        x = np.array([a[s] - b[s] for s in common])
        return _difference(float(x.mean()), float(x.std(ddof=1)) / math.sqrt(len(x)), len(x) - 1.0, size, paired=True)
    means = [float(np.mean(list(s.values()))) if s else math.nan for s in (a, b)]
    if min(len(a), len(b)) < 2:
        return _difference(means[0] - means[1], math.nan, math.nan, size, paired=False)
    va, vb = (float(np.var(list(s.values()), ddof=1)) / len(s) for s in (a, b))
    # Welch and Satterthwaite's degrees of freedom
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)) if va + vb > 0 else math.nan
    return _difference(means[0] - means[1], math.sqrt(va + vb), freedom, size, paired=False)


def _together(settings: Sequence[Values], reference: Values) -> list[Difference]:
    """Each setting − reference in one linear model: value = setting (+ seed) + noise."""
    paired = all(pairs(s, reference) for s in settings)
    cells = [(i, seed, value) for i, s in enumerate((*settings, reference)) for seed, value in s.items()]
    which = np.array([[i for i, _, _ in cells], np.unique([seed for _, seed, _ in cells], return_inverse=True)[1]])
    x_NF = np.eye(len(settings) + 1)[which[0]]
    if paired:
        x_NF = np.concatenate([x_NF, np.eye(which[1].max() + 1)[which[1]][:, 1:]], axis=1)
    y_N = np.array([value for _, _, value in cells])
    inverse_FF = np.linalg.pinv(x_NF.T @ x_NF)
    fitted_F = inverse_FF @ x_NF.T @ y_N
    freedom = len(y_N) - int(np.linalg.matrix_rank(x_NF))
    noise = float(((y_N - x_NF @ fitted_F) ** 2).sum()) / freedom
    contrasts = np.zeros((len(settings), x_NF.shape[1]))
    contrasts[np.arange(len(settings)), np.arange(len(settings))], contrasts[:, len(settings)] = 1, -1
    errors = np.sqrt(noise * np.einsum("if,fg,ig->i", contrasts, inverse_FF, contrasts))
    size = float(np.abs(y_N).max())
    return [_difference(float(c @ fitted_F), float(e), freedom, size, paired=paired) for c, e in zip(contrasts, errors, strict=True)]


def _difference(mean: float, error: float, freedom: float, size: float, *, paired: bool) -> Difference:
    """By Student's t. Without any noise, at the values' size, the difference is what it is."""
    mean = 0.0 if abs(mean) <= ROUNDING * size else mean
    if error <= ROUNDING * size:
        p, reach = float(mean == 0), 0.0
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            p = 2 * float(stats.t.sf(abs(mean) / error, freedom))
            reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return Difference(mean=mean, low=mean - reach, high=mean + reach, p=p, adjusted=p, paired=paired, verdict=_verdict(mean, p))


def _verdict(mean: float, p: float) -> str:
    if math.isnan(p):
        return "too few seeds to say"
    if mean == 0 and p == 1:
        return "the same"
    return "more than noise" if p < 1 - LEVEL else "within noise"


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): in order of size the i-th of m is multiplied by m − i + 1, never falling, at most 1."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(p) else []
    return [float(value) for value in adjusted]
