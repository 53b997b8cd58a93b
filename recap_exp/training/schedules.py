"""Learning rates as functions of the step, which is the number of updates made so far."""

from __future__ import annotations

import bisect
import math

from recap_exp.training.config import Constant, LinearRamp, LinearRampCosine, Piecewise, Schedule


def rate(schedule: Schedule, step: int) -> float:
    """The learning rate of the update that follows `step` earlier ones. Ramps start from 0: their first update changes nothing.

    Cosine: final + (rate - final) (1 + cos(pi (step - ramp) / (end - ramp))) / 2 from the ramp's end to `end`, then final
    (Loshchilov and Hutter, arXiv 1608.03983, without restarts).
    """
    match schedule:
        case Constant():
            return schedule.rate
        case Piecewise():
            return schedule.rates[bisect.bisect_right(schedule.boundaries, step)]
        case LinearRamp() | LinearRampCosine() if step < schedule.ramp:
            return schedule.rate * step / schedule.ramp
        case LinearRamp():
            return schedule.rate
        case LinearRampCosine():
            progress = min(1.0, (step - schedule.ramp) / (schedule.end - schedule.ramp))
            return schedule.final + (schedule.rate - schedule.final) * 0.5 * (1 + math.cos(math.pi * progress))
