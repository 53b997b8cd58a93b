"""What seeds say: a mean with its interval, and whether two settings differ by more than seeds do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

LEVEL = 0.95
"""Of all intervals; a difference is more than noise where its adjusted p is below 1 − LEVEL."""


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
    """Two-sided, of no difference; NaN where there are too few values."""
    adjusted: float
    """p after Holm's correction for all settings compared with the reference."""
    paired: bool
    """By seed (paired t), else Welch's t."""
    verdict: str


def summary(values: Sequence[float]) -> Summary:
    """Of one value a seed. All NaN without values."""
    x, n = np.asarray(values, dtype=np.float64), len(values)
    if not n:
        return Summary(n=0, **dict.fromkeys(("mean", "std", "low", "high", "minimum", "maximum"), math.nan))
    mean, std = float(x.mean()), float(x.std(ddof=1)) if n > 1 else math.nan
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * std / math.sqrt(n) if n > 1 else math.nan
    return Summary(n=n, mean=mean, std=std, low=mean - reach, high=mean + reach, minimum=float(x.min()), maximum=float(x.max()))


def differences(settings: Sequence[Mapping[int, float]], reference: int) -> list[Difference | None]:
    """Each setting's difference to settings[reference] (None there), with p adjusted for all of them by Holm.

    settings: seed -> value. Paired by seed where 2 seeds or more, and at least half of either's, are common; else Welch's test where both
    have 2 values.
    """
    found = [None if i == reference else difference(s, settings[reference]) for i, s in enumerate(settings)]
    tested = [i for i, d in enumerate(found) if d is not None and not math.isnan(d.p)]
    adjusted = holm([found[i].p for i in tested])  # type: ignore[union-attr]
    for i, p in zip(tested, adjusted, strict=True):
        d = found[i]
        assert d is not None
        found[i] = replace(d, adjusted=p, verdict=verdict(d.mean, p))
    return found


def difference(a: Mapping[int, float], b: Mapping[int, float]) -> Difference:
    """a − b; the verdict is of this pair alone."""
    common = sorted(a.keys() & b.keys())
    paired = len(common) >= 2 and 2 * len(common) >= max(len(a), len(b))
    if paired:
        x = np.array([a[s] - b[s] for s in common])
        mean, error, freedom = float(x.mean()), float(x.std(ddof=1)) / math.sqrt(len(x)), len(x) - 1.0
    elif not a or not b:
        return Difference(
            mean=math.nan, low=math.nan, high=math.nan, p=math.nan, adjusted=math.nan, paired=False, verdict=verdict(0, math.nan)
        )
    else:
        va, vb = (float(np.var(list(s.values()), ddof=1)) / len(s) if len(s) > 1 else math.nan for s in (a, b))
        mean, error = float(np.mean(list(a.values())) - np.mean(list(b.values()))), math.sqrt(va + vb)
        # Welch and Satterthwaite's degrees of freedom
        freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)) if error > 0 else math.nan
    p, reach = _t(mean, error, freedom)
    return Difference(mean=mean, low=mean - reach, high=mean + reach, p=p, adjusted=p, paired=paired, verdict=verdict(mean, p))


def _t(mean: float, error: float, freedom: float) -> tuple[float, float]:
    """Two-sided p of mean = 0, and half the interval's width. Without any spread the difference is what it is."""
    if error == 0:
        return float(mean == 0), 0.0
    if math.isnan(error):
        return math.nan, math.nan
    return 2 * float(stats.t.sf(abs(mean) / error, freedom)), float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error


def verdict(mean: float, p: float) -> str:
    """In words."""
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
    return adjusted.tolist()
