"""Every file in conf/model states every field, builds, and learns; the full size has the original's parameters."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

import pytest
import torch
from golden_numbers import TASKS, golden_model, golden_schema
from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError

from recap_exp.data.schema import Block, Schema
from recap_exp.model.config import MaskBlockConfig, ModelConfig, TowerConfig
from recap_exp.model.loss import reduce_losses, task_losses
from recap_exp.model.ranker import build_ranker
from recap_exp.model.twhin.config import TwhinConfig
from recap_exp.paths import conf_dir

FILES = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
GRAPH_MODELS = [name for name in FILES if name.startswith("twhin")]
RANKERS = [name for name in FILES if name not in ("logistic_regression", "lightgbm", *GRAPH_MODELS)]
SMALL = [name for name in RANKERS if name != "heavy_ranker"]


def plain(name: str) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(conf_dir() / "model" / f"{name}.yaml"))


def model(name: str, **changed: Any) -> ModelConfig | TwhinConfig:
    return TypeAdapter(TwhinConfig if name in GRAPH_MODELS else ModelConfig).validate_json(json.dumps({**plain(name), **changed}))


@pytest.mark.parametrize("name", FILES)
def test_states_every_field(name):
    def missing(value: Any, stated: Any, where: str) -> list[str]:
        if dataclasses.is_dataclass(value):
            fields = [f.name for f in dataclasses.fields(value)]
            here = [f"{where}.{f}" for f in fields if f not in stated]
            return here + [m for f in fields if f in stated for m in missing(getattr(value, f), stated[f], f"{where}.{f}")]
        if isinstance(value, list):
            return [m for k, (v, s) in enumerate(zip(value, stated, strict=True)) for m in missing(v, s, f"{where}.{k}")]
        if isinstance(value, dict):
            return [m for k in value for m in missing(value[k], stated[k], f"{where}.{k}")]
        return []

    assert missing(model(name), plain(name), "model") == []
    assert model(name).name == name


def test_full_size_has_the_originals_parameters():
    def block(kind: Any, width: int, use: int) -> Block:
        return Block(kind=kind, columns=("column",), width=width, use=use)

    embeddings = {name: block("embedding", 200, 200) for name in ("user_embedding", "user_eng_embedding", "author_embedding")}
    blocks = {"continuous": block("continuous", 6000, 2117), "binary": block("binary", 512, 59), "discrete": block("discrete", 320, 320)}
    with torch.device("meta"):
        ranker = build_ranker(model("heavy_ranker"), Schema(blocks=blocks | embeddings), TASKS)
    assert ranker.input_width == 2776
    counts = {name: sum(p.numel() for p in group) for name, group in ranker.parameter_groups().items()}
    assert counts["backbone"] == 42_529_632 + 9_786
    assert sum(counts.values()) - counts["backbone"] == 5_575_690
    assert sum(p.numel() for p in ranker.parameters()) == sum(counts.values()) == 48_115_108
    dropouts = {task: ranker.tower(task).mlp.dropout for task in TASKS if ranker.tower(task).mlp.dropout}
    assert dropouts == {"is_negative_feedback_v2": 0.1, "is_report_tweet_clicked": 0.2}


@pytest.mark.parametrize("sharing", ["share_all", "share_none", "share_partial"])
@pytest.mark.parametrize("name", SMALL)
def test_learns(name: str, sharing: Literal["share_all", "share_none", "share_partial"]):
    torch.manual_seed(0)
    batch = golden_model("share_all").batch()
    ranker = build_ranker(model(name, sharing=sharing), golden_schema(), TASKS)
    optimizer = torch.optim.Adam(ranker.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = reduce_losses(task_losses(ranker(batch), batch.labels_BT), "mean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_serial_and_parallel_are_of_the_same_size():
    names = ("masknet_parallel", "masknet_serial", "mlp")
    sizes = [sum(p.numel() for p in build_ranker(model(name), golden_schema(), TASKS).parameters()) for name in names]
    assert max(sizes) < 1.1 * min(sizes)


def test_towers_by_name():
    towers = {"is_replied": TowerConfig(layers=[4, 1], dropout=0.3, affine_map=True)}
    ranker = build_ranker(dataclasses.replace(model("mlp"), towers=towers), golden_schema(), TASKS)
    assert ranker.tower("is_replied").mlp.dropout == 0.3
    assert ranker.tower("is_replied").affine is not None
    assert ranker.tower("is_favorited").mlp.linears[0].out_features == 16


def test_initialisation_is_xavier_uniform_with_zero_biases():
    torch.manual_seed(0)
    ranker = build_ranker(model("masknet_parallel"), golden_schema(), TASKS)
    linears = [m for m in ranker.modules() if isinstance(m, torch.nn.Linear)]
    assert len(linears) == 2 * 3 + 10 * 2
    for layer in linears:
        bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
        assert not layer.bias.any()
        assert layer.weight.abs().max() <= bound
        assert layer.weight.numel() < 200 or layer.weight.abs().max() > 0.9 * bound


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"backbone": None}, "backbone must be given for sharing=share_all"),
        ({"blocks": []}, "blocks must be null"),
        ({"tower": {"layers": [8, 2]}}, "last layer must be 1 wide"),
        ({"tower": {"layers": []}}, "layers must be one or more widths"),
        ({"tower": {"dropout": 1.0}}, r"dropout must be in \[0, 1\)"),
        ({"tower": {"batch_norm": {"momentum": 0.0}}}, r"momentum must be in \(0, 1\]"),
        ({"input": {"clip": 0.0}}, "clip must be > 0"),
        ({"input": {"layer_norm_eps": -1.0}}, "layer_norm_eps must be >= 0"),
        ({"backbone": {"kind": "masknet", "blocks": []}}, "at least one mask block"),
        ({"backbone": {"kind": "masknet", "blocks": [{"output": 4}]}}, "one of aggregation and reduction_factor"),
        ({"backbone": {"kind": "masknet", "blocks": [{"output": 0, "aggregation": 4}]}}, "output must be at least 1"),
        ({"backbone": {"kind": "transformer"}}, "kind"),
        ({"sharing": "share_some"}, "share_partial"),
    ],
)
def test_wrong_values_are_errors(changed, says):
    with pytest.raises(ValidationError, match=says):
        model("masknet_parallel", **changed)


def test_reduction_factor_gives_at_least_one_row():
    assert MaskBlockConfig(output=4, reduction_factor=0.001).aggregation_of(10) == 1
    assert MaskBlockConfig(output=4, reduction_factor=0.5).aggregation_of(11) == 5
