"""Calibration of downsampling: what the model's probability means in data that was not thinned out.

Where positives were kept at rate p and negatives at rate n, odds in the kept data are p/n times the true odds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from recap_exp.tasks import Rates

Array = TypeVar("Array", Tensor, np.ndarray)


def rates_ratio(tasks: Sequence[str], rates: Mapping[str, Rates]) -> np.ndarray:
    """r = negative rate / positive rate of each task, [T] float64; 1 for a task without rates."""
    return np.array([rates[t].negative / rates[t].positive if t in rates else 1.0 for t in tasks], dtype=np.float64)


def calibrate(probs: Array, ratio: Array | float) -> Array:
    """r q / (1 - q + r q) of probabilities q, elementwise; the ratio broadcasts. In the wider of both types."""
    scaled = probs * ratio
    return scaled / (1 - probs + scaled)
