"""What must hold of any ranker: finiteness, independence of rows and heads, groups, blocks."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest
import torch
from golden_numbers import CONFIGS, TASKS, golden_model, golden_schema
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recap_exp.data.batch import Batch
from recap_exp.data.schema import Block, Schema
from recap_exp.errors import ConfigError, DataError
from recap_exp.model.blocks import used_blocks
from recap_exp.model.config import InputConfig, MLPConfig, RankerConfig, TowerConfig
from recap_exp.model.input import DoubleNormLog, log1p_abs
from recap_exp.model.norm import FiniteLayerNorm
from recap_exp.model.ranker import build_ranker

VARIANTS = ["share_all", "share_none", "share_partial", "serial_nomlp", "mlp_backbone", "input_layer_norm"]
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def ranker_of(variant: str):
    torch.manual_seed(0)
    return build_ranker(CONFIGS[variant], golden_schema(), TASKS)


def rows(batch: Batch, order: torch.Tensor) -> Batch:
    return Batch(
        continuous_BC=batch.continuous_BC[order],
        binary_BI=batch.binary_BI[order],
        discrete_BJ=batch.discrete_BJ[order],
        embeddings={name: e[order] for name, e in batch.embeddings.items()},
    )


@given(FLOATS, FLOATS)
def test_log_transform_is_odd_and_monotone(a, b):
    fa, fb, fna = log1p_abs(torch.tensor([a, b, -a])).tolist()
    assert fna == -fa
    assert (fa <= fb) if a <= b else (fa >= fb)
    assert abs(fa) <= 89


def test_log_transform_counts_non_finite_as_zero():
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0])
    assert log1p_abs(x).tolist() == [0.0, 0.0, 0.0, pytest.approx(np.log(2))]
    assert x[3] == 1  # the caller's tensor is untouched


@settings(deadline=None, max_examples=60)
@example(np.full((4, 5), 9.922101e-16, np.float32), False)  # a deviation whose third power underflows
@given(arrays(np.float32, (4, 5), elements=st.one_of(FLOATS, st.sampled_from([0.0, 1e-30, -1e-30, 3e38]))), st.booleans())
def test_dense_features_are_finite_on_every_finite_row(continuous, constant):
    torch.manual_seed(0)
    if constant:
        continuous[1:] = continuous[0]
    for training, norm in product((True, False), (InputConfig().batch_norm, None)):
        transform = DoubleNormLog(5, 2, InputConfig(batch_norm=norm)).train(training)
        y = transform(torch.from_numpy(continuous), torch.zeros(4, 2))
        assert y.isfinite().all()
        (y * torch.randn_like(y)).sum().backward()
        assert all(p.grad.isfinite().all() for p in transform.parameters())


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, st.tuples(st.just(3), st.integers(1, 9)), elements=st.floats(-5, 5, width=32)), st.booleans())
def test_finite_layer_norm(x, constant):
    """Equal to torch's where that is finite, bias elsewhere; all gradients are finite, and equal to torch's too."""
    if constant:
        x[1] = x[1, 0]
    width = x.shape[1]
    ours = FiniteLayerNorm(width, eps=0.0)
    torch.nn.init.normal_(ours.weight)
    torch.nn.init.normal_(ours.bias)
    a, b = (torch.from_numpy(x).clone().requires_grad_() for _ in range(2))
    y = ours(a)
    plain = torch.nn.functional.layer_norm(b, (width,), ours.weight, ours.bias, 0.0)
    ok = plain.isfinite().all(dim=1)
    assert y.isfinite().all()
    assert torch.equal(y[ok], plain[ok])
    assert torch.equal(y[~ok], ours.bias.expand_as(y)[~ok])
    y.square().sum().backward()
    ours_grads = [a.grad[ok], ours.weight.grad.clone(), ours.bias.grad.clone()]
    assert a.grad.isfinite().all() and ours.weight.grad.isfinite().all() and ours.bias.grad.isfinite().all()
    if ok.all() and (b.detach().std(dim=1, correction=0) > 1e-11).all():
        ours.zero_grad()
        plain.square().sum().backward()
        for got, want in zip(ours_grads, [b.grad, ours.weight.grad, ours.bias.grad], strict=True):
            torch.testing.assert_close(got, want)


def test_finite_layer_norm_gradient():
    norm = FiniteLayerNorm(6, eps=0.0).double()
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,))
    assert torch.equal(FiniteLayerNorm(6, eps=1e-5)(x.float()), torch.nn.functional.layer_norm(x.float(), (6,)))


@pytest.mark.parametrize("variant", VARIANTS)
@settings(deadline=None, max_examples=5)
@given(order=st.permutations(range(64)))
def test_rows_do_not_see_each_other_in_evaluation(variant, order):
    ranker = ranker_of(variant).eval()
    batch, order = golden_model("share_all").batch(), torch.tensor(order)
    with torch.no_grad():
        logits_BT = ranker(batch)
        torch.testing.assert_close(ranker(rows(batch, order)), logits_BT[order], atol=1e-5, rtol=0)
        torch.testing.assert_close(ranker(rows(batch, order[:1])), logits_BT[order[:1]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_head_reads_its_own_tower_only(variant):
    ranker = ranker_of(variant)
    batch = golden_model("share_all").batch()
    for t, task in enumerate(TASKS):
        ranker.zero_grad()
        ranker(batch)[:, t].square().sum().backward()
        for other in TASKS:
            touched = any(p.grad is not None and p.grad.any() for p in ranker.tower(other).parameters())
            assert touched == (other == task)


@pytest.mark.parametrize("variant", [*VARIANTS, "affine_map"])
def test_parameter_groups_cover_all_parameters_once(variant):
    ranker = ranker_of(variant)
    groups = ranker.parameter_groups()
    assert list(groups) == ["backbone", *TASKS]
    grouped = [id(p) for group in groups.values() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in ranker.parameters())
    for task in TASKS:
        assert {id(p) for p in groups[task]} == {id(p) for p in ranker.tower(task).parameters()}
    if ranker.backbone is not None:
        assert {id(p) for p in ranker.backbone.parameters()} <= {id(p) for p in groups["backbone"]}


def test_dropout_acts_in_training_only():
    config = dataclasses.replace(CONFIGS["share_all"], tower=TowerConfig(layers=[16, 8, 1], dropout=0.5))
    torch.manual_seed(0)
    ranker = build_ranker(config, golden_schema(), TASKS)
    batch = golden_model("share_all").batch()
    assert not torch.equal(ranker(batch), ranker(batch))
    ranker.eval()
    assert torch.equal(ranker(batch), ranker(batch))


def test_same_seed_same_model():
    a, b = ranker_of("share_all"), ranker_of("share_all")
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def block(kind, width: int) -> Block:
    return Block(kind=kind, columns=("column",), width=width, use=width)


SCHEMA = Schema(
    blocks={"emb": block("embedding", 3), "d": block("discrete", 2), "more": block("continuous", 2), "c": block("continuous", 4)}
)
MLP_ONLY = RankerConfig(name="m", backbone=MLPConfig(layers=[4]), tower=TowerConfig(layers=[1]))


def test_used_blocks_stand_in_the_schemas_order():
    assert used_blocks(MLP_ONLY, SCHEMA) == ["emb", "more", "c"]
    assert used_blocks(dataclasses.replace(MLP_ONLY, blocks=["c", "emb"]), SCHEMA) == ["emb", "c"]
    with pytest.raises(ConfigError, match=r"'embb' is no block of the data.*did you mean 'emb'"):
        used_blocks(dataclasses.replace(MLP_ONLY, blocks=["embb"]), SCHEMA)
    with pytest.raises(ConfigError, match="'d' is discrete"):
        used_blocks(dataclasses.replace(MLP_ONLY, blocks=["d"]), SCHEMA)


@pytest.mark.parametrize(
    ("blocks", "kept"), [(["emb"], 3), (["c"], 4), (["more", "c"], 6), (["bin"], 5), (["bin", "emb"], 8), (["one"], 1), (None, 15)]
)
def test_any_choice_of_blocks_trains(blocks, kept):
    """Also without continuous, binary or embedding features, and with a single feature."""
    schema = Schema(blocks={**SCHEMA.blocks, "bin": block("binary", 5), "one": block("embedding", 1)})
    ranker = build_ranker(dataclasses.replace(MLP_ONLY, blocks=blocks), schema, ["t"])
    assert ranker.input_width == kept
    names = used_blocks(dataclasses.replace(MLP_ONLY, blocks=blocks), schema)

    def side_by_side(kind) -> torch.Tensor:
        return torch.randn(6, sum(schema.blocks[n].use for n in names if schema.blocks[n].kind == kind))

    embeddings = {n: torch.randn(6, schema.blocks[n].use) for n in names if schema.blocks[n].kind == "embedding"}
    batch = Batch(
        continuous_BC=side_by_side("continuous"),
        binary_BI=side_by_side("binary"),
        discrete_BJ=torch.zeros(6, 0, dtype=torch.int64),
        embeddings=embeddings,
    )
    logits_BT = ranker(batch)
    assert logits_BT.shape == (6, 1)
    logits_BT.sum().backward()
    assert all(p.grad.isfinite().all() for p in ranker.parameters())


def test_a_batch_of_other_width_is_named():
    ranker, batch = ranker_of("share_all"), golden_model("share_all").batch()
    batch.binary_BI = batch.binary_BI[:, :9]
    with pytest.raises(DataError, match="9 binary features, the model was built for 11"):
        ranker(batch)


def test_nothing_to_read_is_an_error():
    with pytest.raises(ConfigError, match="the model reads nothing; the data has the blocks d"):
        build_ranker(MLP_ONLY, Schema(blocks={"d": block("discrete", 3)}), ["t"])


def test_names_of_tasks():
    """Any name but `backbone`, also one that a torch container has for itself."""
    ranker = build_ranker(MLP_ONLY, SCHEMA, ["apply", "keys", "a.b", "type"])
    assert list(ranker.parameter_groups()) == ["backbone", "apply", "keys", "a.b", "type"]
    for tasks in (["backbone"], ["a", "a"], ["a.b", "a__b"]):
        with pytest.raises(ConfigError, match="tasks must differ"):
            build_ranker(MLP_ONLY, SCHEMA, tasks)


def test_bfloat16_features_are_cast_at_the_door():
    ranker, batch = ranker_of("share_all").eval(), golden_model("share_all").batch()
    short = dataclasses.replace(batch, continuous_BC=batch.continuous_BC.bfloat16(), binary_BI=batch.binary_BI.bool())
    with torch.no_grad():
        assert ranker.features(short).dtype == torch.float32
        torch.testing.assert_close(ranker(short), ranker(batch), atol=0.1, rtol=0)


def test_autocast_keeps_the_input_transform_in_float32():
    ranker, batch = ranker_of("share_all"), golden_model("share_all").batch()
    with torch.autocast("cpu", torch.bfloat16):
        assert ranker.features(batch).dtype == torch.float32
        logits_BT = ranker(batch)
    logits_BT.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in ranker.parameters())
