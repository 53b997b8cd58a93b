"""Early stopping as pure logic."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recap_exp.errors import ConfigError
from recap_exp.training.config import EarlyStoppingConfig
from recap_exp.training.early_stopping import EarlyStopping

METRIC = "val/auroc/mean"


def follow(values, **cfg):
    """Steps 1, 2, ... until it stops."""
    stopper = EarlyStopping(cfg=EarlyStoppingConfig(metric=METRIC, **cfg))
    for step, value in enumerate(values, 1):
        stopper.update(step, {METRIC: value})
        if stopper.stopped:
            break
    return stopper


def test_stops_when_patience_runs_out_and_remembers_the_best():
    stopper = follow([0.5, 0.7, 0.6, 0.65, 0.9], patience=2)
    assert (stopper.stopped, stopper.best_step, stopper.best_value) == (True, 2, 0.7)


def test_mode_min():
    stopper = follow([0.5, 0.3, 0.4, 0.2], mode="min", patience=2)
    assert (stopper.stopped, stopper.best_step) == (False, 4)


def test_a_gain_of_min_delta_is_none():
    stopper = follow([0.5, 0.75, 1.0], min_delta=0.25, patience=5)
    assert stopper.best_step == 3 and stopper.best_value == 1.0
    assert follow([0.5, 0.75], min_delta=0.25).best_step == 1


def test_watching_without_stopping():
    stopper = follow([0.5, 0.4, 0.3, 0.2, 0.1], patience=1, stop=False)
    assert (stopper.stopped, stopper.best_step) == (False, 1)


def test_nan_is_no_progress():
    assert follow([math.nan, 0.1], patience=3).best_step == 2
    assert follow([0.1, math.nan, math.nan], patience=2).stopped
    nothing = follow([math.nan] * 3, patience=3)
    assert nothing.stopped and nothing.best_step is None


def test_an_unknown_metric_lists_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"no metric 'val/auroc/mean' \(did you mean 'val/auroc/men'\?\); evaluated: val/auroc/men, val/rce/mean"
    ):
        EarlyStopping(cfg=EarlyStoppingConfig()).update(1, {"val/rce/mean": 1.0, "val/auroc/men": 0.5})


def test_off():
    stopper = EarlyStopping(cfg=None)
    assert not stopper.update(1, {}) and not stopper.stopped and stopper.best_step is None


values = st.lists(st.floats(0, 1) | st.just(math.nan), max_size=12)


@given(values, st.integers(1, 4), st.sampled_from(["max", "min"]))
def test_the_best_is_the_first_extreme_of_what_was_seen(seen, patience, mode):
    stopper = follow(seen, patience=patience, mode=mode, stop=False)
    numbers = [(v, -i) if mode == "max" else (-v, -i) for i, v in enumerate(seen, 1) if not math.isnan(v)]
    assert stopper.best_step == (-max(numbers)[1] if numbers else None)


@given(values, st.integers(0, 12))
def test_a_restored_one_goes_on_as_if_it_had_never_stopped(seen, cut):
    whole = follow(seen, patience=3)
    first = follow(seen[:cut], patience=3)
    second = EarlyStopping(cfg=first.cfg)
    second.restore(json.loads(json.dumps(first.state())))
    for step, value in enumerate(seen[cut:], cut + 1):
        if second.stopped:
            break
        second.update(step, {METRIC: value})
    assert second == whole


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"min_delta": -0.1}])
def test_wrong_values(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EarlyStoppingConfig(**wrong)
