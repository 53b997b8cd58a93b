"""Groups, rates and updates of Adam."""

from __future__ import annotations

import pytest
import torch
from small_training import TASKS, make_optimizer, make_ranker, same, weights

from recap_exp.errors import ConfigError
from recap_exp.training.config import Constant, LinearRamp, OptimizerConfig
from recap_exp.training.optimizer import build_optimizer

NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)


def give_gradients(ranker, value=1.0):
    for p in ranker.parameters():
        p.grad = torch.full_like(p, value)


def test_every_group_takes_its_own_schedule():
    ranker = make_ranker()
    cfg = OptimizerConfig(
        name="test",
        backbone=LinearRamp(rate=1.0, ramp=10),
        tower=Constant(rate=0.5),
        towers={"reply": LinearRamp(rate=2.0, ramp=4)},
    )
    optimizer = build_optimizer(cfg, ranker.parameter_groups())
    assert optimizer.lrs(2) == {"backbone": 0.2, "like": 0.5, "reply": 1.0, "report": 0.5}
    give_gradients(ranker)
    optimizer.begin()
    optimizer.update(NO_SCALER)
    assert {g["name"]: g["lr"] for g in optimizer.adam.param_groups} == optimizer.lrs(0)
    assert optimizer.updates == 1


def test_all_parameters_are_in_one_group_each():
    ranker = make_ranker()
    grouped = [p for group in make_optimizer(ranker).groups.values() for p in group]
    assert len(grouped) == len(set(grouped)) == len(list(ranker.parameters()))


def test_the_first_update_of_a_ramp_changes_nothing_and_drops_the_gradients():
    ranker = make_ranker()
    optimizer, before = make_optimizer(ranker, ramp=3), weights(ranker)
    give_gradients(ranker)
    optimizer.begin()
    optimizer.update(NO_SCALER)
    assert same(before, weights(ranker))
    assert all(p.grad is None for p in ranker.parameters())
    give_gradients(ranker)
    optimizer.begin()
    optimizer.update(NO_SCALER)
    assert not same(before, weights(ranker))


def test_equals_plain_adam():
    ranker, other = make_ranker(), make_ranker()
    schedule = Constant(rate=0.01)
    optimizer = build_optimizer(OptimizerConfig(name="test", backbone=schedule, tower=schedule), ranker.parameter_groups())
    plain = torch.optim.Adam(other.parameters(), lr=0.01, betas=(0.95, 0.999), eps=1e-7, foreach=False)
    for value in (1.0, -0.5, 0.25):
        give_gradients(ranker, value)
        give_gradients(other, value)
        optimizer.begin()
        optimizer.update(NO_SCALER)
        plain.step()
    for ours, theirs in zip(ranker.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_device_side_skip_leaves_parameters_moments_and_counts_as_they_are():
    ranker = make_ranker()
    optimizer = make_optimizer(ranker, ramp=0)
    names = {p: n for n, p in ranker.named_parameters()}
    give_gradients(ranker)
    optimizer.begin()
    optimizer.update(NO_SCALER, skip=torch.zeros(()))
    before, moments = weights(ranker), {n: t.clone() for n, t in optimizer.tensors(names).items()}
    give_gradients(ranker, float("nan"))
    optimizer.begin()
    optimizer.update(NO_SCALER, skip=torch.ones(()))
    assert same(before, weights(ranker))
    assert same(moments, optimizer.tensors(names))


def test_norms():
    ranker = make_ranker()
    optimizer = make_optimizer(ranker)
    give_gradients(ranker, 2.0)
    norms = optimizer.norms(scale=2.0)
    count = sum(p.numel() for p in ranker.parameters())
    assert float(norms["train/grad_norm"]) == pytest.approx(count**0.5)
    assert float(norms["train/param_norm"]) == pytest.approx(torch.cat([p.detach().flatten() for p in ranker.parameters()]).norm().item())
    assert {"train/grad_norm/backbone", "train/param_norm/like"} <= norms.keys()


def test_a_task_without_a_rate_is_named():
    cfg = OptimizerConfig(name="test", backbone=Constant(rate=1.0), towers={"like": Constant(rate=1.0), "reply": Constant(rate=1.0)})
    with pytest.raises(ConfigError, match="'report' has no learning rate"):
        build_optimizer(cfg, make_ranker().parameter_groups())


def test_a_rate_of_no_task_is_named_with_the_nearest():
    cfg = OptimizerConfig(name="test", backbone=Constant(rate=1.0), tower=Constant(rate=1.0), towers={"lke": Constant(rate=1.0)})
    with pytest.raises(ConfigError, match=rf"no task 'lke' \(did you mean 'like'\?\); tasks: {', '.join(TASKS)}"):
        build_optimizer(cfg, make_ranker().parameter_groups())


@pytest.mark.parametrize("wrong", [{"betas": [0.9]}, {"betas": [0.9, 1.0]}, {"eps": 0.0}])
def test_wrong_values(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OptimizerConfig(name="test", backbone=Constant(rate=1.0), **wrong)
