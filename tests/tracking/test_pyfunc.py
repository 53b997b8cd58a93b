"""A saved ranker, loaded by mlflow in a process that knows nothing of the run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recap_exp.data.batch import Batch
from recap_exp.data.schema import Block, Schema
from recap_exp.errors import CheckpointError, DataError
from recap_exp.model.calibration import calibrate
from recap_exp.model.config import MaskBlockConfig, MaskNetConfig, RankerConfig, TowerConfig
from recap_exp.model.ranker import Ranker, build_ranker
from recap_exp.pyfunc import load, save_pyfunc
from recap_exp.scoring.config import Engagement, ScoringConfig
from recap_exp.scoring.weights import Weights, resolve
from recap_exp.tasks import Rates

TASKS = ("like", "report")
MODEL = RankerConfig(
    name="small",
    backbone=MaskNetConfig(blocks=[MaskBlockConfig(output=4, aggregation=4)]),
    tower=TowerConfig(layers=[4, 1]),
)
PACKED = Schema(
    blocks={
        "continuous": Block(kind="continuous", columns=("continuous",), width=5, use=3),
        "binary": Block(kind="binary", columns=("binary",), width=2, use=2),
        "discrete": Block(kind="discrete", columns=("discrete",), width=1, use=1),
        "author": Block(kind="embedding", columns=("author",), width=4, use=4),
    },
    labels=("like", "report"),
)
NAMED = Schema(
    blocks={
        "continuous": Block(kind="continuous", columns=("age", "gap", "count", "rate", "other"), width=5, use=3),
        "binary": Block(kind="binary", columns=("is_new", "is_own"), width=2, use=2),
    }
)


def weights() -> Weights:
    cfg = ScoringConfig(name="w", engagements={"like": Engagement(weight=1.0), "report": Engagement(weight=-10.0)}, positive_mapping=False)
    return resolve(cfg, TASKS)


def trained(schema: Schema) -> Ranker:
    torch.manual_seed(0)
    ranker = build_ranker(MODEL, schema, TASKS)
    for name, buffer in ranker.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return ranker.eval()


def save(folder: Path, schema: Schema, probabilities: Any = "raw") -> tuple[Path, Ranker]:
    ranker = trained(schema)
    rates = {"like": Rates(positive=1.0, negative=0.1)}
    saved = save_pyfunc(
        folder / "model", ranker=ranker, model=MODEL, schema=schema, weights=weights(), probabilities=probabilities, rates=rates
    )
    return saved, ranker


def packed_frame(rows: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "continuous": list(rng.normal(size=(rows, 5)).astype(np.float32)),
            "binary": list(rng.integers(0, 2, (rows, 2))),
            "author": list(rng.normal(size=(rows, 4)).astype(np.float32)),
            "like": rng.integers(0, 2, rows),
        },
        index=range(100, 100 + rows),
    )


def expected(ranker: Ranker, frame: pd.DataFrame) -> np.ndarray:
    def block(name: str, use: int) -> torch.Tensor:
        return torch.tensor(np.stack(frame[name].tolist())[:, :use].astype(np.float32))

    batch = Batch(
        continuous_BC=block("continuous", 3),
        binary_BI=block("binary", 2),
        discrete_BJ=torch.empty((len(frame), 0), dtype=torch.int64),
        embeddings={"author": block("author", 4)},
    )
    with torch.inference_mode():
        return ranker(batch).double().sigmoid().numpy()


@pytest.mark.parametrize("probabilities", ["raw", "calibrated"])
def test_predictions_are_the_ranker_s(tmp_path: Path, probabilities: str) -> None:
    saved, ranker = save(tmp_path, PACKED, probabilities)
    frame = packed_frame()
    found = load(saved / "data").predict(frame)
    probs = expected(ranker, frame)
    calibrated = calibrate(probs, np.array([0.1, 1.0]))
    assert list(found.columns) == ["prob/like", "prob/report", "calibrated/like", "calibrated/report", "score"]
    assert list(found.index) == list(frame.index)
    np.testing.assert_allclose(found[["prob/like", "prob/report"]], probs, rtol=1e-5)
    np.testing.assert_allclose(found[["calibrated/like", "calibrated/report"]], calibrated, rtol=1e-5)
    weighed = probs if probabilities == "raw" else calibrated
    np.testing.assert_allclose(found["score"], weighed @ [1, -10], rtol=1e-5)


def test_arrays_lists_and_named_columns_agree(tmp_path: Path) -> None:
    saved, _ = save(tmp_path, NAMED)
    model = load(saved / "data")
    rng = np.random.default_rng(0)
    numbers = {c: rng.normal(size=3) for c in ("age", "gap", "count")} | {c: rng.integers(0, 2, 3) for c in ("is_new", "is_own")}
    frame = pd.DataFrame(numbers)
    blocks = {"continuous": frame[["age", "gap", "count"]].to_numpy(), "binary": frame[["is_new", "is_own"]].to_numpy()}
    by_column = model.predict(frame)
    assert len(by_column) == 3 and by_column["score"].nunique() == 3
    pd.testing.assert_frame_equal(model.predict(numbers), by_column)
    pd.testing.assert_frame_equal(model.predict(blocks), by_column)
    assert len(model.predict(frame[:0])) == 0


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    saved, _ = save(tmp_path, PACKED)
    model, frame = load(saved / "data"), packed_frame()
    with pytest.raises(DataError, match=r"no column 'binary' .*did you mean 'binry'"):
        model.predict(frame.rename(columns={"binary": "binry"}))
    with pytest.raises(DataError, match=r"block author has shape \[7, 2\], the model needs 4"):
        model.predict(frame.assign(author=[[1.0, 2.0]] * 7))
    with pytest.raises(DataError, match="'author' does not hold numbers, or lists of one length"):
        model.predict(frame.assign(author=[[1.0]] * 6 + [[1.0, 2.0]]))
    with pytest.raises(DataError, match="different numbers of rows: continuous 7, binary 3"):
        model.predict({"continuous": np.zeros((7, 3)), "binary": np.zeros((3, 2)), "author": np.zeros((7, 4))})
    (saved / "data/weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="holds no readable model"):
        load(saved / "data")


LOAD = """
import json, sys
import numpy as np, pandas as pd
import mlflow.pyfunc
mlflow.set_tracking_uri(sys.argv[1])
packed = mlflow.pyfunc.load_model(sys.argv[2])
frame = pd.read_json(sys.argv[3], dtype=False)
arrays = {c: np.stack(frame[c].tolist()) for c in ("continuous", "binary", "author")}
named = mlflow.pyfunc.load_model(sys.argv[4])
numbers = pd.DataFrame({"age": [0.5], "gap": [1], "count": [2.0], "is_new": [1], "is_own": [0], "like": [1]})
print(json.dumps({
    "frame": packed.predict(frame)["score"].tolist(),
    "arrays": packed.predict(arrays)["score"].tolist(),
    "named": named.predict(numbers)["score"].tolist(),
    "named_arrays": named.predict({c: numbers[c].to_numpy() for c in numbers})["score"].tolist(),
    "outputs": named.metadata.signature.outputs.input_names(),
    "inputs": named.metadata.signature.inputs.input_names(),
}))
"""


def test_mlflow_loads_it_from_the_run_in_a_fresh_process(
    store_ready: Path, open_run: Any, no_sender: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from recap_exp.tracking.run_file import read_run
    from recap_exp.tracking.send import send

    folder = tmp_path_factory.mktemp("models")
    packed, ranker = save(folder, PACKED)
    (folder / "n").mkdir()
    named, _ = save(folder / "n", NAMED)
    tracker = open_run("r")
    tracker.artifact(packed, "model")
    tracker.finish()
    assert send() == 0
    card = read_run(store_ready / "runs/r")
    frame = packed_frame()
    frame.to_json(folder / "frame.json")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, card["tracking_uri"], f"runs:/{card['mlflow_run_id']}/model", folder / "frame.json", str(named)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    np.testing.assert_allclose(found["frame"], expected(ranker, frame) @ [1, -10], rtol=1e-4)
    np.testing.assert_allclose(found["arrays"], found["frame"], rtol=1e-6)
    assert found["named"] == found["named_arrays"] and len(found["named"]) == 1
    assert found["inputs"] == ["age", "gap", "count", "is_new", "is_own"]
    assert found["outputs"] == ["prob/like", "prob/report", "calibrated/like", "calibrated/report", "score"]
    assert "dependencies" not in done.stderr and "mismatch" not in done.stderr, done.stderr
