"""The original's weights into ours and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_numbers import CONFIGS, TASKS, golden_model

from recap_exp.errors import CheckpointError
from recap_exp.interop import export_original_state, load_original_state
from recap_exp.model.config import InputConfig, MaskBlockConfig, MaskNetConfig, MLPConfig, RankerConfig, TowerConfig
from recap_exp.model.ranker import build_ranker

FAV = "_towers.recap__engagement__is_favorited.layers"


def built(variant: str):
    golden = golden_model(variant)
    return build_ranker(golden.config, golden.schema, golden.tasks)


@pytest.mark.parametrize("variant", CONFIGS)
def test_round_trip(variant):
    """Loading and exporting gives the entries back. The original numbers two towers' layers as if they had dropout."""
    ranker, state = built(variant), golden_model(variant).state
    load_original_state(ranker, state)
    exported = export_original_state(ranker)

    def comparable(names):
        return [n for n in names if "_calibrators" not in n and "is_report" not in n and "is_negative" not in n]

    assert sorted(comparable(exported)) == sorted(comparable(state))
    assert len(exported) == len(state)
    for name in comparable(state):
        np.testing.assert_array_equal(exported[name], state[name], err_msg=name)

    again = built(variant)
    load_original_state(again, exported)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), ranker.state_dict().values(), strict=True))


def test_export_numbers_dropouts_as_the_original_does():
    golden = golden_model("share_all")
    towers = {t: TowerConfig(layers=[16, 8, 1], dropout=0.1) for t in ("is_negative_feedback_v2", "is_report_tweet_clicked")}
    config = CONFIGS["share_all"]
    config = RankerConfig(name="dropout", backbone=config.backbone, tower=config.tower, towers=towers)
    ranker = build_ranker(config, golden.schema, TASKS)
    load_original_state(ranker, golden.state)
    assert set(export_original_state(ranker)) == set(golden.state)


def test_export_is_a_copy():
    ranker = built("mlp_backbone")
    exported = export_original_state(ranker)
    before = ranker.state_dict()["backbone.linears.0.bias"].clone()
    exported["_backbone.layers.0.bias"] += 1
    assert torch.equal(ranker.state_dict()["backbone.linears.0.bias"], before)


def test_every_wrong_entry_is_listed_and_nothing_is_loaded():
    ranker, state = built("share_all"), dict(golden_model("share_all").state)
    before = {name: value.clone() for name, value in ranker.state_dict().items()}
    del state["_author_embedding_layer_norm.bias"]
    state["_backbone._dense_layers.layers.0.bias"] = np.zeros(31, dtype=np.float32)
    state["_position_debias.weight"] = np.zeros(3, dtype=np.float32)
    state["_preprocessor._before_concat_layers.3.max_value"] = np.float32(4)
    with pytest.raises(CheckpointError) as error:
        load_original_state(ranker, state)
    said = str(error.value)
    assert "\n" not in said
    assert "_author_embedding_layer_norm.bias is missing" in said
    assert "_backbone._dense_layers.layers.0.bias has shape (31,), not (32,)" in said
    assert "_position_debias.weight is unknown" in said
    assert "max_value is 4, but model.input.clip says 5" in said
    assert all(torch.equal(value, before[name]) for name, value in ranker.state_dict().items())


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        ("share_none", "share_all", "_backbone._mask_blocks.0._hidden_layer.weight is unknown"),
        ("share_all", "share_none", "_backbone._mask_blocks.0._hidden_layer.weight is missing"),
        ("no_tower_bn", "share_all", f"{FAV}.1.running_mean is unknown"),
        ("share_all", "no_tower_bn", "running_mean is missing"),
        ("parallel_nomlp", "serial_nomlp", "_backbone._mask_blocks.1._hidden_layer.weight has shape (16, 16), not (16, 72)"),
        ("share_all", "affine_map", "_affine_maps.recap__engagement__is_favorited.weight is unknown"),
    ],
)
def test_weights_of_another_model(ours, theirs, says):
    with pytest.raises(CheckpointError) as error:
        load_original_state(built(ours), golden_model(theirs).state)
    assert says in str(error.value)


def test_tensors_load_too():
    a, b = built("share_all"), built("share_all")
    state = golden_model("share_all").state
    load_original_state(a, state)
    load_original_state(b, {name: torch.as_tensor(value) for name, value in state.items()})
    assert all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_serial_masknet_with_mlp_and_without_batch_norm_in_the_input():
    """Combinations that the original names but can't run."""
    golden = golden_model("share_all")
    config = RankerConfig(
        name="serial",
        input=InputConfig(batch_norm=None, embedding_layer_norm=False),
        backbone=MaskNetConfig(parallel=False, blocks=[MaskBlockConfig(output=8, aggregation=4)] * 2, mlp=MLPConfig(layers=[6, 4])),
        tower=TowerConfig(layers=[1]),
    )
    a, b = (build_ranker(config, golden.schema, TASKS) for _ in range(2))
    load_original_state(b, export_original_state(a))
    a.eval(), b.eval()
    with torch.no_grad():
        assert torch.equal(a(golden.batch()), b(golden.batch()))
