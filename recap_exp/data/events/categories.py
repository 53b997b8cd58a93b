"""Columns of the log as categories: codes from a vocabulary fitted on the first split."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from recap_exp.data.events.config import CategoryConfig
from recap_exp.data.events.history import History
from recap_exp.data.events.log import Log


@dataclass(kw_only=True)
class Category:
    """A category of N rows."""

    code: np.ndarray
    """[N] int64: 1 ... K, 0 for unknown and rare."""
    vocabulary: list[str]
    """K categories, the most frequent first; code k is vocabulary[k - 1]."""

    def text(self) -> np.ndarray:
        """[N] str objects, "" for unknown and rare."""
        return np.array(["", *self.vocabulary], object)[self.code]

    def one_hot(self) -> np.ndarray:
        """[N, K] float32."""
        return (self.code[:, None] == np.arange(1, len(self.vocabulary) + 1)).astype(np.float32)


def categorise(config: CategoryConfig, log: Log, viewer: History, row_N: np.ndarray, fit_N: np.ndarray) -> Category:
    """The category of each row; `fit_N` says which rows the vocabulary is fitted on."""
    code_M, values = log.columns[config.column]
    names = [_named(config.rules, v) for v in values] if config.rules else list(values)
    distinct = sorted({n for n in names if n is not None})
    index = {n: i for i, n in enumerate(distinct)}
    # One more entry at the end, where code -1 (null) looks.
    merged = np.array([*(index[n] if n is not None else -1 for n in names), -1])
    event_M = merged[code_M]
    raw_N = event_M[row_N] if config.value == "row" else viewer.latest(event_M)
    fitted = raw_N[fit_N]
    seen = np.bincount(fitted[fitted >= 0], minlength=len(distinct))
    frequent = [i for i in np.argsort(-seen, kind="stable") if seen[i] >= config.min_count]
    recode = np.zeros(len(distinct) + 1, np.int64)
    recode[frequent] = np.arange(1, len(frequent) + 1)
    return Category(code=recode[raw_N], vocabulary=[distinct[i] for i in frequent])


def _named(rules: dict[str, str], value: str) -> str | None:
    return next((name for name, pattern in rules.items() if re.search(pattern, value)), None)
