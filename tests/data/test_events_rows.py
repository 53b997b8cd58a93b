"""Which rows there are, what they are labelled, where they go: edges, ties, windows, ids, vocabularies."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from events_log import read, source, write

from recap_exp.data.config import DataConfig
from recap_exp.data.events.table import build

ALL = {"split": {"train": 1.0}, "drop_incomplete": False, "window_hours": 1.0}
HISTORY = {"counts": {"view": ["view"], "like": ["like"]}, "prior_strength": 5.0, "recent_hours": [1.0]}


def test_window_is_closed_and_the_first_event_counts(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.csv",
        [
            (1, 1, 0, "view"),
            (1, 1, 3600, "like"),  # on the edge: counts
            (1, 2, 0, "view"),
            (1, 2, 3601, "like"),  # past it
            (1, 3, 0, "like"),  # begins the pair itself
            (1, 4, 0, "view"),
            (1, 4, 0, "like"),  # at the same time
        ],
    )
    table = read(source(log, **ALL))["train"]
    assert dict(zip(table["item"], table["label_like"], strict=True)) == {1: 1, 2: 0, 3: 1, 4: 1}


def test_impressions_begin_a_row_and_earlier_events_are_history(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", [(1, 1, 0, "like"), (1, 1, 10, "view"), (1, 2, 20, "like")])
    table = read(source(log, **ALL, impressions=["view"], history=HISTORY))["train"]
    assert table[["item", "extra_time", "label_like", "viewer_like"]].to_numpy().tolist() == [[1, 10.0, 0, 1.0]]


def test_events_at_the_row_s_own_time_are_unknown(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", [(1, 1, 5, "view"), (1, 1, 10, "like"), (1, 2, 10, "view"), (2, 1, 10, "view"), (1, 3, 11, "view")])
    table = read(source(log, **ALL, history=HISTORY))["train"].set_index(["viewer", "item"])
    assert table.loc[(1, 2), ["viewer_view", "viewer_like", "viewer_gap_hours"]].tolist() == pytest.approx([1, 0, 5 / 3600])
    assert table.loc[(2, 1), ["item_view", "item_like", "viewer_new"]].tolist() == [1, 0, 1]
    assert table.loc[(1, 3), ["viewer_view", "viewer_like"]].tolist() == [2, 1]


def test_a_recent_window_includes_its_beginning(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", [(1, 1, 0, "view"), (1, 2, 1, "like"), (1, 3, 3600, "view"), (1, 4, 3601, "view")])
    table = read(source(log, **ALL, history=HISTORY))["train"].set_index("item")
    assert table.loc[3, ["viewer_view_1h", "viewer_like_1h", "viewer_pairs_1h"]].tolist() == [1, 1, 2]
    assert table.loc[4, ["viewer_view_1h", "viewer_like_1h", "viewer_pairs_1h"]].tolist() == [1, 1, 2]


def test_no_column_of_a_row_changes_with_its_future(tmp_path: Path) -> None:
    """The log is cut in the middle: rows before the cut keep every feature, whatever followed."""
    rows = [(i * 7 % 5, i * 11 % 13, 60 * i, ("view", "view", "like")[i % 3]) for i in range(90)]
    whole, half = write(tmp_path / "whole.csv", rows), write(tmp_path / "half.csv", rows[:45])
    fields = {**ALL, "window_hours": 0.0, "history": HISTORY, "calendar": ["hour", "weekday"]}
    a, b = (read(source(log, **fields))["train"] for log in (whole, half))
    assert len(b) > 20
    pd.testing.assert_frame_equal(a.iloc[: len(b)], b)


def test_ties_do_not_straddle_splits(tmp_path: Path) -> None:
    times = [0, 1, 2, 3, 4, 5, 5, 5, 8, 9]
    log = write(tmp_path / "log.csv", [(1, i, t, "like") for i, t in enumerate(times)])
    splits = read(source(log, split={"train": 0.7, "test": 0.3}, window_hours=0.0, purge=False, drop_incomplete=False))
    assert {n: t["extra_time"].tolist() for n, t in splits.items()} == {"train": [0, 1, 2, 3, 4], "test": [5, 5, 5, 8, 9]}


def test_purge_drops_rows_whose_window_reaches_the_next_split(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", [(1, i, 3600 * i, "like") for i in range(10)])
    fields = {"split": {"train": 0.6, "test": 0.4}, "window_hours": 2.0, "drop_incomplete": False}
    hours = {n: (t["extra_time"] / 3600).tolist() for n, t in read(source(log, **fields)).items()}
    assert hours == {"train": [0, 1, 2, 3], "test": [6, 7, 8, 9]}  # the row at 4 h looks at [4, 6]
    kept = read(source(log, **fields, purge=False))
    assert len(kept["train"]) == 6 and len(kept["test"]) == 4


def test_rows_without_a_full_window_are_dropped(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", [(1, i, 3600 * i, "like") for i in range(10)])
    fields = {"split": {"all": 1.0}, "window_hours": 2.0}
    assert len(read(source(log, **fields))["all"]) == 8  # the last event, at 9 h, closes the window of the row at 7 h
    assert len(read(source(log, **fields, drop_incomplete=False))["all"]) == 10


def test_vocabulary_knows_the_first_split_alone(tmp_path: Path) -> None:
    values = ["x", "x", "x", "y", "y", "z", "NA", "new", "new", "new"]
    log = write(tmp_path / "log.csv", [(i, i, i, "like", v) for i, v in enumerate(values)], ("viewer", "item", "time", "event", "colour"))
    fields = {"split": {"train": 0.7, "test": 0.3}, "window_hours": 0.0, "purge": False, "drop_incomplete": False}
    colour = {"column": "colour", "min_count": 2}
    splits = read(source(log, **fields, categorical={"colour": colour}))
    assert splits["train"]["code_colour"].tolist() == [1, 1, 1, 2, 2, 0, 0]
    assert splits["train"]["colour=y"].tolist() == [0, 0, 0, 1, 1, 0, 0]
    assert splits["test"]["code_colour"].tolist() == [0, 0, 0]
    assert "colour=new" not in splits["train"]
    assert "colour=NA" in read(source(log, **fields, categorical={"colour": {"column": "colour"}}))["train"], "NA is a value, not a gap"
    assert not [c for c in read(source(log, **fields, categorical={"colour": {**colour, "one_hot": False}}))["train"] if "=" in c]


def test_rules_name_categories_in_their_order(tmp_path: Path) -> None:
    agents = ["Mozilla (Linux; Android 6)", "Mozilla (X11; Linux)", "curl", None]
    log = write(tmp_path / "log.csv", [(i, i, i, "like", a) for i, a in enumerate(agents)], ("viewer", "item", "time", "event", "agent"))
    device = {"column": "agent", "rules": {"phone": "Android|iOS", "desktop": "Linux"}}
    table = read(source(log, **ALL, categorical={"device": device}))["train"]
    assert table["extra_device"].tolist() == ["phone", "desktop", "", ""]


def test_calendar_is_local(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", [(1, 1, "2016-03-14T02:30:00Z", "like")])  # Monday in Greenwich, Sunday 23:30 in São Paulo
    table = read(source(log, **ALL, time_unit="iso", calendar=["hour", "weekday"], utc_offset_hours=-3.0))["train"]
    assert table[["sunday", "monday"]].to_numpy().tolist() == [[1, 0]]
    assert table["hour_sin"][0] == pytest.approx(-0.1305, abs=1e-3) and table["hour_cos"][0] == pytest.approx(0.9914, abs=1e-3)


ROWS = [(2**62 + i % 3, -(2**62) - i % 4, 1_457_963_676 + 60 * i, ("view", "like")[i % 2], "a") for i in range(24)]
COLUMNS = ("viewer", "item", "time", "event", "x")


def frames(path: Path, unit: str) -> pd.DataFrame:
    return read(source(path, **{**ALL, "history": HISTORY, "time_unit": unit}))["train"]


@pytest.mark.parametrize("form", ["csv", "csv.gz", "csv.zip", "parquet", "timestamp", "iso", "ms", "us", "fractions", "two files"])
def test_every_form_of_a_log_gives_the_same_table(tmp_path: Path, form: str) -> None:
    log = pd.DataFrame(ROWS, columns=list(COLUMNS))
    log.to_csv(tmp_path / "plain.csv", index=False)
    expected = frames(tmp_path / "plain.csv", "s")
    assert expected["viewer"].min() == 2**62 and expected["item"].max() == -(2**62)
    path, unit = tmp_path / "log.csv", "s"
    if form in ("csv", "csv.gz", "csv.zip"):
        path = tmp_path / f"log.{form}"
    elif form == "parquet":
        path = tmp_path / "log.parquet"
    elif form == "timestamp":
        path, log["time"] = tmp_path / "log.parquet", pd.to_datetime(log["time"], unit="s")
    elif form == "iso":
        unit, log["time"] = "iso", pd.to_datetime(log["time"], unit="s", utc=True).dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")
    elif form in ("ms", "us"):
        unit, log["time"] = form, log["time"] * {"ms": 10**3, "us": 10**6}[form]
    elif form == "fractions":
        log["time"] = log["time"].astype(float)
    if form == "two files":
        log[:10].to_csv(tmp_path / "log1.csv", index=False)
        log[10:].to_parquet(tmp_path / "log2.parquet")
        path = tmp_path / "log?.*"
    elif path.suffix == ".parquet":
        log.to_parquet(path)
    else:
        log.to_csv(path, index=False)
    pd.testing.assert_frame_equal(frames(path, unit), expected)


def test_text_ids_are_hashed_the_same_in_every_log(tmp_path: Path) -> None:
    a = write(tmp_path / "a.csv", [("ann", 1, 0, "like"), ("007", 1, 1, "like")])
    b = write(tmp_path / "b.csv", [("bob", "x", 0, "like"), ("ann", "y", 1, "like")])
    first, second = (read(source(log, **ALL))["train"] for log in (a, b))
    assert first["viewer"][0] == second["viewer"][1] != first["viewer"][1]
    assert first["item"].tolist() == [1, 1] and first["viewer"].dtype == "int64"
    assert 7 not in first["viewer"].tolist(), "007 is a text, not a number"


def test_a_compressed_copy_is_not_read_twice(tmp_path: Path) -> None:
    rows = [(1, i, i, "like") for i in range(5)]
    write(tmp_path / "log.csv", rows)
    write(tmp_path / "log.csv.zip", rows)
    assert build_events(source(tmp_path / "log.csv*", **ALL)) == 5


def build_events(made_from) -> int:  # type: ignore[no-untyped-def]
    return sum(build(made_from, DataConfig(name="log", source=made_from))[2]["events"].values())


def test_how_it_was_made_is_told(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", [(1, i % 7, 10 * i, ("view", "like")[i % 2]) for i in range(30)])
    made_from = source(log, split={"train": 0.5, "test": 0.5}, window_hours=0.0)
    _, splits, made = build(made_from, DataConfig(name="log", source=made_from))
    assert made["events"] == {"view": 15, "like": 15} and made["pairs"] == 7
    assert made["splits"]["train"]["rows"] == sum(len(c) for c in splits["train"]())
    assert made["splits"]["test"]["to"] == "1970-01-01T00:01:00+00:00"
    json.dumps(made)
