"""What `recap-exp data info` prints."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from small_data import SCHEMA, rows

from recap_exp.data import peek
from recap_exp.data.info import info
from recap_exp.data.write import write_dataset
from recap_exp.errors import DataError


def printed(path):
    console = Console(file=io.StringIO(), width=160)
    info(str(path), console)
    return console.file.getvalue()


@pytest.fixture
def table():
    return pa.table({"label": [0, 1, 1, None], "[word]": ["a", "b", "b", "b"], "vector": [[1.0, 2.0]] * 4, "i": [3, 4, 5, 6]})


def test_parquet(tmp_path, table):
    pq.write_table(table, tmp_path / "t.parquet")
    text = printed(tmp_path / "t.parquet")
    assert (
        "4 rows" in text
        and "0.66667" in text
        and "b (3), a (1)" in text
        and "[word]" in text
        and "2 long, 1 … 2" in text
        and "row 2" in text
    )


@pytest.mark.parametrize("format", ["parquet", "tfrecord"])
def test_data_set_and_its_files(tmp_path, format):
    write_dataset(tmp_path / "a", "small", SCHEMA, {"train": lambda: iter([rows(20)]), "val": lambda: iter([rows(3)])}, format)
    text = printed(tmp_path / "a")
    for words in ("small", "continuous", "user.emb", "Share of positives", "l.reply", "1.00000", "20 rows", "ids: user_id (meta.user)"):
        assert words in text
    assert "2 files" in printed(tmp_path / "a" / "*" / "part*")


def test_csv(tmp_path, table):
    pyarrow.csv.write_csv(table.drop_columns(["vector"]), tmp_path / "t.csv")
    assert "CSV, 4 rows" in printed(tmp_path / "t.csv")
    (tmp_path / "bad.csv").write_text("a,b\n1\n")
    with pytest.raises(DataError, match=r"bad\.csv: can't be read as CSV"):
        printed(tmp_path / "bad.csv")


def test_a_sample_says_that_it_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(peek, "SAMPLE_ROWS", 100)
    pq.write_table(pa.table({"a": list(range(1000))}), tmp_path / "t.parquet", row_group_size=100)
    text = printed(tmp_path / "t.parquet")
    assert "1,000 rows" in text and "a sample of 100 rows" in text


def test_unknown_paths(tmp_path):
    (tmp_path / "t.txt").write_text("a")
    for path, words in (
        (tmp_path / "none", "nothing is at"),
        (tmp_path / "t.txt", "can't be told from its name"),
        (tmp_path, "has no manifest.json"),
    ):
        with pytest.raises(DataError, match=words):
            printed(path)
