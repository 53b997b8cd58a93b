"""A trained ranker as a folder that `mlflow.pyfunc.load_model` reads: feature columns in, probabilities and score out.

The folder is written in MLflow's model format without importing mlflow (seconds), and read without executing anything that is stored
in it: weights are safetensors, the rest is YAML. Needs recap_exp installed where it is loaded.
"""

from __future__ import annotations

import json
import platform
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from recap_exp.configclass import configclass
from recap_exp.data.assemble import Assembler
from recap_exp.data.schema import DTYPES, Block, Columns, Schema
from recap_exp.errors import CheckpointError, DataError, first_line, nearest
from recap_exp.model.base import Model
from recap_exp.model.blocks import used_blocks
from recap_exp.model.build import build
from recap_exp.model.calibration import rates_ratio
from recap_exp.model.config import ModelConfig
from recap_exp.model.predict import predict
from recap_exp.model.predictions import Predictions
from recap_exp.scoring.score import score
from recap_exp.scoring.weights import Term, Weights
from recap_exp.tasks import Rates
from recap_exp.whole import draft_of, remove_drafts

WEIGHTS, SERVING = "weights.safetensors", "serving.yaml"
CHUNK = 4096
"""Rows that go through the model at a time."""
REQUIREMENTS = ("recap-exp", "torch", "numpy", "pandas", "pydantic", "safetensors", "PyYAML")


@configclass
class Serving:
    """All that is needed beside the weights to predict as the run did."""

    model: ModelConfig
    tasks: list[str]
    blocks: dict[str, dict[str, Any]]
    """The schema of what the model reads."""
    rates: dict[str, Rates] = field(default_factory=dict)
    """Sampling rates that calibrate the probabilities; tasks not named: 1."""
    scoring: dict[str, Any]
    """Weights resolved for this run."""
    probabilities: Literal["raw", "calibrated"]
    """Which of them the score weighs."""


def save_pyfunc(
    folder: Path,
    *,
    ranker: Model,
    model: ModelConfig,
    schema: Schema,
    weights: Weights,
    probabilities: Literal["raw", "calibrated"] = "raw",
    rates: Mapping[str, Rates] | None = None,
) -> Path:
    """Writes the model as `folder`, in place of what is there, and returns it.

    model, schema: what the ranker was built from. weights: a weight set resolved for the run (`scoring.weights.resolve`; under equal_share
    the resolved sizes are kept as they are). rates: sampling rates of the partition whose calibration the model should apply.
    """
    used = Schema(blocks={name: schema.blocks[name] for name in used_blocks(model, schema)})
    serving = Serving(
        model=model,
        tasks=list(ranker.tasks),
        blocks=used.to_json()["blocks"],
        rates=dict(rates or {}),
        scoring=asdict(weights),
        probabilities=probabilities,
    )
    remove_drafts(folder)
    draft = draft_of(folder)
    data = draft / "data"
    data.mkdir(parents=True)
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in ranker.state_dict().items()}, data / WEIGHTS)
    plain = json.loads(TypeAdapter(Serving).dump_json(serving))
    (data / SERVING).write_text(yaml.safe_dump(plain, sort_keys=False))
    _write_mlmodel(draft, used, serving, (*REQUIREMENTS, *ranker.requires))
    if folder.exists():
        shutil.rmtree(folder)
    return draft.rename(folder)


