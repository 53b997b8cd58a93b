"""What a user can get wrong: one line that names the thing, the value and the way out."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from events_log import read, source, write
from pydantic import ValidationError

from recap_exp.data.config import BlockConfig, DataConfig
from recap_exp.data.prepare import prepare
from recap_exp.errors import ConfigError, DataError

ROWS = [(1, i, 3600 * i, ("view", "like")[i % 2]) for i in range(50)]


def fails(*words: str, files: tuple[Path, ...], **fields: Any) -> None:
    with pytest.raises(DataError) as caught:
        read(source(*files, **fields))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_nothing_matches(tmp_path: Path) -> None:
    fails("data.source.files", str(tmp_path / "no*.csv"), "RECAP_DATA", files=(tmp_path / "no*.csv",))


def test_relative_to_recap_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs").mkdir()
    write(tmp_path / "logs" / "log.csv", ROWS)
    monkeypatch.setenv("RECAP_DATA", str(tmp_path))
    assert sum(len(t) for t in read(source(Path("logs/log.csv"), window_hours=1.0)).values()) > 40


def test_missing_column(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", ROWS, ("viewer", "item", "timestamp", "event"))
    fails(str(log), "no column 'time'", "did you mean 'timestamp'?", files=(log,))
    pd.read_csv(log).to_parquet(tmp_path / "log.parquet")
    fails("no column 'time'", "did you mean 'timestamp'?", files=(tmp_path / "log.parquet",))
    fails("no column 'agent'", files=(log,), columns={"time": "timestamp"}, categorical={"device": {"column": "agent"}})


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("data.source.labels.like", {"labels": {"like": ["likes"]}}),
        ("data.source.impressions", {"impressions": ["likes"]}),
        ("data.source.history.counts.like", {"history": {"counts": {"like": ["likes"]}}}),
    ],
)
def test_unknown_kind_of_event(tmp_path: Path, key: str, fields: dict[str, Any]) -> None:
    log = write(tmp_path / "log.csv", ROWS)
    fails(key, "no event 'likes'", "did you mean 'like'?", "like, view", files=(log,), window_hours=1.0, **fields)


@pytest.mark.parametrize(
    ("unit", "value"), [("s", "soon"), ("iso", "2016-13-01"), ("s", 1e30), ("s", 2**60), ("s", 1_457_963_676_000), ("ms", "inf")]
)
def test_unparsable_time(tmp_path: Path, unit: str, value: object) -> None:
    good = "2016-01-01T00:00:00" if unit == "iso" else 5
    log = write(tmp_path / "log.csv", [(1, 1, good, "like"), (1, 2, good, "like"), (1, 3, value, "like")])
    fails(str(log), "row 3", "column 'time'", str(value), f"time_unit={unit}", files=(log,), time_unit=unit)


@pytest.mark.parametrize("column", ["viewer", "item", "time", "event"])
def test_gap_where_none_may_be(tmp_path: Path, column: str) -> None:
    frame = pd.DataFrame(ROWS, columns=["viewer", "item", "time", "event"]).astype(object)
    frame.loc[6, column] = None
    frame.to_csv(tmp_path / "log.csv", index=False)
    fails("row 7", f"column '{column}'", f"data.source.columns.{column}", files=(tmp_path / "log.csv",))


def test_empty_logs(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", [])
    fails(str(log), "no events", files=(log,))
    (tmp_path / "void.csv").write_bytes(b"")
    fails("void.csv", "can't be read", "Empty", files=(tmp_path / "void.csv",))


def test_files_that_are_no_log(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text("{}")
    fails("log.json", ".csv.gz", files=(tmp_path / "log.json",))
    for name in ("log.parquet", "log.csv.gz", "log.csv.zip"):
        (tmp_path / name).write_bytes(b"neither one nor the other")
        fails(name, "can't be read", files=(tmp_path / name,))
    with zipfile.ZipFile(tmp_path / "two.csv.zip", "w") as archive:
        archive.writestr("a.csv", "viewer,item,time,event\n")
        archive.writestr("b.csv", "viewer,item,time,event\n")
    fails("two.csv.zip", "one member, this has 2", files=(tmp_path / "two.csv.zip",))


def test_truncated_gzip(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv.gz", ROWS * 50)
    log.write_bytes(log.read_bytes()[:200])
    fails("log.csv.gz", "can't be read", files=(log,))


def test_ragged_csv(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("viewer,item,time,event\n1,2,3,like\n1,2\n")
    fails("log.csv", "can't be read", files=(tmp_path / "log.csv",))


def test_a_column_of_lists(tmp_path: Path) -> None:
    pd.DataFrame({"viewer": [[1], [2]], "item": [1, 2], "time": [1, 2], "event": ["like"] * 2}).to_parquet(tmp_path / "log.parquet")
    fails("log.parquet", "column 'viewer'", "list", files=(tmp_path / "log.parquet",))


def test_no_rows(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", ROWS)
    fails("shorter than a label window of 100 h", "drop_incomplete", files=(log,), window_hours=100.0)
    fails("split 'train' has no rows", "purge", files=(log,), window_hours=24.0)


@pytest.mark.parametrize(
    ("word", "fields"),
    [
        ("files", {"files": []}),
        ("labels", {"labels": {}}),
        ("labels.like", {"labels": {"like": []}}),
        ("labels", {"labels": {"a b": ["like"]}}),
        ("impressions", {"impressions": []}),
        ("window_hours", {"window_hours": -1.0}),
        ("split", {"split": {"train": 0.5, "test": 0.4}}),
        ("split", {"split": {"train": 1.5, "test": -0.5}}),
        ("history.counts.pairs", {"history": {"counts": {"pairs": ["like"]}}}),
        ("history.prior_strength", {"history": {"prior_strength": 0.0}}),
        ("history.recent_hours", {"history": {"recent_hours": [1.0, 0.0]}}),
        ("calendar", {"calendar": ["hour", "hour"]}),
        ("rules.bad", {"categorical": {"x": {"column": "x", "rules": {"bad": "("}}}}),
        ("min_count", {"categorical": {"x": {"column": "x", "min_count": 0}}}),
    ],
)
def test_settings_out_of_range(word: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=word):
        source(Path("log.csv"), **fields)


def test_blocks_of_ones_own(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", ROWS)
    cfg = DataConfig(name="log", source=source(log), blocks={"x": BlockConfig(kind="binary", columns=["x"])})
    with pytest.raises(ConfigError, match=r"data\.blocks must be empty: data\.source\.kind=events"):
        prepare(cfg, [])
