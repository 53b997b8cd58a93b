"""From a configuration to a data set: globs, patterns, widths, labels; made once and kept."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import SCHEMA, rows

from recap_exp.data.config import BlockConfig, DataConfig, DatasetSource, FilesSource, SplitFiles
from recap_exp.data.fingerprint import cached_hash, hash_file
from recap_exp.data.made.config import PlantedSource, RandomSource
from recap_exp.data.prepare import prepare
from recap_exp.data.schema import Columns
from recap_exp.data.write import write_dataset
from recap_exp.errors import ConfigError, DataError
from recap_exp.paths import outputs_dir


@pytest.fixture
def table(tmp_path, monkeypatch):
    """RECAP_DATA with one table that holds three splits, and its rows over three files in nested folders."""
    monkeypatch.setenv("RECAP_DATA", str(tmp_path))
    n = 12
    columns = {
        "user": list(range(n)),
        "part": ["train"] * 6 + ["val"] * 3 + ["test"] * 3,
        "c_age": [float(i) for i in range(n)],
        "c_gap": [0.5] * n,
        "c_new": [1, 0] * 6,
        "vector": pa.array([[1.0, 2.0, 3.0]] * n),
        "word": ["x"] * n,
        "label_like": [0, 1] * 6,
    }
    whole = pa.table(columns)
    pq.write_table(whole, tmp_path / "all.parquet")
    for i, day in enumerate(("a", "b/c", "d")):
        (tmp_path / "days" / day).mkdir(parents=True)
        pq.write_table(whole.slice(4 * i, 4), tmp_path / "days" / day / "x.parquet")
    return tmp_path


def config(blocks=None, splits=None, **rest):
    files = splits or {"train": SplitFiles(files=["all.parquet"])}
    return DataConfig(name="t", source=FilesSource(splits=files), blocks=blocks or {}, **rest)


def block(*columns, **rest):
    return BlockConfig(kind="continuous", columns=list(columns), **rest)


def test_patterns_in_the_order_of_the_file(table):
    cfg = config({"x": block("vector", "c_?ge", "c_*"), "y": block("user", use=1)}, ids={"user_id": "user"}, extras={"w": "word"})
    dataset = prepare(cfg, ["label_like"])
    assert dataset.schema.blocks["x"].columns == ("vector", "c_age", "c_gap", "c_new") and dataset.schema.blocks["x"].width == 6
    got = next(dataset.read("train"))
    assert got.blocks["x"][3].tolist() == [1, 2, 3, 3, 0.5, 0] and got.extras["w"][0] == "x" and got.labels["label_like"][1] == 1
    assert dataset.rows("train") == 12 and dataset.label_rates("train") == {}


def test_a_column_feeds_one_block(table):
    with pytest.raises(DataError, match="column c_new feeds two blocks, x and y"):
        prepare(config({"x": block("c_*"), "y": block("c_new")}), [])


def test_globs_into_folders_and_filters(table):
    splits = {"train": SplitFiles(files=["days/**/*.parquet"]), "val": SplitFiles(files=["all.parquet"], where={"part": "val"})}
    dataset = prepare(config({"x": block("c_age")}, splits), [])
    assert [f.parent.name for f in dataset.splits["train"].files] == ["a", "c", "d"] and dataset.rows("val") == 3
    assert Columns.concatenate(list(dataset.read("val"))).blocks["x"][:, 0].tolist() == [6, 7, 8]
    one = prepare(
        DataConfig(name="t", source=FilesSource(folder="days", splits={"train": SplitFiles(files=["a/*"])}), blocks={"x": block("c_age")}),
        [],
    )
    assert one.rows("train") == 4


def test_digests_follow_contents_and_filters(table):
    val, test = (SplitFiles(files=["all.parquet"], where={"part": part}) for part in ("val", "test"))
    dataset = prepare(config({"x": block("c_age")}, {"val": val, "test": test}), [])
    first = dataset.digest("val")
    assert first != dataset.digest("test") and first == dataset.digest("val") and len(dataset.digest()) == 64
    time.sleep(0.01)
    pq.write_table(pq.read_table(table / "all.parquet").slice(1), table / "all.parquet")
    assert dataset.digest("val") != first


def test_one_changed_byte_is_noticed_though_size_and_time_say_nothing():
    made = DataConfig(name="planted", source=PlantedSource(rows={"train": 50, "val": 20}, rates={"y": 0.5}))
    dataset = prepare(made, ["y"])
    (file,) = dataset.splits["train"].files
    content, stat = bytearray(file.read_bytes()), file.stat()
    before, unchanged, hashes = dataset.digest("train"), dataset.digest("val"), dataset.hashes("train")
    assert list(hashes.values()) == [f["sha256"] for f in dataset.manifest["splits"]["train"]["files"]]
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = prepare(made, ["y"])
    assert again.digest("train") != before and again.digest("val") == unchanged
    assert again.hashes("train", fresh=True) == again.hashes("train") != hashes


def test_contents_that_settled_are_read_once(table, monkeypatch):
    file = table / "all.parquet"
    read = []
    monkeypatch.setattr("recap_exp.data.fingerprint.hash_file", lambda path: read.append(path) or hash_file(path))
    monkeypatch.setattr("recap_exp.data.fingerprint.SETTLED_NS", 0)
    assert cached_hash(file) == cached_hash(file) == hash_file(file)
    assert read == [file]
    file.touch()
    assert cached_hash(file) == hash_file(file)
    assert read == [file, file]


def test_contents_that_changed_just_now_are_read_again(table, monkeypatch):
    monkeypatch.setattr("recap_exp.data.fingerprint.SETTLED_NS", 3600 * 10**9)
    cached_hash(table / "all.parquet")
    assert not list(outputs_dir().glob("cache/**/*"))


@pytest.mark.parametrize(
    ("cfg", "labels", "error", "words"),
    [
        (
            config({"x": block("c_age")}),
            ["label_lik"],
            DataError,
            r"all\.parquet: has no label column label_lik \(did you mean 'label_like'\?\)",
        ),
        (config({"x": block("d_*")}), [], DataError, r"has no column d_\*, which block x wants"),
        (config({"x": block("c_ag")}), [], DataError, r"has no column c_ag, which block x wants \(did you mean 'c_age'\?\)"),
        (config({"x": block("word")}), [], DataError, "column word of block x holds string values"),
        (config({"x": block("label_*")}), ["label_like"], DataError, "column label_like is a label, but block x takes it as a feature"),
        (config({"x": block("label_*")}, labels=["label_like"]), [], DataError, "column label_like is a label"),
        (config({"x": block("vector", width=4)}), [], DataError, "block x is 3 features wide, data.blocks.x.width says 4"),
        (config({"x": block("vector", use=4)}), [], DataError, "block x is 3 features wide, data.blocks.x.use wants 4"),
        (
            config(ids={"u": "users"}),
            [],
            DataError,
            r"has no column users, which data.ids or data.extras calls u \(did you mean 'user'\?\)",
        ),
        (
            config(splits={"train": SplitFiles(files=["none/*.parquet"])}),
            [],
            DataError,
            r"no file matches none/\*\.parquet in .*RECAP_DATA",
        ),
        (config(splits={"train": SplitFiles(files=[])}), [], ConfigError, "data.source.splits.train.files is empty"),
        (
            config(splits={"v": SplitFiles(files=["all.parquet"], where={"part": "vla"})}),
            [],
            DataError,
            "no row has part = 'vla', which split v",
        ),
        (DataConfig(name="t", source=FilesSource()), [], ConfigError, "data.source.splits is empty"),
    ],
)
def test_what_does_not_fit_is_named(table, cfg, labels, error, words):
    with pytest.raises(error, match=words):
        prepare(cfg, labels)


def test_optional_labels_are_left_out(table):
    dataset = prepare(config({"x": block("c_age")}), ["label_like", "label_share"], require_labels=False)
    assert dataset.schema.labels == ("label_like",)


def test_records(table):
    write_dataset(table / "rec", "r", SCHEMA, {"train": lambda: iter([rows(9)])}, "tfrecord")
    blocks = {
        "cont": block("cont", width=5, use=2),
        "disc": BlockConfig(kind="discrete", columns=["discrete"], width=2),
    }
    source = FilesSource(format="tfrecord", folder="rec", splits={"train": SplitFiles(files=["train/*.gz"])})
    cfg = DataConfig(name="r", source=source, blocks=blocks, ids={"u": "meta.user"}, extras={"g": "grp"})
    dataset = prepare(cfg, ["l.like"])
    got = next(dataset.read("train"))
    np.testing.assert_array_equal(got.blocks["cont"], rows(9).blocks["continuous"][:, :2])
    np.testing.assert_array_equal(got.blocks["disc"], rows(9).blocks["discrete"])
    assert dataset.rows("train") is None and len(dataset.digest("train")) == 64
    with pytest.raises(DataError, match=r"has no label column l\.lik \(did you mean 'l\.like'\?\)"):
        prepare(cfg, ["l.lik"])
    for name, wrong, words in (
        ("a", block("cont"), "data.blocks.a.width is missing"),
        ("a", block("c*", width=5), "has the pattern 'c\\*'"),
        ("a", block("c", "d", width=5), "has 2 columns and width 5"),
    ):
        with pytest.raises(ConfigError, match=words):
            prepare(DataConfig(name="r", source=source, blocks={name: wrong}), [])
    with pytest.raises(DataError, match=r"first records has the feature conti, which block a wants \(did you mean 'cont'\?\)"):
        prepare(DataConfig(name="r", source=source, blocks={"a": block("conti", width=5)}), [])
    source.splits["train"].where = {"a": 1}
    with pytest.raises(ConfigError, match="where works for Parquet only"):
        prepare(cfg, ["l.like"])


def test_a_data_set_by_its_folder(table):
    write_dataset(table / "own", "own", SCHEMA, {"train": lambda: iter([rows(9)])}, "parquet")
    dataset = prepare(DataConfig(name="mine", source=DatasetSource(path="own")), ["l.like"])
    assert dataset.name == "mine" and dataset.schema.labels == SCHEMA.labels and dataset.rows("train") == 9
    with pytest.raises(DataError, match=r"has no label column l\.share"):
        prepare(DataConfig(name="mine", source=DatasetSource(path="own")), ["l.share"])
    with pytest.raises(ConfigError, match=r"data\.blocks must be empty"):
        prepare(DataConfig(name="mine", source=DatasetSource(path="own"), blocks={"x": block("cont")}), [])


def random_config(**source):
    blocks = {"x": block("x", width=6, use=2), "b": BlockConfig(kind="binary", columns=["b"], width=3)}
    return DataConfig(name="made it", source=RandomSource(rows={"train": 50}, label_columns=["y"], **source), blocks=blocks)


@pytest.mark.parametrize("format", ["parquet", "tfrecord"])
def test_made_once_and_kept(outputs, format):
    first = prepare(random_config(format=format, files=2), ["y"])
    assert first.folder.parent == outputs / "data" and first.folder.name.startswith("made-it-") and first.rows("train") == 50
    assert first.schema.blocks["x"].use == 2 and first.schema.blocks["x"].width == (2 if format == "parquet" else 6)
    times = [f.stat().st_mtime_ns for f in first.splits["train"].files]
    again = prepare(random_config(format=format, files=2), ["y"])
    assert again == first and [f.stat().st_mtime_ns for f in again.splits["train"].files] == times
    other = prepare(random_config(format=format, files=2, seed=1), ["y"])
    assert other.folder != first.folder and other.digest() != first.digest()


def make(queue):
    queue.put(str(prepare(random_config(), ["y"]).folder))


def test_two_processes_make_the_same_set_at_once(outputs):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=make, args=(queue,)) for _ in range(2)]
    for process in processes:
        process.start()
    folders = {queue.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(folders) == 1 and [p.exitcode for p in processes] == [0, 0]
    assert [p for p in (outputs / "data").iterdir() if not p.name.endswith(".lock")] == [Path(*folders)]
