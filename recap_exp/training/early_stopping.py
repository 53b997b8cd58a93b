"""Which evaluation was the best so far, and when to give up. Pure logic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from recap_exp.errors import ConfigError, nearest
from recap_exp.training.config import EarlyStoppingConfig


@dataclass(kw_only=True)
class EarlyStopping:
    """Follows one named metric. NaN never improves: it counts as an evaluation without progress."""

    cfg: EarlyStoppingConfig | None
    """None: nothing is watched, no evaluation is the best, and nothing stops."""
    best_step: int | None = None
    best_value: float | None = None
    without_progress: int = 0
    """Evaluations since the best one."""

    def update(self, step: int, metrics: dict[str, float]) -> bool:
        """Takes the evaluation at `step`; True where it is the best so far (better than the last best by more than min_delta).

        Raises:
            ConfigError: the evaluation has no such metric.
        """
        if self.cfg is None:
            return False
        name = self.cfg.metric
        if name not in metrics:
            known = ", ".join(sorted(metrics)) or "none"
            raise ConfigError(f"trainer.early_stopping.metric: no metric '{name}'{nearest(name, metrics)}; evaluated: {known}")
        value = float(metrics[name])
        if self._improves(value, self.cfg):
            self.best_step, self.best_value, self.without_progress = step, value, 0
            return True
        self.without_progress += 1
        return False

    @property
    def stopped(self) -> bool:
        """True once patience has run out."""
        return self.cfg is not None and self.cfg.stop and self.without_progress >= self.cfg.patience

    def state(self) -> dict[str, Any]:
        """What `restore` needs, ready for JSON."""
        return {"best_step": self.best_step, "best_value": self.best_value, "without_progress": self.without_progress}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up from `state()`."""
        self.best_step, self.best_value = state["best_step"], state["best_value"]
        self.without_progress = state["without_progress"]

    def _improves(self, value: float, cfg: EarlyStoppingConfig) -> bool:
        if math.isnan(value):
            return False
        if self.best_value is None:
            return True
        gain = value - self.best_value if cfg.mode == "max" else self.best_value - value
        return gain > cfg.min_delta
