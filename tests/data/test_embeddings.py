"""Embeddings looked up by the ids of rows: the same vector as a dictionary gives, whatever the ids and the data are."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import SCHEMA, rows

from recap_exp import compose, run
from recap_exp.cli import main
from recap_exp.data.assemble import assembler
from recap_exp.data.config import StoredEmbeddingConfig
from recap_exp.data.dataset import Dataset
from recap_exp.data.embeddings import EmbeddingTable, exported_table
from recap_exp.data.ids import as_integers, text_hashes, whole_numbers
from recap_exp.data.loader import TrainStream
from recap_exp.data.prepare import prepare
from recap_exp.data.write import write_dataset
from recap_exp.errors import ConfigError, DataError
from recap_exp.finished import load_run
from recap_exp.pyfunc import load

INT64 = st.integers(-(2**63), 2**63 - 1)


def write_table(path: Path, ids: Any, vectors: Any, **columns: Any) -> Path:
    """A table of embeddings as a file."""
    vectors = np.asarray(vectors, np.float32)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": ids, "vector": flat, **columns}), path)
    return path


def table(path: Path, **fields: Any) -> EmbeddingTable:
    return EmbeddingTable.open(StoredEmbeddingConfig(id="viewer", table=str(path), **fields))


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(INT64, min_size=1, max_size=20, unique=True), asked=st.lists(INT64, max_size=20), mean=st.booleans())
def test_a_vector_for_each_id_and_the_rule_for_unknown_ones(ids, asked, mean, tmp_path_factory):
    vectors = np.arange(len(ids) * 3, dtype=np.float32).reshape(-1, 3) ** 2
    unknown = "mean" if mean else "zero"
    found = table(write_table(tmp_path_factory.mktemp("t") / "t.parquet", pa.array(ids, pa.int64()), vectors), unknown=unknown)
    asked = np.array(ids[::-1] + asked, np.int64)
    by_id = dict(zip(ids, vectors, strict=True))
    otherwise = vectors.mean(axis=0) if mean else np.zeros(3)
    got = found.vectors(asked)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [by_id.get(i, otherwise) for i in asked.tolist()], rtol=1e-6)
    assert found.known(asked).tolist() == [i in by_id for i in asked.tolist()]


@given(st.lists(INT64 | st.integers() | st.sampled_from([2**63, -(2**63) - 1]) | st.text("0123456789-+ a", max_size=21), max_size=20))
def test_whole_numbers_are_told_from_other_texts(values):
    texts = [str(v) for v in values]
    numbers, are = whole_numbers(pa.array(texts, pa.string()))
    for text, number, is_number in zip(texts, numbers, are, strict=True):
        try:
            wanted = str(int(text)) == text and -(2**63) <= int(text) < 2**63
        except ValueError:
            wanted = False
        assert is_number == wanted
        assert number == (int(text) if wanted else 0)


@pytest.mark.parametrize("log", [["7", "-3", "1054987126"], ["7", "person", "007"]])
def test_ids_of_a_log_are_found_whether_it_took_numbers_or_hashes(log, tmp_path):
    """A log takes numbers only where all of its ids are numbers; the table holds some of them, and ids of its own."""
    carried = as_integers(pa.array(log))
    known = [log[0], log[1], "another"]
    found = table(write_table(tmp_path / "t.parquet", known, np.eye(3)))
    np.testing.assert_array_equal(found.vectors(carried), [[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert text_hashes(pa.array(["7"]))[0] == as_integers(pa.array(["person", "7"]))[1]


def test_rows_that_were_never_trained_count_as_unknown(tmp_path):
    file = write_table(tmp_path / "t.parquet", ["1", "2", "3"], [[1, 1], [3, 3], [90, 90]], degree=[4, 1, 0])
    found = table(file, unknown="mean")
    assert found.known(np.array([1, 2, 3])).tolist() == [True, True, False]
    np.testing.assert_array_equal(found.vectors(np.array([3, 5])), [[2, 2], [2, 2]])


def test_lists_of_any_kind_and_precision(tmp_path):
    for kind in (pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16(), 2)):
        vectors = pa.array([np.array([1, 2], np.float16).tolist(), [3.0, 4.0]]).cast(pa.list_(pa.float32())).cast(kind)
        pq.write_table(pa.table({"id": [5, 6], "vector": vectors}), tmp_path / "t.parquet")
        np.testing.assert_array_equal(table(tmp_path / "t.parquet").vectors(np.array([6, 5])), [[3, 4], [1, 2]])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"ids": [1]}, "columns id and vector"),
        ({"id": [1], "vector": [1.0]}, "holds double values, wanted lists"),
        ({"id": [1, 2], "vector": [[1.0], [1.0, 2.0]]}, "lists of 1 and 2 numbers"),
        ({"id": [1, 2], "vector": [[1.0], None]}, "wanted one length"),
        ({"id": [1.5], "vector": [[1.0]]}, "wanted integers or texts"),
        ({"id": [1, None], "vector": [[1.0], [2.0]]}, "without an id"),
        ({"id": ["a", "b", "a"], "vector": [[1.0]] * 3}, "id 'a' has more than one vector"),
        ({"id": [1], "vector": [[float("nan")]]}, "not finite"),
        ({"id": [1], "vector": [[1.0]], "degree": [0]}, "no trained vector"),
    ],
)
def test_a_table_that_is_none_is_said_in_one_line(columns, words, tmp_path):
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), file)
    with pytest.raises(DataError, match=words) as raised:
        table(file).vectors(np.array([1]))
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("named", ["", "run:", "run:x", "run:x/", "run:/item", "run:x/a/b"])
def test_a_table_is_a_file_or_a_runs(named):
    with pytest.raises(ValueError, match="run:RUN_ID/ENTITY"):
        StoredEmbeddingConfig(id="viewer", table=named)


def small(folder: Path) -> Dataset:
    """A data set with an id `user_id`, some of which a table beside it knows."""
    return write_dataset(folder / "set", "small", SCHEMA, {"train": lambda: iter([rows(40)])}, "parquet", progress=False)


def joined(folder: Path) -> tuple[Dataset, dict[int, np.ndarray]]:
    ids = rows(40).ids["user_id"][:30]
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    file = write_table(folder / "users.parquet", ids.astype(str).tolist(), vectors)
    cfg = StoredEmbeddingConfig(id="user_id", table=str(file))
    return small(folder).joined({"twhin_user": cfg}), dict(zip(ids.tolist(), vectors, strict=True))


def test_a_joined_set_has_one_more_block_and_all_else_as_before(tmp_path):
    dataset, by_id = joined(tmp_path)
    assert dataset.unknown("train") == {"twhin_user": 0.25}
    (got,) = dataset.read("train")
    (plain,) = Dataset.open(tmp_path / "set").read("train")
    assert list(got.blocks) == [*plain.blocks, "twhin_user"]
    np.testing.assert_array_equal(got.blocks["user"], plain.blocks["user"])
    zero = np.zeros(4, np.float32)
    np.testing.assert_array_equal(got.blocks["twhin_user"], [by_id.get(i, zero) for i in plain.ids["user_id"].tolist()])


def test_a_batch_has_the_stored_and_the_joined_embeddings_and_ids_only_where_asked_for(tmp_path):
    dataset, by_id = joined(tmp_path)
    reader = assembler(dataset.schema, {}, blocks=["twhin_user", "user"])
    (chunk,) = dataset.read("train", reader.schema)
    batch = reader.batch(chunk)
    assert {name: tuple(e.shape) for name, e in batch.embeddings.items()} == {"twhin_user": (40, 4), "user": (40, 4)}
    assert batch.ids == {}
    carrying = assembler(dataset.schema, {}, blocks=["twhin_user"], carry=True)
    (chunk,) = dataset.read("train", carrying.schema)
    zero = np.zeros(4, np.float32)
    wanted = [by_id.get(i, zero) for i in chunk.ids["user_id"].tolist()]
    np.testing.assert_array_equal(carrying.batch(chunk).embeddings["twhin_user"], wanted)


def test_a_conversion_stores_the_vectors_with_the_rows(tmp_path):
    from recap_exp.data.convert import convert

    dataset, _ = joined(tmp_path)
    stored = convert(dataset, tmp_path / "converted", "parquet")
    (got,), (wanted,) = stored.read("train"), dataset.read("train")
    assert not stored.tables
    np.testing.assert_array_equal(got.blocks["twhin_user"], wanted.blocks["twhin_user"])
    assert stored.manifest["made"]["converted"]["embeddings"]["twhin_user"]["id"] == "user_id"


def test_a_worker_process_is_sent_no_table_and_reads_it_itself(tmp_path):
    dataset, by_id = joined(tmp_path)
    dataset.unknown("train")
    assert len(pickle.dumps(dataset.tables)) < 2000
    reader = assembler(dataset.schema, {}, blocks=["twhin_user"], carry=True)
    stream = TrainStream(dataset=dataset, split="train", assembler=reader, batch_size=10, shuffle_rows=10, seed=0)
    batch = next(iter(pickle.loads(pickle.dumps(stream))))  # as it is sent there
    zero = np.zeros(4, np.float32)
    np.testing.assert_array_equal(batch.embeddings["twhin_user"], [by_id.get(i, zero) for i in batch.ids["user_id"].tolist()])


def test_what_cant_be_joined_is_said(tmp_path):
    file = write_table(tmp_path / "t.parquet", [1], [[1.0]])
    dataset = small(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.embeddings\.x\.id: 'user' is no id of data 'small': it has user_id"):
        dataset.joined({"x": StoredEmbeddingConfig(id="user", table=str(file))})
    for taken in ("user", "user.emb", "meta.user", "l.like", "grp"):
        with pytest.raises(ConfigError, match="of that name already"):
            dataset.joined({taken: StoredEmbeddingConfig(id="user_id", table=str(file))})
    with pytest.raises(DataError, match="export run=20260101-abc` writes it"):
        dataset.joined({"x": StoredEmbeddingConfig(id="user_id", table="run:20260101-abc/user")})


def test_a_runs_table_lies_in_its_folder(outputs):
    write_table(exported_table(outputs / "runs" / "R1", "user"), [1], [[1.0, 2.0]])
    assert EmbeddingTable.open(StoredEmbeddingConfig(id="viewer", table="run:R1/user")).width == 2


PLANTED = ["tracking=none", "trainer.steps=3", "trainer.batch_size=64", "data.source.rows={train: 256, val: 128, test: 128}"]


def test_a_ranker_trains_and_scores_with_joined_embeddings(tmp_path, capsys):
    plain = prepare(compose("data", ["data=planted", PLANTED[3]]).data, [])
    ids = np.concatenate([c.ids["author_id"] for c in plain.read("train")])
    known = np.unique(ids)[::2]
    file = write_table(tmp_path / "authors.parquet", known, np.random.default_rng(0).normal(size=(len(known), 8)))
    join = f"+data.embeddings.author={{id: author_id, table: '{file}'}}"
    quick = ["evaluation.pictures=[]", "tracking.log_model=true", "model.backbone.blocks=[{output: 8, aggregation: 8}]"]
    found = run(compose("train", [*PLANTED, *quick, join]))
    assert found.metrics["data/unknown/author/train"] == pytest.approx(1 - np.isin(ids, known).mean())
    assert "of the rows have no author embedding" in capsys.readouterr().out
    assert load_run(found.run_id).ranker().inputs.embeddings["author"] == 8
    served = load(found.folder / "model" / "data")
    inputs = {name: np.ones((2, block.use)) for name, block in served.schema.blocks.items()}
    assert inputs["author"].shape == (2, 8)
    assert not served.predict(inputs).equals(served.predict({**inputs, "author": np.eye(2, 8)}))
    again = [f"run={found.run_id}", "splits=[test]", "tracking=none"]
    run(compose("score", again))
    with pytest.raises(DataError, match="lacks block 'author'"):
        run(compose("score", [*again, "data=planted", PLANTED[3]]))


def test_a_wrong_join_is_one_line_on_the_command_line(tmp_path, capsys):
    for override, words in [
        ("+data.embeddings.author={id: author_id, table: nowhere.parquet}", "no table of embeddings is here"),
        ("+data.embeddings.author={id: author_id, table: x, unknown: drop}", "data.embeddings.author.unknown='drop'"),
        ("+data.embeddings.continuous={id: author_id, table: x}", "has a block or column of that name already"),
    ]:
        with pytest.raises(SystemExit) as ended:
            main(["train", *PLANTED, override])
        assert ended.value.code == 1
        line = capsys.readouterr().err.strip()
        assert "\n" not in line
        assert words in line