class ServedRanker:
    """What `mlflow.pyfunc.load_model` wraps. Also usable by itself: `load(folder / "data").predict(frame)`."""

    def __init__(self, ranker: Model, schema: Schema, weights: Weights, serving: Serving) -> None:
        self.ranker, self.schema, self.weights, self.serving = ranker, schema, weights, serving
        self._assembler = Assembler(schema=schema, tasks={})
        self._ratio_T = rates_ratio(ranker.tasks, serving.rates)

    def predict(self, features: pd.DataFrame | Mapping[str, Any], params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """`prob/TASK` and `calibrated/TASK` for every task, and `score`, a row each.

        features: the data set's own feature columns, or one column a block under the block's name; a column holds numbers, or lists as
        long as its features are many. A DataFrame, or a dict of arrays ([N] or [N, width]). Other columns are ignored.
        Raises DataError naming column, width or row where they don't fit.
        """
        columns = self._columns(features)
        chunks = (columns.take(slice(i, i + CHUNK)) for i in range(0, len(columns), CHUNK))
        parts = list(predict(self.ranker, map(self._assembler.batch, chunks), self._ratio_T))
        if not parts:
            return pd.DataFrame(columns=output_names(self.ranker.tasks), dtype=np.float64)
        said = Predictions.concatenate(parts)
        scored = score(said.probs_NT if self.serving.probabilities == "raw" else said.calibrated_NT, said.tasks, self.weights)
        values = np.concatenate([said.probs_NT, said.calibrated_NT, scored.score_N[:, None]], axis=1, dtype=np.float64)
        index = features.index if isinstance(features, pd.DataFrame) else None
        return pd.DataFrame(values, columns=output_names(said.tasks), index=index)

    def _columns(self, features: pd.DataFrame | Mapping[str, Any]) -> Columns:
        blocks = {name: _block(features, name, block) for name, block in self.schema.blocks.items()}
        counts = {name: len(values) for name, values in blocks.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"feature columns have different numbers of rows: {', '.join(f'{n} {c}' for n, c in counts.items())}")
        return Columns(blocks=blocks, file="model input")


def output_names(tasks: tuple[str, ...]) -> list[str]:
    """Columns of a prediction."""
    return [*(f"prob/{t}" for t in tasks), *(f"calibrated/{t}" for t in tasks), "score"]


def load(data: Path) -> ServedRanker:
    """The model of a folder that `save_pyfunc` wrote, from its subfolder `data`."""
    try:
        stored = yaml.safe_load((data / SERVING).read_text())
        serving = TypeAdapter(Serving).validate_json(json.dumps(stored))
        state = load_file(data / WEIGHTS)
    except Exception as error:
        raise CheckpointError(f"{data} holds no readable model: {first_line(error)}") from error
    schema = Schema.from_json({"blocks": serving.blocks, "ids": {}, "labels": (), "truths": (), "extras": {}})
    weights = Weights(**{**serving.scoring, "terms": tuple(Term(**t) for t in serving.scoring["terms"])})
    ranker = build(serving.model, schema, serving.tasks)
    ranker.make_room({name: tuple(tensor.shape) for name, tensor in state.items()})
    ranker.load_state_dict(state)
    return ServedRanker(ranker.eval(), schema, weights, serving)


def _load_pyfunc(data_path: str, model_config: Any = None) -> ServedRanker:
    """The name by which MLflow calls a loader module."""
    return load(Path(data_path))


def _block(features: pd.DataFrame | Mapping[str, Any], name: str, block: Block) -> np.ndarray:
    """The block's features as [N, use]."""
    columns = (name,) if name in features and block.columns[0] not in features else _columns_read(block)
    parts = []
    for column in columns:
        if column not in features:
            raise DataError(f"model input: no column '{column}' (block {name}){nearest(column, list(features))}")
        values = features[column]
        try:
            array = np.asarray(values if not isinstance(values, pd.Series) else values.tolist()).astype(DTYPES[block.kind], copy=False)
        except (ValueError, TypeError) as error:
            raise DataError(f"model input: column '{column}' does not hold numbers, or lists of one length: {error}") from None
        parts.append(array[:, None] if array.ndim == 1 else array)
    whole = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
    if whole.ndim != 2 or whole.shape[1] not in (block.width, block.use):
        raise DataError(f"model input: block {name} has shape {list(whole.shape)}, the model needs {block.use} features a row")
    return whole[:, : block.use]


def _columns_read(block: Block) -> tuple[str, ...]:
    """Stored columns that hold the features in use."""
    return block.columns[: block.use] if len(block.columns) == block.width else block.columns


def _write_mlmodel(folder: Path, schema: Schema, serving: Serving, requirements: Sequence[str]) -> None:
    """MLmodel and the requirements, as mlflow.pyfunc.save_model would write them for this loader module."""
    python = platform.python_version()
    # A column of single features is a number; a column of lists has no column type that also admits arrays in a dict.
    inputs = [
        {"name": column, "type": "double" if len(block.columns) == block.width else "any", "required": True}
        for block in schema.blocks.values()
        for column in _columns_read(block)
    ]
    outputs = [{"name": name, "type": "double", "required": True} for name in output_names(tuple(serving.tasks))]
    mlmodel = {
        "flavors": {
            "python_function": {
                "loader_module": "recap_exp.pyfunc",
                "data": "data",
                "env": {"virtualenv": "python_env.yaml"},
                "python_version": python,
            }
        },
        "metadata": {
            "tasks": serving.tasks,
            "scoring": serving.scoring["scoring"],
            "blocks": {name: {"kind": b.kind, "features": b.use} for name, b in schema.blocks.items()},
        },
        "mlflow_version": version("mlflow"),
        "model_uuid": uuid.uuid4().hex,
        "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None},
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    (folder / "MLmodel").write_text(yaml.safe_dump(mlmodel))
    (folder / "requirements.txt").write_text("".join(f"{name}=={version(name)}\n" for name in requirements))
    environment = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment))
