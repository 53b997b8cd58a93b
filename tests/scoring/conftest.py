from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from recap_exp.model.predictions import Predictions
from recap_exp.scoring.config import Engagement, ScoringConfig


@pytest.fixture(scope="session")
def predict() -> Callable[..., Predictions]:
    """Predictions of given probabilities; everything else by keyword."""

    def make(probs_NT: object, tasks: tuple[str, ...], **rest: object) -> Predictions:
        probs_NT = np.asarray(probs_NT, dtype=np.float32)
        with np.errstate(divide="ignore"):
            logits_NT = np.log(probs_NT) - np.log1p(-probs_NT)
        return Predictions(tasks=tasks, probs_NT=probs_NT, **({"calibrated_NT": probs_NT, "logits_NT": logits_NT} | rest))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def scoring() -> Callable[..., ScoringConfig]:
    """A weight set from weights by name (a pair: task and weight); further fields by keyword."""

    def make(by_name: dict[str, float | tuple[str, float]], /, **fields: object) -> ScoringConfig:
        engagements = {
            name: Engagement(task=w[0], weight=w[1]) if isinstance(w, tuple) else Engagement(weight=w) for name, w in by_name.items()
        }
        return ScoringConfig(**({"name": "made", "engagements": engagements} | fields))  # type: ignore[arg-type]

    return make
