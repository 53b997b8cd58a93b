"""Parquet: packed, named and mixed columns, nulls, filters, types, damage."""

from __future__ import annotations

import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recap_exp.data import parquet
from recap_exp.data import schema as schema_module
from recap_exp.data.parquet import count, read
from recap_exp.data.schema import Block, Columns, Schema
from recap_exp.errors import DataError


def store(tmp_path, name="t.parquet", rows_per_group=None, **columns):
    path = tmp_path / name
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)
    return path


def block(*columns, kind="continuous", width=None, use=None):
    width = width or len(columns)
    return Schema(blocks={"x": Block(kind=kind, columns=columns, width=width, use=use or width)})


def read_x(path, schema, **options):
    return Columns.concatenate(list(read(path, schema, **options))).blocks["x"]


LISTS = {
    "list": pa.list_(pa.float64()),
    "large_list": pa.large_list(pa.int32()),
    "fixed": pa.list_(pa.float32(), 2),
}


@pytest.mark.parametrize("kind", LISTS)
def test_list_columns(tmp_path, kind):
    missing = [4, 5] if kind == "fixed" else None  # Arrow itself can't read null lists of a fixed size
    path = store(tmp_path, a=pa.array([[1, 2], missing, [3, None]], LISTS[kind]))
    assert read_x(path, block("a", width=2)).tolist() == [[1, 2], missing or [0, 0], [3, 0]]
    assert read_x(path, block("a", width=2, use=1)).tolist() == [[1], [(missing or [0])[0]], [3]]


def test_lists_and_scalars_side_by_side(tmp_path):
    path = store(tmp_path, a=[1, None], b=pa.array([[2, 3], [4, 5]]), c=[True, False], d=[decimal.Decimal("1.5"), None])
    schema = block("c", "b", "a", "d", width=5)
    got = read_x(path, schema)
    assert got.dtype == np.float32 and got.tolist() == [[1, 2, 3, 1, 1.5], [0, 4, 5, 0, 0]]
    assert read_x(path, block("c", "b", "a", "d", width=5, use=2)).tolist() == [[1, 2], [0, 4]]


def test_a_list_of_all_nulls_is_as_long_as_what_the_width_leaves(tmp_path):
    path = store(tmp_path, a=pa.array([None, None], pa.list_(pa.float32())), b=[1.0, 2.0])
    assert read_x(path, block("a", "b", width=3)).tolist() == [[0, 0, 1], [0, 0, 2]]


def test_floats_come_without_a_copy_and_integers_keep_64_bits(tmp_path):
    path = store(tmp_path, a=pa.array([[1, 2]], pa.list_(pa.float32(), 2)), d=[2**62 + 1])
    assert read_x(path, block("a", width=2)).base is not None
    assert read_x(path, block("d", kind="discrete")).tolist() == [[2**62 + 1]]


def test_labels_ids_extras(tmp_path):
    path = store(
        tmp_path,
        y=pa.array([1, None, 0], pa.int8()),
        z=[True, False, True],
        i=[2**63 - 1, None, 0],
        s=pa.array(["a", None, "b"]).dictionary_encode(),
        t=pa.array([1, 2, None], pa.timestamp("ms")),
        n=pa.array([1, 2, 3], pa.int16()),
        **{"truth/y": [0.5, None, 1.0]},
    )
    schema = Schema(ids={"id": "i"}, labels=("y", "z"), truths=("y",), extras={"word": "s", "time": "t", "number": "n"})
    got = next(read(path, schema))
    np.testing.assert_array_equal(got.labels["y"], [1, np.nan, 0])
    assert got.labels["z"].tolist() == [1, 0, 1] and got.ids["id"].tolist() == [2**63 - 1, 0, 0]
    np.testing.assert_array_equal(got.truths["y"], [0.5, np.nan, 1])
    assert got.extras["word"].tolist() == ["a", None, "b"] and got.extras["number"].dtype.kind == "i"
    np.testing.assert_array_equal(got.extras["time"], [1, 2, np.nan])
    assert got.file == str(path) and got.records.tolist() == [0, 1, 2]


