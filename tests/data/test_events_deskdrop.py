"""The configurations in conf/data that are built from a log, on a small log written as Deskdrop's is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from recap_exp.data.config import DataConfig
from recap_exp.data.prepare import prepare
from recap_exp.paths import conf_dir

KINDS = ["VIEW", "LIKE", "BOOKMARK", "FOLLOW", "COMMENT CREATED"]


def config(name: str) -> DataConfig:
    return TypeAdapter(DataConfig).validate_json(json.dumps(yaml.safe_load((conf_dir() / "data" / f"{name}.yaml").read_text())))


def deskdrop_log(rows: int) -> pd.DataFrame:
    """Ids of 64 bits, seconds, and no user agent, region or country for what is no view: as in the real log's first months."""
    rng = np.random.default_rng(0)
    kinds = rng.choice(KINDS, rows, p=[0.6, 0.1, 0.1, 0.1, 0.1])
    log = pd.DataFrame(
        {
            "timestamp": 1_457_963_676 + np.sort(rng.integers(0, 200 * 86_400, rows)),
            "eventType": kinds,
            "contentId": rng.integers(-(2**62), 2**62, 40)[rng.integers(0, 40, rows)],
            "personId": rng.integers(-(2**62), 2**62, 30)[rng.integers(0, 30, rows)],
            "sessionId": 1,
            "userAgent": rng.choice(["Android - Native Mobile App", "Mozilla/5.0 (Windows NT 10.0)", "Mozilla/5.0 (X11; Linux)"], rows),
            "userRegion": "SP",
            "userCountry": "BR",
        }
    )
    log.loc[kinds != "VIEW", ["userAgent", "userRegion", "userCountry"]] = None
    return log


@pytest.mark.parametrize("file", ["users_interactions.csv", "users_interactions.csv.zip"])
def test_deskdrop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.setenv("RECAP_DATA", str(tmp_path))
    (tmp_path / "deskdrop").mkdir()
    log = deskdrop_log(2000)
    log.to_csv(tmp_path / "deskdrop" / file, index=False)
    tasks = yaml.safe_load((conf_dir() / "tasks" / "deskdrop.yaml").read_text())
    dataset = prepare(config("deskdrop"), [task["label"] for task in tasks.values()])
    assert set(dataset.splits) == {"train", "val", "test"}
    assert dataset.schema.blocks["continuous"].width == 64
    assert dataset.folder is not None
    features = json.loads((dataset.folder / "manifest.json").read_text())["made"]["features"]
    assert {"device=android", "device=windows", "device=linux", "country=BR"} <= set(features["binary"])
    assert len(features["continuous"]) == 64 and features["continuous"][0] == "viewer_pairs"


def test_a_gap_in_the_log_tells_no_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that are no views have no user agent: taken from the row's own event, the device would give the label away."""
    from recap_exp.data.events.table import build

    monkeypatch.setenv("RECAP_DATA", str(tmp_path))
    (tmp_path / "deskdrop").mkdir()
    deskdrop_log(6000).to_csv(tmp_path / "deskdrop" / "users_interactions.csv", index=False)
    gap = {}
    for value in ("row", "last"):
        cfg = config("deskdrop")
        cfg.source.categorical["device"].value = value  # type: ignore[union-attr, assignment]
        _, splits, _ = build(cfg.source, cfg)  # type: ignore[arg-type]
        (chunk,) = splits["train"]()
        unknown = chunk.extras["device"] == ""
        liked = chunk.labels["label_like"]
        known_rate = liked[~unknown].mean()
        gap[value] = liked[unknown].mean() - known_rate if unknown.any() else 0.0
    assert gap["row"] > 0.1 and abs(gap["last"]) < 0.1


def test_the_template_fits_a_log_of_its_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECAP_DATA", str(tmp_path))
    rng = np.random.default_rng(1)
    log = pd.DataFrame({"viewer": rng.integers(0, 20, 900), "item": rng.integers(0, 40, 900), "time": rng.integers(0, 10**7, 900)})
    log["event"] = rng.choice(["view", "like", "share"], 900)
    log.to_csv(tmp_path / "events.csv", index=False)
    assert prepare(config("events"), ["label_like", "label_share"]).schema.labels == ("label_like", "label_share")
