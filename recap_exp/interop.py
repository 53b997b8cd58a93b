"""Weights of the original Heavy Ranker into our ranker and back: its parameter names, our modules.

The original's layers of an MLP are numbered together with their ReLUs and dropouts. A tower whose dropout is configured
is numbered differently from one without, so linear layers and BatchNorms are matched in order, whatever their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from recap_exp.errors import CheckpointError
from recap_exp.model.masknet import MaskNet
from recap_exp.model.mlp import MLP
from recap_exp.model.ranker import Ranker, module_name

LABEL_PREFIX = "recap__engagement__"
"""The original calls a task by its label column, with `__` for dots; ours is called by what follows."""

CLIP = "_preprocessor._before_concat_layers.3"
CALIBRATORS = "_calibrators."
"""Rates of downsampling: here they belong to a partition of the evaluation, not to the model."""

LAYER = re.compile(r"^(.*\.layers\.)(\d+)(\..*)$")


def load_original_state(ranker: Ranker, state: Mapping[str, Tensor | np.ndarray]) -> None:
    """Fill the ranker with the original's entries, by their names.

    Calibrators are passed over: their rates belong to evaluation. Raises CheckpointError with one line that lists every
    entry that is missing, too many or of another shape; then the ranker is as it was.
    """
    ours = ranker.state_dict()
    theirs = dict(_entries(ranker))
    expected = _by_order({original: name for name, original in theirs.items()})
    given = _by_order({name: name for name in state if not name.startswith(CALIBRATORS)})
    clip = _clip(ranker)
    wrong = [f"{theirs[name]} is missing" for key, name in expected.items() if key not in given]
    wrong += [f"{key} is missing" for key in clip if key not in given]
    wrong += [f"{name} is unknown" for key, name in given.items() if key not in expected and key not in clip]
    filled = {}
    for key, name in given.items():
        value = state[name]
        if key in expected:
            target = expected[key]
            if tuple(value.shape) != tuple(ours[target].shape):
                wrong.append(f"{name} has shape {tuple(value.shape)}, not {tuple(ours[target].shape)}")
            filled[target] = torch.as_tensor(value)
        elif key in clip and float(value) != float(clip[key]):
            wrong.append(f"{name} is {float(value):g}, but model.input.clip says {float(clip[key]):g}")
    if wrong:
        raise CheckpointError(f"these weights are of another model: {'; '.join(wrong)}")
    ranker.load_state_dict(filled)


def export_original_state(ranker: Ranker) -> dict[str, Tensor]:
    """The ranker's entries by the original's names, copied to the CPU. Calibrators get the ratio 1: they change nothing."""
    ours = ranker.state_dict()
    state = {theirs: ours[name].detach().cpu().clone() for name, theirs in _entries(ranker)}
    ratios = {f"{CALIBRATORS}{_label(task)}.ratio": torch.tensor(1.0) for task in ranker.tasks}
    return state | _clip(ranker) | ratios


def _by_order(names: Mapping[str, str]) -> dict[str, str]:
    """Keys with the numbers of MLP layers replaced by their rank among the layers that have entries."""
    numbers: dict[str, set[int]] = {}
    for key in names:
        if match := LAYER.match(key):
            numbers.setdefault(match[1], set()).add(int(match[2]))
    ranks = {mlp: {n: rank for rank, n in enumerate(sorted(found))} for mlp, found in numbers.items()}
    return {LAYER.sub(lambda m: f"{m[1]}{ranks[m[1]][int(m[2])]}{m[3]}", key): name for key, name in names.items()}


def _label(task: str) -> str:
    return LABEL_PREFIX + task.replace(".", "__")


def _clip(ranker: Ranker) -> dict[str, Tensor]:
    if ranker.dense is None:
        return {}
    return {f"{CLIP}.min_value": torch.tensor(-ranker.dense.clip), f"{CLIP}.max_value": torch.tensor(ranker.dense.clip)}


def _entries(ranker: Ranker) -> Iterator[tuple[str, str]]:
    """Our name and the original's of every entry of the state."""
    modules = dict(_modules(ranker))
    for name in ranker.state_dict():
        module, entry = name.rsplit(".", 1)
        yield name, f"{modules[module]}.{entry}"


def _modules(ranker: Ranker) -> Iterator[tuple[str, str]]:
    """Our module, the original's module, for all modules that have entries of their own."""
    if ranker.dense is not None:
        yield "dense.batch_norm", "_preprocessor._before_concat_layers.2.layer"
        yield "dense.layer_norm", "_preprocessor.layer_norm.layer"
    for block in ranker.embedding_names:
        yield f"embedding_norms.{module_name(block)}", f"_{block}_layer_norm"
    if isinstance(ranker.backbone, MLP):
        yield from _mlp(ranker.backbone, "backbone", "_backbone")
    if isinstance(ranker.backbone, MaskNet):
        yield from _masknet(ranker.backbone)
    for task in ranker.tasks:
        yield from _mlp(ranker.tower(task).mlp, f"towers.{module_name(task)}.mlp", f"_towers.{_label(task)}")
        yield f"towers.{module_name(task)}.affine", f"_affine_maps.{_label(task)}"


def _masknet(masknet: MaskNet) -> Iterator[tuple[str, str]]:
    for k in range(len(masknet.blocks)):
        ours, theirs = f"backbone.blocks.{k}", f"_backbone._mask_blocks.{k}"
        yield f"{ours}.input_norm", f"{theirs}._input_layer_norm"
        yield f"{ours}.aggregate", f"{theirs}._mask_layer.0"
        yield f"{ours}.project", f"{theirs}._mask_layer.2"
        yield f"{ours}.hidden", f"{theirs}._hidden_layer"
        yield f"{ours}.norm", f"{theirs}._layer_norm"
    if masknet.mlp is not None:
        yield from _mlp(masknet.mlp, "backbone.mlp", "_backbone._dense_layers")


def _mlp(mlp: MLP, ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    number = 0
    for i in range(len(mlp.linears)):
        yield f"{ours}.linears.{i}", f"{theirs}.layers.{number}"
        if mlp.norms and i < len(mlp.norms):
            yield f"{ours}.norms.{i}", f"{theirs}.layers.{number + 1}"
        number += 2 + bool(mlp.norms) + bool(mlp.dropout)
