"""Small logs and the tables made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from recap_exp.data.config import DataConfig
from recap_exp.data.events.config import EventsSource
from recap_exp.data.events.table import build


def source(*files: Path, **fields: Any) -> EventsSource:
    """A source by plain values, checked as those of a YAML file are."""
    made = {"files": [str(f) for f in files], "labels": {"like": ["like"]}, **fields}
    return TypeAdapter(EventsSource).validate_json(json.dumps(made))


def write(path: Path, rows: list[tuple[Any, ...]], columns: tuple[str, ...] = ("viewer", "item", "time", "event")) -> Path:
    """The rows as CSV, compressed where the name says so."""
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False)
    return path


def read(made_from: EventsSource) -> dict[str, pd.DataFrame]:
    """Each split as a frame: features by name, ids, labels, and extras under extra_NAME."""
    schema, splits, _ = build(made_from, DataConfig(name="log", source=made_from))
    frames = {}
    for split, rows in splits.items():
        chunks = []
        for columns in rows():
            named: dict[str, Any] = {}
            for block in schema.blocks:
                prefix = "code_" if schema.blocks[block].kind == "discrete" else ""
                named |= {prefix + n: columns.blocks[block][:, i] for i, n in enumerate(schema.blocks[block].columns)}
            named |= columns.ids | columns.labels | {f"extra_{n}": v for n, v in columns.extras.items()}
            chunks.append(pd.DataFrame(named))
        frames[split] = pd.concat(chunks, ignore_index=True)
    return frames
