"""Three updates by the loop give the original's losses, learning rates and parameters."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
from golden_numbers import after_three_steps, golden_adam, golden_model
from small_training import Log, train

from recap_exp.composition import load_choice
from recap_exp.interop import load_original_state
from recap_exp.model.ranker import build_ranker
from recap_exp.training.config import OptimizerConfig
from recap_exp.training.optimizer import build_optimizer

PREFIX = "recap.engagement."


def optimizer_config(case):
    """conf/optimizer/heavy_ranker.yaml, with all ramps two steps long where the golden ones are."""
    cfg = load_choice("optimizer", "heavy_ranker", OptimizerConfig)
    if case == "adamfast":
        for schedule in (cfg.backbone, *cfg.towers.values()):
            schedule.ramp = 2
    return cfg


@pytest.mark.parametrize("case", ["adam", "adamfast"])
def test_three_updates(case, tmp_path):
    golden, adam = golden_model("share_all"), golden_adam(case)
    ranker = build_ranker(golden.config, golden.schema, golden.tasks)
    load_original_state(ranker, golden.state)
    start = copy.deepcopy(ranker.state_dict())
    expected = copy.deepcopy(ranker)
    load_original_state(expected, {**golden.state, **after_three_steps(adam)})
    optimizer, log = build_optimizer(optimizer_config(case), ranker.parameter_groups()), Log()

    train(ranker, tmp_path, optimizer, itertools.repeat(golden.batch()), log, steps=3, batch_size=64)

    groups = [str(name).removeprefix(PREFIX) for name in adam["group_names"]]
    for step in range(3):
        rates = [log.steps[step + 1][f"lr/{group}"] for group in groups]
        np.testing.assert_allclose(rates, adam["lr_before_step"][step], rtol=1e-6)
    np.testing.assert_allclose([optimizer.lrs(3)[group] for group in groups], adam["lr_next"], rtol=1e-6)
    np.testing.assert_allclose(list(log.curve("train/loss").values()), adam["loss_per_step"], atol=1e-5)

    moved = 0
    for name, want in expected.state_dict().items():
        if feeds_batch_norm(name) or name.endswith((".norms.0.running_mean", ".norms.1.running_mean")):
            continue
        got = ranker.state_dict()[name]
        np.testing.assert_allclose(got, want, atol=1e-5, rtol=0, err_msg=name)
        moved += not np.array_equal(got, start[name])
    assert moved > 50


def feeds_batch_norm(name):
    """Biases whose gradient is rounding noise, which Adam scales up to the learning rate; a BatchNorm takes them out again."""
    return name.startswith("towers.") and name.endswith((".linears.0.bias", ".linears.1.bias"))