@pytest.mark.parametrize("rows_per_group", [2, 3, 100])
def test_where_keeps_the_record_numbers_of_the_file(tmp_path, rows_per_group):
    names = pa.array(["a", "a", "b", "a", "b", None, "c", "c", "b"])
    path = store(tmp_path, rows_per_group=rows_per_group, s=names, v=list(range(9)), f=[0, 1] * 4 + [0])
    got = Columns.concatenate(list(read(path, block("v"), {"s": "b"})))
    assert got.records.tolist() == [2, 4, 8] and got.blocks["x"][:, 0].tolist() == [2, 4, 8]
    assert read_x(path, block("v"), where={"s": "b", "f": 0})[:, 0].tolist() == [2, 4, 8]
    assert count(path, {"s": "a"}) == 3 and count(path, {"s": "a", "f": 1}) == 2 and count(path, {"s": "zz"}) == 0 and count(path, {}) == 9
    assert list(read(path, block("v"), {"s": "zz"})) == []


def test_where_skips_row_groups_by_their_statistics(tmp_path, monkeypatch):
    path = store(tmp_path, rows_per_group=2, s=[1, 1, 2, 2, 3, 3], v=list(range(6)))
    seen = []
    kept = parquet._kept
    monkeypatch.setattr(parquet, "_kept", lambda path, batch, where: seen.append(len(batch)) or kept(path, batch, where))
    assert read_x(path, block("v"), where={"s": 2})[:, 0].tolist() == [2, 3] and seen == [2]


def test_where_on_the_wrong_type(tmp_path):
    path = store(tmp_path, s=[1, 2], v=[1, 2])
    with pytest.raises(DataError, match="column s holds int64 values, which can't be compared with 'train'"):
        list(read(path, block("v"), {"s": "train"}))
    assert read_x(path, block("v"), where={"s": "2"}).tolist() == [[2]]


def test_only_what_is_named_is_read(tmp_path, monkeypatch):
    path = store(tmp_path, a=[1.0], b=[2.0], c=[3.0], w=["x"])
    asked = []
    batches = pq.ParquetFile.iter_batches
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda self, *a, **k: asked.append(k["columns"]) or batches(self, *a, **k))
    read_x(path, block("b"), where={"w": "x"})
    assert asked == [["b", "w"]]


@pytest.mark.parametrize(
    ("columns", "schema", "words"),
    [
        ({"age": [1]}, block("ages"), r"has no column ages \(did you mean 'age'\?\)"),
        ({"a": ["x"]}, block("a"), "column a of block x holds string values, wanted numbers"),
        ({"a": [["x"]]}, block("a"), "column a of block x holds list<.*string> values"),
        ({"a": [[1.0, 2.0]]}, block("a", width=3), "block x: its columns hold 2 features a row, wanted 3"),
        ({"a": [[1.0, 2.0], [1.0, 2.0], [3.0]]}, block("a", width=2), "record 2: column a has 1 values, wanted 2"),
        ({"a": [1.5]}, block("a", kind="discrete"), "column a: .*truncated"),
        ({"a": [1], "y": ["no"]}, Schema(labels=("y",)), "column y holds string values, wanted numbers"),
        ({"i": [0.5]}, Schema(ids={"id": "i"}), "column i: .*truncated"),
        ({"a": pa.array([1], pa.timestamp("s"))}, block("a"), "column a of block x holds timestamp"),
    ],
)
def test_bad_columns_are_named(tmp_path, columns, schema, words):
    path = store(tmp_path, **columns)
    with pytest.raises(DataError, match=words) as error:
        list(read(path, schema))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_broken_files(tmp_path):
    path = store(tmp_path, a=list(np.random.default_rng(0).random(50_000)))
    data = path.read_bytes()
    for name, broken in {
        "text": b"a,b\n1,2\n",
        "cut": data[:-100],
        "hole": data[:2000] + bytes(len(data) // 2) + data[2000 + len(data) // 2 :],
    }.items():
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"t\.parquet: can't be read as Parquet") as error:
            list(read(path, block("a")))
        assert "\n" not in str(error.value), name
    with pytest.raises(DataError, match=r"none\.parquet: can't be read as Parquet"):
        list(read(tmp_path / "none.parquet", block("a")))


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(schema_module, "CHUNK_BYTES", 2**18)
    schema = block("a", width=64)
    for n in (8_000, 64_000):  # 2 MB and 16 MB
        values = pa.array(np.random.default_rng(0).random(n * 64, dtype=np.float32))
        path = store(tmp_path, f"{n}.parquet", 1024, a=pa.FixedSizeListArray.from_arrays(values, 64))
        del values
        base = pa.total_allocated_bytes()
        peak = sum_rows = 0
        for columns in read(path, schema):
            sum_rows += len(columns)
            peak = max(peak, pa.total_allocated_bytes() - base)
        assert sum_rows == n
        # How far pyarrow reads ahead is a matter of threads' timing: up to 1.3 MB were seen with either file.
        assert peak < 2**22
