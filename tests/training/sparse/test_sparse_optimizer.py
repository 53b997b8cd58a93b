"""Tables learn in the backward pass as torch's optimisers would have them learn after it; each at its own rate."""

from __future__ import annotations

import json

import pytest
import torch
from made_twhin import alone, made_batch, made_model, made_optimizer, step
from pydantic import TypeAdapter

from recap_exp.composition import compose
from recap_exp.errors import ConfigError
from recap_exp.training.config import TrainerConfig
from recap_exp.training.sparse.config import SparseOptimizerConfig
from recap_exp.training.sparse.optimizer import build_sparse_optimizer

TORCH = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}


@pytest.fixture(autouse=True)
def group():
    with alone():
        yield


def reference(rule, rates, steps):
    """The losses and tables where a plain embedding bag collection learns from its gradients."""
    model = made_model()
    kwargs = {} if rule == "sgd" else {"eps": 1e-8}
    bags = model.tables.collection.embedding_bags
    optimizers = [TORCH[rule]([bags[name].weight], lr=rate, **kwargs) for name, rate in rates.items()]
    kind = torch.optim.Adam if rule == "adam" else torch.optim.Adagrad
    optimizers.append(kind(model.operators.parameters(), lr=0.1, eps=1e-8))
    losses = []
    for number in range(steps):
        loss = model(made_batch(number))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
    return losses, {name: model.vectors(name) for name in rates}


@pytest.mark.parametrize("rule", TORCH)
def test_a_rule_is_torchs(rule):
    rates = {"user": 0.05, "post": 0.2}
    losses, tables = reference(rule, rates, 4)
    model = made_model(device="meta")
    optimizer = made_optimizer(model, rule, **rates)
    assert [step(model, optimizer, made_batch(number)) for number in range(4)] == pytest.approx(losses, abs=1e-5)
    for name, rows in tables.items():
        torch.testing.assert_close(model.vectors(name), rows, rtol=0, atol=1e-4)


def test_a_row_that_no_edge_names_stays():
    model = made_model(device="meta", negatives={"in_batch": 4, "uniform": 0})
    optimizer, batch = made_optimizer(model), made_batch(relations=(1,))
    before = {name: model.vectors(name).clone() for name in ("user", "post")}
    step(model, optimizer, batch)
    touched = torch.zeros(30, dtype=torch.bool)
    touched[torch.cat([batch.lhs_B, batch.rhs_B])] = True
    assert torch.equal(model.vectors("post"), before["post"])
    assert torch.equal((model.vectors("user") != before["user"]).any(1), touched)


def configured(**settings):
    cfg = {"kind": "sparse", "name": "t", "table": {"rule": "sgd", "schedule": {"kind": "constant", "rate": 0.1}}}
    cfg |= {"operators": {"rule": "sgd", "schedule": {"kind": "constant", "rate": 0.3}}, **settings}
    return TypeAdapter(SparseOptimizerConfig).validate_json(json.dumps(cfg))


def build(model, **settings):
    return build_sparse_optimizer(configured(**settings), model, TrainerConfig(steps=1, batch_size=2, device="cpu"))


def test_every_table_follows_its_own_schedule():
    """A ramp begins with an update that changes nothing, though the tables learn in the backward pass."""
    model = made_model(device="meta")
    optimizer = build(model, tables={"user": {"rule": "sgd", "schedule": {"kind": "linear_ramp", "rate": 0.4, "ramp": 2}}})
    assert optimizer.lrs(1) == {"user": 0.2, "post": 0.1, "operators": 0.3}
    moved = []
    for number in range(3):
        before = {name: model.vectors(name).clone() for name in ("user", "post")}
        step(model, optimizer, made_batch(0))
        moved.append({name: (model.vectors(name) - before[name]).norm().item() for name in before})
        assert optimizer.updates == number + 1
    assert moved[0]["user"] == 0 < moved[0]["post"]
    assert moved[2]["user"] == pytest.approx(2 * moved[1]["user"], rel=0.2)


def test_tables_of_one_rate_now_are_told_apart_later():
    model = made_model(device="meta")
    late = {"kind": "piecewise", "boundaries": [1], "rates": [0.1, 0.0]}
    optimizer = build(model, tables={"user": {"rule": "sgd", "schedule": late}})
    step(model, optimizer, made_batch(0))
    before = {name: model.vectors(name).clone() for name in ("user", "post")}
    step(model, optimizer, made_batch(1))
    assert torch.equal(model.vectors("user"), before["user"])
    assert not torch.equal(model.vectors("post"), before["post"])


def test_half_precision_tables_learn():
    model = made_model(device="meta", dtype="fp16")
    optimizer = made_optimizer(model)
    losses = [step(model, optimizer, made_batch(0)) for _ in range(12)]
    assert losses[-1] < losses[0] - 0.5
    assert model.tables.weights()["user"].dtype == torch.float16


def test_norms_are_of_tables_and_operators():
    model = made_model(device="meta")
    norms = made_optimizer(model).norms()
    parts = [norms[f"train/param_norm/{name}"] for name in ("user", "post", "operators")]
    assert norms["train/param_norm"].item() == pytest.approx(torch.stack(parts).norm().item())
    assert norms["train/param_norm/user"].item() == pytest.approx(model.vectors("user").norm().item())


def test_operators_without_parameters_have_no_rate():
    model = made_model(device="meta", operator="identity")
    optimizer = made_optimizer(model)
    assert set(optimizer.lrs(0)) == {"user", "post"}
    assert step(model, optimizer, made_batch()) > 0


def test_an_unknown_table():
    with pytest.raises(ConfigError, match=r"no entity 'usr' \(did you mean 'user'\?\); entities: user, post"):
        build(made_model(device="meta"), tables={"usr": {"rule": "sgd", "schedule": {"kind": "constant", "rate": 1.0}}})


def test_the_originals_rates():
    cfg = compose("train", ["experiment=twhin_original"]).optimizer
    assert [cfg.tables["user"].schedule.rate, cfg.table.schedule.rate, cfg.operators.schedule.rate] == [0.01, 0.005, 0.05]
    assert {cfg.tables["user"].rule, cfg.table.rule, cfg.operators.rule} == {"sgd"}
