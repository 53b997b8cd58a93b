"""GZIP TFRecords of tf.Example: against the original's files, against protobuf, and against damage."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_data import SCHEMA, assert_same, rows

from recap_exp.data import schema as schema_module
from recap_exp.data import tfrecord
from recap_exp.data.example import Decoder, _read_plain, example_message, fields, unpack_varints
from recap_exp.data.example_writer import encode, pack_varint, pack_varints
from recap_exp.data.schema import Block, Schema
from recap_exp.errors import DataError

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = {"cont": "continuous", "binary": "binary", "discrete": "discrete"}


def example(**features):
    """A tf.Example by protobuf: floats, ints or bytes by name (`__` stands for a dot)."""
    made = example_message()()
    for key, values in features.items():
        feature = made.features.feature[key.replace("__", ".")]
        kind = {float: feature.float_list, int: feature.int64_list, bytes: feature.bytes_list}[type(values[0])]
        kind.value.extend(values)
    return made


def good():
    return {"x": [1.0, 2.0, 3.0], "b": [1, 300], "y": [1]}


TINY = Schema(
    blocks={
        "x": Block(kind="continuous", columns=("x",), width=3, use=3),
        "b": Block(kind="binary", columns=("b",), width=2, use=2),
    },
    labels=("y",),
)


def store(path, records, **options):
    writer = tfrecord.RecordWriter(path)
    for record in records:
        writer.write(record if isinstance(record, bytes) else record.SerializeToString())
    writer.close()
    return path


def read_one(path, schema=TINY):
    chunks = list(tfrecord.read(path, schema))
    assert len(chunks) == 1
    return chunks[0]


def golden_schema(names, used=None):
    blocks = {}
    for key in names:
        kind = next((k for part, k in KINDS.items() if f"_{part}__" in key), "embedding" if "embeddings" in key else None)
        width = {"continuous": 6000, "binary": 512, "discrete": 320, "embedding": 200}.get(kind)
        if kind:
            blocks[key] = Block(kind=kind, columns=(key,), width=width, use=min(used or width, width))
    labels = tuple(k for k in names if k.startswith("recap."))
    return Schema(blocks=blocks, ids={k: k for k in names if k.startswith("meta.")}, labels=labels)


def test_original_records_decode_exactly():
    with np.load(GOLDEN / "sample_decoded.npz") as wanted:
        schema = golden_schema(list(wanted))
        got = read_one(GOLDEN / "sample_records.gz", schema)
        assert len(got) == 8 and len(schema.blocks) == 6 and len(schema.labels) == 13 and len(schema.ids) == 3
        for key, array in {**got.blocks, **got.ids, **got.labels}.items():
            np.testing.assert_array_equal(array.reshape(8, -1), wanted[key])


def test_a_sub_schema_takes_the_first_features():
    with np.load(GOLDEN / "sample_decoded.npz") as wanted:
        schema = replace(golden_schema(list(wanted), used=59), labels=("recap.engagement.is_replied",), ids={})
        got = read_one(GOLDEN / "sample_records.gz", schema)
        assert list(got.labels) == ["recap.engagement.is_replied"] and not got.ids
        for key, array in got.blocks.items():
            assert array.shape == (8, 59) and array.dtype == schema_module.DTYPES[schema.blocks[key].kind]
            np.testing.assert_array_equal(array, wanted[key][:, :59])


def test_original_records_take_the_fast_path():
    with np.load(GOLDEN / "sample_decoded.npz") as wanted:
        by_key = fields(golden_schema(list(wanted)))
    for record in tfrecord.read_records(GOLDEN / "sample_records.gz"):
        assert len(_read_plain(record, by_key)) == 22


def test_written_records_are_what_protobuf_reads(tmp_path):
    columns = rows(20)
    for record, row in zip(encode(columns, SCHEMA), range(20), strict=True):
        features = example_message().FromString(record).features.feature
        assert list(features["cont"].float_list.value) == columns.blocks["continuous"][row].tolist()
        assert list(features["bin"].int64_list.value) == columns.blocks["binary"][row].tolist()
        assert [features[k].int64_list.value[0] for k in ("d0", "d1")] == columns.blocks["discrete"][row].tolist()
        assert features["meta.user"].int64_list.value[0] == columns.ids["user_id"][row]
        assert features["l.like"].int64_list.value[0] == columns.labels["l.like"][row]
        group = columns.extras["group"][row]
        assert list(features["grp"].bytes_list.value) == ([] if group is None else [group.encode()])


def test_frames_and_checksums(tmp_path):
    raw = gzip.decompress(store(tmp_path / "a.gz", [example(**good())]).read_bytes())
    record = example(**good()).SerializeToString()

    def masked(data):
        crc = google_crc32c.value(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    length = struct.pack("<Q", len(record))
    assert raw == length + struct.pack("<I", masked(length)) + record + struct.pack("<I", masked(record))
    assert tfrecord.masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("a.gz", "b.gz"):
        store(tmp_path / name, list(encode(rows(50), SCHEMA)))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[4:8] == b"\0\0\0\0"


def unpacked(values, float_list):
    """A value list with one tag a value: legal, and what old writers produce."""
    body = b"".join(b"\x0d" + struct.pack("<f", v) if float_list else b"\x08" + pack_varint(v % 2**64) for v in values)
    feature = (b"\x12" if float_list else b"\x1a") + pack_varint(len(body)) + body
    return feature


def by_hand(features):
    entries = b""
    for key, feature in features.items():
        entry = b"\x0a" + pack_varint(len(key)) + key.encode() + b"\x12" + pack_varint(len(feature)) + feature
        entries += b"\x0a" + pack_varint(len(entry)) + entry
    return b"\x0a" + pack_varint(len(entries)) + entries


def test_unpacked_values_are_read_too(tmp_path):
    record = by_hand({"x": unpacked([1, 2, 3], True), "b": unpacked([5, -1], False), "y": unpacked([1], False)})
    got = read_one(store(tmp_path / "a.gz", [record]))
    assert got.blocks["x"].tolist() == [[1, 2, 3]] and got.blocks["b"].tolist() == [[5, -1]] and got.labels["y"].tolist() == [1]


def test_split_runs_and_unknown_fields_are_read_too(tmp_path):
    run = b"\x0a\x01\x05\x0a\x01\x07"  # two packed runs of one value
    plain = example(x=[1.0, 2.0, 3.0], y=[0]).SerializeToString()
    entry = b"\x0a\x01b\x12" + pack_varint(len(run) + 2) + b"\x1a" + pack_varint(len(run)) + run
    record = plain + b"\x0a" + pack_varint(len(entry) + 2) + b"\x0a" + pack_varint(len(entry)) + entry + b"\x78\x01"
    got = read_one(store(tmp_path / "a.gz", [record]))
    assert got.blocks["b"].tolist() == [[5, 7]] and got.blocks["x"].tolist() == [[1, 2, 3]]


def test_long_keys_and_several_members(tmp_path):
    key = "k" * 300
    schema = Schema(ids={"a": key}, labels=("y",))
    record = example(y=[1])
    record.features.feature[key].int64_list.value.append(-3)
    one, two = (store(tmp_path / f"{i}.gz", [record]).read_bytes() for i in range(2))
    (tmp_path / "both.gz").write_bytes(one + two)
    assert read_one(tmp_path / "both.gz", schema).ids["a"].tolist() == [-3, -3]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.booleans())
def test_varints_round_trip(values, small):
    values = [v % 128 for v in values] if small else values
    run = pack_varints(np.array(values, dtype=np.int64))
    assert run == b"".join(pack_varint(v % 2**64) for v in values)
    assert unpack_varints(run).tolist() == values


def test_malformed_varints_are_refused():
    assert unpack_varints(b"\x01\x80") is None
    assert unpack_varints(b"\x80" * 10 + b"\x01") is None


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_encoded_rows_decode_to_themselves(seed, n):
    columns = rows(n, seed)
    assert_same(Decoder(SCHEMA)(encode(columns, SCHEMA), n, "f", 0), columns)


def test_absent_features_are_zero_and_absent_extras_are_missing():
    schema = Schema(blocks=TINY.blocks, ids={"id": "i"}, labels=("y",), truths=("y",), extras={"text": "t", "number": "n", "nothing": "o"})
    records = [example(y=[1], t=[b"a"], n=[3]), example(y=[0], x=[1.0, 2.0, 3.0])]
    got = Decoder(schema)([r.SerializeToString() for r in records], 2, "f", 0)
    assert (
        got.blocks["x"].tolist() == [[0, 0, 0], [1, 2, 3]] and got.blocks["b"].tolist() == [[0, 0]] * 2 and got.ids["id"].tolist() == [0, 0]
    )
    assert np.isnan(got.truths["y"]).all()
    assert got.extras["text"].tolist() == ["a", None] and got.extras["nothing"].tolist() == [None, None]
    assert got.extras["number"][0] == 3 and np.isnan(got.extras["number"][1])


BAD = {
    "short": (example(**{**good(), "x": [1.0, 2.0]}), "record 1: feature x has 2 values, wanted 3"),
    "long": (example(**{**good(), "b": [1, 2, 3]}), "record 1: feature b has 3 values, wanted 2"),
    "type": (example(**{**good(), "x": [1, 2, 3]}), "record 1: feature x holds int64 values, wanted float"),
    "text label": (example(**{**good(), "y": [b"yes"]}), "record 1: feature y holds bytes values, wanted int64 or float"),
    "two labels": (example(**{**good(), "y": [1, 0]}), "record 1: feature y has 2 values, wanted 1"),
    "no label": (example(x=[1.0, 2.0, 3.0]), "record 1: label y is absent"),
    "noise": (b"\xff\xfe no example at all", "record 1: is no tf.Example"),
    "cut": (example(**good()).SerializeToString()[:-3], "record 1: is no tf.Example"),
    "a number": (b"\x08\x05", "record 1: is no tf.Example, or has no features"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_records_are_named(tmp_path, name):
    bad, words = BAD[name]
    path = store(tmp_path / "a.gz", [example(**good()), bad, example(**good())])
    with pytest.raises(DataError, match=words) as error:
        list(tfrecord.read(path, TINY))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def frames(n=40):
    """Incompressible records, so that damage in the file is damage in them."""
    rng = np.random.default_rng(0)
    return [example(**good(), z=[rng.bytes(2000)]) for _ in range(n)]


def test_a_truncated_gzip_names_the_first_record_that_is_cut(tmp_path):
    path = store(tmp_path / "a.gz", frames())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    whole = 0
    with pytest.raises(DataError, match="truncated") as error:
        for _ in tfrecord.read_records(path):
            whole += 1
    assert 15 < whole < 25 and f"record {whole}:" in str(error.value)


def test_records_cut_within_a_whole_gzip(tmp_path):
    raw = gzip.decompress(store(tmp_path / "a.gz", frames(2)).read_bytes())
    (tmp_path / "b.gz").write_bytes(gzip.compress(raw[:-5]))
    with pytest.raises(DataError, match="record 1: the file ends in the middle of the record"):
        list(tfrecord.read_records(tmp_path / "b.gz"))


def test_the_checksum_of_the_gzip_member(tmp_path):
    path = store(tmp_path / "a.gz", frames(2))
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"record \d+: gzip data is corrupt"):
        list(tfrecord.read_records(path))


def test_corrupt_gzip(tmp_path):
    path = store(tmp_path / "a.gz", frames())
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"record \d+: (gzip data is corrupt|wrong checksum)"):
        list(tfrecord.read_records(path))


def test_wrong_checksums(tmp_path):
    raw = bytearray(gzip.decompress(store(tmp_path / "a.gz", frames(3)).read_bytes()))
    size = len(raw) // 3
    for at, words in ((size + 100, "record 1: wrong checksum: the record"), (2 * size + 1, "record 2: wrong checksum of the length")):
        damaged = raw.copy()
        damaged[at] ^= 1
        (tmp_path / "b.gz").write_bytes(gzip.compress(damaged))
        with pytest.raises(DataError, match=words):
            list(tfrecord.read_records(tmp_path / "b.gz"))


def test_no_gzip_no_records_and_no_file(tmp_path):
    (tmp_path / "text.gz").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "words.gz").write_bytes(gzip.compress(b"hardly a record, this"))
    with pytest.raises(DataError, match=r"text\.gz: is no gzip file"):
        list(tfrecord.read_records(tmp_path / "text.gz"))
    (tmp_path / "behind.gz").write_bytes(store(tmp_path / "a.gz", [b"x"]).read_bytes() + b"junk")
    with pytest.raises(DataError, match="something else behind its end"):
        list(tfrecord.read_records(tmp_path / "behind.gz"))
    with pytest.raises(DataError, match="record 0: wrong checksum of the length: no TFRecord"):
        list(tfrecord.read_records(tmp_path / "words.gz"))
    with pytest.raises(DataError, match=r"none\.gz: record 0: can't be read"):
        list(tfrecord.read_records(tmp_path / "none.gz"))
    assert list(tfrecord.read(store(tmp_path / "empty.gz", []), TINY)) == []


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(schema_module, "CHUNK_BYTES", 100_000)
    peaks = []
    record = example(**good(), w=[1.0] * 400).SerializeToString()
    for n in (800, 3200):
        path = store(tmp_path / f"{n}.gz", [record] * n)
        tracemalloc.start()
        assert sum(map(len, tfrecord.read(path, TINY))) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 300_000


def test_integers_only_where_they_are_stored():
    columns = rows(3)
    columns.blocks["binary"] = np.array([[0.5, 1, 1]] * 3, np.float32)
    with pytest.raises(DataError, match="block binary: records store binary features as integers"):
        list(encode(columns, SCHEMA))


def test_all_stored_features_must_be_given():
    wide = replace(SCHEMA, blocks={**SCHEMA.blocks, "continuous": replace(SCHEMA.blocks["continuous"], width=9)})
    with pytest.raises(DataError, match="block continuous: 5 features were given, but records store all 9"):
        list(encode(rows(3), wide))
