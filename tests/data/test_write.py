"""Data sets written and converted: nothing lost between formats, nothing half-written, the same bytes for the same rows."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import SCHEMA, assert_same, rows

from recap_exp.data.convert import convert
from recap_exp.data.dataset import Dataset
from recap_exp.data.once import AlreadyThere
from recap_exp.data.schema import Columns
from recap_exp.data.write import write_dataset
from recap_exp.errors import DataError

FORMATS = [("parquet", "packed"), ("parquet", "named"), ("tfrecord", "packed"), ("tfrecord", "named")]


def write(folder, n=10, format="parquet", layout="packed", files=1, seed=0, schema=SCHEMA):
    return write_dataset(folder, "small", schema, {"train": lambda: iter([rows(n, seed)])}, format, files, layout)


def everything(dataset, split="train"):
    return Columns.concatenate(list(dataset.read(split)))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(FORMATS), min_size=1, max_size=3), st.integers(0, 10**6), st.integers(1, 30))
def test_round_trips_lose_nothing(chain, seed, n):
    with tempfile.TemporaryDirectory() as folder:
        dataset = write(Path(folder) / "0", n, seed=seed)
        for i, (format, layout) in enumerate(chain, 1):
            dataset = convert(dataset, Path(folder) / str(i), format, layout)
            assert (dataset.format, dataset.rows("train")) == (format, n)
            assert_same(everything(dataset), rows(n, seed))


@pytest.mark.parametrize(("format", "layout"), FORMATS)
def test_the_same_rows_give_the_same_bytes(tmp_path, format, layout):
    one, two = (write(tmp_path / name, 50, format, layout, files=3) for name in "ab")
    assert one.digest() == two.digest() == one.manifest["digest"] and one.digest() != write(tmp_path / "c", 51, format, layout).digest()
    for file, other in zip(one.splits["train"].files, two.splits["train"].files, strict=True):
        assert file.read_bytes() == other.read_bytes()


def test_parquet_stores_what_is_used_and_records_store_all(tmp_path):
    used = replace(SCHEMA, blocks={**SCHEMA.blocks, "continuous": replace(SCHEMA.blocks["continuous"], use=2)})
    packed = write(tmp_path / "p", schema=used)
    assert packed.schema.blocks["continuous"].width == 2 and everything(packed).blocks["continuous"].shape == (10, 2)
    records = write(tmp_path / "r", format="tfrecord", schema=used)
    assert (records.schema.blocks["continuous"].width, records.schema.blocks["continuous"].use) == (5, 2)
    np.testing.assert_array_equal(everything(records).blocks["continuous"], everything(packed).blocks["continuous"])
    again = convert(records, tmp_path / "again", "tfrecord")
    assert again.schema.blocks["continuous"].use == 5 and everything(again).blocks["continuous"].shape == (10, 5)


def test_stored_columns_keep_their_names(tmp_path):
    packed = pq.read_schema(write(tmp_path / "p").splits["train"].files[0]).names
    named = pq.read_schema(write(tmp_path / "n", layout="named").splits["train"].files[0]).names
    rest = ["meta.user", "l.like", "l.reply", "truth/l.like", "grp", "sc"]
    assert packed == ["cont", "bin", "discrete", "user.emb", *rest]
    assert named[:5] == [f"continuous_{i}" for i in range(5)] and "d0" in named and named[-6:] == rest


def test_manifest(tmp_path):
    splits = {"train": lambda: iter([rows(10), rows(5, 1)]), "val": lambda: iter([rows(3, 2)])}
    dataset = write_dataset(tmp_path / "a", "small", SCHEMA, splits, "parquet", made={"seed": 7})
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    both = Columns.concatenate([rows(10), rows(5, 1)])
    assert manifest["made"] == {"seed": 7} and manifest["layout"] == "packed" and "command" in manifest["by"]
    assert (dataset.rows("train"), dataset.rows("val")) == (15, 3)
    assert dataset.label_rates("train") == {"l.like": (both.labels["l.like"] > 0).mean(), "l.reply": 1.0}
    assert Dataset.open(tmp_path / "a") == dataset
    file = manifest["splits"]["train"]["files"][0]
    assert file["bytes"] == (tmp_path / "a" / file["path"]).stat().st_size
    moved = shutil.move(tmp_path / "a", tmp_path / "b")
    assert Dataset.open(moved).digest() == manifest["digest"]


def test_label_rates_leave_unknown_labels_out(tmp_path):
    columns = rows(4)
    columns.labels["l.like"] = np.array([1.0, np.nan, 0.0, np.nan])
    dataset = write_dataset(tmp_path / "a", "small", SCHEMA, {"train": lambda: iter([columns])}, "parquet")
    assert dataset.label_rates("train")["l.like"] == 0.5
    np.testing.assert_array_equal(everything(dataset).labels["l.like"], columns.labels["l.like"])
    records = convert(dataset, tmp_path / "r", "tfrecord")
    np.testing.assert_array_equal(everything(records).labels["l.like"], columns.labels["l.like"])


@pytest.mark.parametrize("format", ["parquet", "tfrecord"])
def test_rows_are_dealt_over_files(tmp_path, format):
    dataset = write_dataset(tmp_path / "a", "small", SCHEMA, {"train": lambda: iter([rows(7), rows(4, 1)])}, format, files=3)
    whole = Columns.concatenate([rows(7), rows(4, 1)])
    files = dataset.splits["train"].files
    assert [f["rows"] for f in dataset.manifest["splits"]["train"]["files"]] == [4, 4, 3]
    for i, file in enumerate(files):
        assert_same(Columns.concatenate(list(dataset.read("train", files=[file]))), whole.take(slice(i, None, 3)))
    assert len(everything(dataset)) == 11


def test_row_groups_follow_the_chunk_size(tmp_path, monkeypatch):
    monkeypatch.setattr("recap_exp.data.schema.CHUNK_BYTES", 64 * 150)
    dataset = write_dataset(tmp_path / "a", "small", SCHEMA, {"train": lambda: iter([rows(10), rows(200, 1), rows(3, 2)])}, "parquet")
    metadata = pq.ParquetFile(dataset.splits["train"].files[0]).metadata
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert len(set(groups[:-1])) == 1 and sum(groups) == 213 and len(groups) > 2
    assert_same(everything(dataset), Columns.concatenate([rows(10), rows(200, 1), rows(3, 2)]))


@pytest.mark.parametrize("format", ["parquet", "tfrecord"])
def test_an_error_leaves_nothing_behind(tmp_path, format):
    def failing():
        yield rows(10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "a", "small", SCHEMA, {"train": failing}, format)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_overwritten(tmp_path):
    dataset = write(tmp_path / "a")
    with pytest.raises(AlreadyThere, match="exists already"):
        write(tmp_path / "a", 3)
    assert dataset.rows("train") == 10


def test_the_loser_of_a_race_leaves_the_winner_alone(tmp_path):
    def slow():
        write(tmp_path / "a", 3)
        yield rows(10)

    with pytest.raises(AlreadyThere, match="another process"):
        write_dataset(tmp_path / "a", "small", SCHEMA, {"train": slow}, "parquet")
    assert Dataset.open(tmp_path / "a").rows("train") == 3 and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_too_few_rows(tmp_path):
    with pytest.raises(DataError, match="split train has no rows"):
        write_dataset(tmp_path / "a", "small", SCHEMA, {"train": lambda: iter([])}, "parquet")
    with pytest.raises(DataError, match="split train: 2 rows don't fill 3 files"):
        write(tmp_path / "a", 2, files=3)
    assert list(tmp_path.iterdir()) == []


def test_a_name_used_twice(tmp_path):
    with pytest.raises(DataError, match=r"column l\.like would be stored twice"):
        write(tmp_path / "a", schema=replace(SCHEMA, ids={"user_id": "l.like"}))


def test_a_column_that_changes_its_type(tmp_path):
    other = rows(3)
    other.extras["score"] = np.array(["x", "y", "z"], dtype=object)
    small = Columns(extras={"score": rows(3).extras["score"]}, labels={}), Columns(extras={"score": other.extras["score"]}, labels={})
    schema = replace(SCHEMA, blocks={}, ids={}, labels=(), truths=(), extras={"score": "sc"})
    with pytest.raises(DataError, match="column sc"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("recap_exp.data.sinks.chunk_rows", lambda schema: 3)
        write_dataset(tmp_path / "a", "small", schema, {"train": lambda: iter(small)}, "parquet")


def test_manifests_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"no data set is here \(manifest.json is missing\)"):
        Dataset.open(tmp_path)
    dataset = write(tmp_path / "a")
    manifest = tmp_path / "a" / "manifest.json"
    text = manifest.read_text()
    other = text.replace('"version": 1', '"version": 0')
    for broken, words in ((text[:50], "can't be read as a manifest"), ("{}", "KeyError"), (other, "is of version 0")):
        manifest.write_text(broken)
        with pytest.raises(DataError, match=words):
            Dataset.open(tmp_path / "a")
    manifest.write_text(text)
    dataset.splits["train"].files[0].unlink()
    with pytest.raises(DataError, match="is missing, although"):
        Dataset.open(tmp_path / "a")


def test_unknown_split(tmp_path):
    with pytest.raises(DataError, match=r"no split 'trian' \(did you mean 'train'\?\); it has train"):
        write(tmp_path / "a").rows("trian")
