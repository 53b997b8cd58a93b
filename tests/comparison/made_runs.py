"""Run folders as runs leave them, without running anything: for tests of what is read from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

CONFIG: dict[str, Any] = {
    "name": "planted",
    "seed": 0,
    "metric": "val/auroc/mean",
    "tasks": {"like": {"label": "label_like"}},
    "data": {"name": "planted", "source": {"rows": {"train": 100, "val": 10, "test": 10}}},
    "model": {"name": "mlp", "input": {"clip": 5.0}, "tower": {"layers": [16, 1], "dropout": 0.0}},
    "optimizer": {"name": "adam_cosine", "backbone": {"rate": 0.01, "ramp": 6, "end": 100}},
    "trainer": {"steps": 100},
    "evaluation": {"partitions": {"val": {"split": "val"}, "test": {"split": "test"}}},
    "scoring": {"name": "home_2023", "partitions": ["test"]},
    "tracking": {"kind": "none", "notes": ""},
    "overrides": [],
}


def changed(config: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The configuration with values by dotted key."""
    config = json.loads(json.dumps(config))
    for key, value in values.items():
        place = config
        *way, last = key.split(".")
        for part in way:
            place = place.setdefault(part, {})
        place[last] = value
    return config


def make_run(
    outputs: Path,
    run_id: str,
    values: dict[str, Any] | None = None,
    overrides: list[str] | None = None,
    metrics: dict[str, float] | None = None,
    curve: dict[int, dict[str, float]] | None = None,
    card: dict[str, Any] | None = None,
    digests: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    scores: np.ndarray | None = None,
) -> Path:
    """A folder under outputs/runs; `values` change CONFIG."""
    folder = outputs / "runs" / run_id
    folder.mkdir(parents=True)
    config = changed(CONFIG, values or {}) | {"overrides": overrides or []}
    known = {"id": run_id, "command": "train", "name": config["name"], "status": "FINISHED", **(card or {})}
    (folder / "run.json").write_text(json.dumps(known))
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    records: list[dict[str, Any]] = [{"k": "start", "run": run_id, "tags": tags or {}}]
    records += [{"k": "dataset", "context": split, "digest": d} for split, d in (digests or {"val": "v", "test": "t"}).items()]
    records += [{"k": "metrics", "step": step, "v": v} for step, v in (curve or {}).items()]
    records += [{"k": "metrics", "step": None, "v": metrics or {}}]
    (folder / "records.jsonl").write_text("".join(json.dumps({"t": 0, **r}) + "\n" for r in records))
    if scores is not None:
        (folder / "score").mkdir()
        pq.write_table(pa.table({"row": np.arange(len(scores)), "sum": scores, "score": scores}), folder / "score" / "candidates.parquet")
    return folder
