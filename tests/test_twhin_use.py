"""What is done with a TwHIN run: its tables as files, nearest nodes, and a ranker that reads them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from recap_exp import run
from recap_exp.cli import main
from recap_exp.config import GraphExperimentConfig
from recap_exp.data.config import DataConfig, StoredEmbeddingConfig
from recap_exp.data.events.config import EventsSource, HistoryConfig
from recap_exp.data.graph.config import EventEdgesSource, GraphConfig
from recap_exp.data.prepare import prepare
from recap_exp.errors import RecapError
from recap_exp.evaluation.links.config import LinkEvaluationConfig, LinkPartitionConfig
from recap_exp.model.twhin.config import TwhinConfig
from recap_exp.tracking.config import TrackingConfig
from recap_exp.training.config import Constant, TrainerConfig
from recap_exp.training.sparse.config import DenseOptimizerConfig, SparseOptimizerConfig, TableOptimizerConfig
from recap_exp.twhin.finished import FinishedGraphRun, load_graph_run
from recap_exp.twhin.neighbours import nearest_by_cosine, neighbours
from recap_exp.twhin.pin import pinned_tables
from recap_exp.twhin.table import EntityTable

VECTORS = npst.arrays(np.float32, st.tuples(st.integers(1, 12), st.just(3)), elements=st.integers(-3, 3).map(float))


@settings(max_examples=60, deadline=None)
@given(vectors=VECTORS, queries=VECTORS, k=st.integers(1, 15))
def test_nearest_by_cosine_is_the_sorted_list_of_all(vectors, queries, k):
    scores, places = nearest_by_cosine(vectors, queries, k)

    def cosine(x, y):
        lengths = np.linalg.norm(x) * np.linalg.norm(y)
        return x @ y / lengths if lengths else 0.0

    for query, score, place in zip(queries, scores, places, strict=True):
        wanted = [cosine(query, v) for v in vectors]
        assert len(set(place.tolist())) == len(place) == min(k, len(vectors))
        np.testing.assert_allclose(score, sorted(wanted, reverse=True)[:k], atol=1e-6)
        np.testing.assert_allclose(score, [wanted[p] for p in place], atol=1e-6)


def test_faiss_finds_the_same():
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(500, 16)).astype(np.float32), rng.normal(size=(20, 16)).astype(np.float32)
    (score, place), (faiss_score, faiss_place) = (nearest_by_cosine(vectors, queries, 7, index) for index in ("exact", "faiss"))
    np.testing.assert_array_equal(faiss_place, place)
    np.testing.assert_allclose(faiss_score, score, atol=1e-6)
    assert nearest_by_cosine(vectors[:3], queries, 7, "faiss")[1].shape == (20, 3)


@pytest.mark.parametrize("ids", [pa.array([7, -1, 2**62]), pa.array(["a", "é\n", "007"])])
def test_a_table_is_read_as_it_was_written(ids, tmp_path):
    rng = np.random.default_rng(0)
    made = EntityTable(
        ids=ids,
        vectors_ND=rng.normal(size=(3, 4)).astype(np.float32),
        bias_N=np.array([0.5, 0, -1], np.float32),
        degree_N=np.array([3, 0, 9]),
    )
    file = made.write(tmp_path / "tables", "user")
    read = EntityTable.read(file)
    assert read.ids.equals(ids)
    for name in ("vectors_ND", "bias_N", "degree_N"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    np.testing.assert_array_equal(np.load(tmp_path / "tables" / "user.npy"), made.vectors_ND)
    assert np.load(tmp_path / "tables" / "user.ids.npy").tolist() == ids.to_pylist()
    assert sorted(p.name for p in file.parent.iterdir()) == ["user.ids.npy", "user.npy", "user.parquet"]


VIEWERS, ITEMS = ["7", "-3", *(f"v{i}" for i in range(18))], [str(100 + i) for i in range(30)]


def write_log(file: Path) -> Path:
    """Two groups of viewers, each with items of its own; some of both are met only in the last tenth."""
    rng = np.random.default_rng(0)
    rows = []
    for time in range(600):
        late = time >= 540
        viewer = rng.integers(20 if late else 17)
        item = 2 * rng.integers(15 if late else 12) + viewer % 2
        rows.append((VIEWERS[viewer], ITEMS[item], time * 3600, "like" if rng.random() < 0.3 else "view"))
    pd.DataFrame(rows, columns=["viewer", "item", "time", "event"]).to_csv(file, index=False)
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Outputs with one finished TwHIN run on a log, which lies beside them."""
    folder = tmp_path_factory.mktemp("twhin")
    os.environ["RECAP_OUTPUTS"] = str(folder / "outputs")
    log = write_log(folder / "log.csv")
    cfg = GraphExperimentConfig(
        name="log",
        seed=0,
        metric="test/mrr",
        data=GraphConfig(
            kind="graph", name="log", source=EventEdgesSource(files=[str(log)], events={"views": ["view"], "likes": ["like"]})
        ),
        model=TwhinConfig(name="small", dim=8),
        optimizer=SparseOptimizerConfig(
            kind="sparse",
            name="adagrad",
            table=TableOptimizerConfig(schedule=Constant(rate=0.1)),
            operators=DenseOptimizerConfig(schedule=Constant(rate=0.1)),
        ),
        trainer=TrainerConfig(steps=40, batch_size=64),
        evaluation=LinkEvaluationConfig(partitions={"test": LinkPartitionConfig(split="test")}, pictures=False),
        tracking=TrackingConfig(kind="none"),
    )
    run(cfg)
    return folder


@pytest.fixture
def loaded(trained, monkeypatch) -> FinishedGraphRun:
    monkeypatch.setenv("RECAP_OUTPUTS", str(trained / "outputs"))
    return load_graph_run()


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["twhin", *arguments])
    return int(ended.value.code or 0)


def test_export_writes_what_the_model_holds(loaded, tmp_path, capsys):
    assert command("export", f"run={loaded.folder.id[:-2]}", f"path={tmp_path / 'tables'}") == 0
    assert str(tmp_path / "tables") in capsys.readouterr().out
    model, degrees = loaded.model(), loaded.graph.degrees()
    for entity in ("viewer", "item"):
        table, vectors = pq.read_table(tmp_path / "tables" / f"{entity}.parquet"), model.vectors(entity).detach().numpy()
        assert table.schema.field("vector").type == pa.list_(pa.float32(), 8)
        assert table.column("id").to_pylist() == loaded.graph.ids(entity).to_pylist()
        np.testing.assert_array_equal(np.array(table.column("vector").to_pylist(), np.float32), vectors)
        np.testing.assert_array_equal(np.load(tmp_path / "tables" / f"{entity}.npy"), vectors)
        np.testing.assert_array_equal(table.column("bias").to_numpy(), model.biases(entity).detach().numpy())
        np.testing.assert_array_equal(table.column("degree").to_numpy(), degrees[entity])


def test_neighbours_by_cosine_are_of_its_own_group(loaded, capsys):
    (near,) = neighbours(loaded, ["7"], k=5)
    assert near.entity == near.of == "viewer"
    assert near.scores == sorted(near.scores, reverse=True)
    assert "7" not in near.ids
    assert min(near.degrees) > 0
    vectors, ids = loaded.model().vectors("viewer").detach().numpy(), loaded.graph.ids("viewer").to_pylist()
    x, y = vectors[ids.index("7")], vectors[ids.index(near.ids[0])]
    assert near.scores[0] == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-6)
    assert command("neighbours", "id=7", "id=v4", "k=5") == 0
    said = capsys.readouterr().out
    assert all(i in said for i in (*near.ids, "viewer v4"))


@pytest.mark.parametrize(("side", "asked", "node", "of"), [("right", "viewer", "v4", "item"), ("left", "item", "104", "viewer")])
def test_neighbours_by_a_relation_are_in_the_order_of_the_models_score(loaded, side, asked, node, of, capsys):
    import torch

    (near,) = neighbours(loaded, [node], k=50, relation="likes", side=side)
    model, graph = loaded.model(), loaded.graph
    rows = {of: torch.arange(graph.schema.entities[of]), asked: torch.tensor([graph.row_of(asked, node)])}
    found = model.rows(rows)
    scores = model.scores(model.query(found[asked], torch.tensor([1]), side), found[of])[0].tolist()
    by_id = dict(zip(graph.ids(of).to_pylist(), scores, strict=True))
    trained = [i for i, degree in zip(by_id, graph.degrees()[of], strict=True) if degree]
    assert near.ids == sorted(trained, key=lambda i: -by_id[i])
    assert near.scores == pytest.approx([by_id[i] for i in near.ids])
    assert command("neighbours", f"id={node}", "relation=likes", f"side={side}", f"entity={asked}") == 0
    assert f"likes, {side} end" in capsys.readouterr().out


def test_a_node_that_was_never_trained_is_said_to_be(loaded, capsys):
    untrained = [i for i, d in zip(loaded.graph.ids("viewer").to_pylist(), loaded.graph.degrees()["viewer"], strict=True) if not d]
    assert command("neighbours", f"id={untrained[0]}") == 0
    assert "no training edge" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "takes export or neighbours"),
        (["neighbors"], "did you mean 'neighbours'"),
        (["export", "runs=x"], "did you mean 'run'"),
        (["export", "run=nonsense"], "no run 'nonsense'"),
        (["neighbours"], "needs id=ID"),
        (["neighbours", "id=7", "k=many"], "k='many': must be a whole number"),
        (["neighbours", "id=7", "k=0"], "k must be at least 1"),
        (["neighbours", "id=7", "side=up"], "side='up': allowed are left, right"),
        (["neighbours", "id=7", "index=fais"], "did you mean 'faiss'"),
        (["neighbours", "id=v99"], "no nodes of one type"),
        (["neighbours", "id=v99", "entity=viewer"], "no viewer with the id v99"),
        (["neighbours", "id=7", "entity=veiwer"], "did you mean 'viewer'"),
        (["neighbours", "id=7", "relation=like"], "did you mean 'likes'"),
        (["neighbours", "id=104", "relation=likes", "entity=item"], "the node is a viewer"),
        (["neighbours", "id=7", "relation=likes", "index=faiss"], "the model's own score"),
    ],
)
def test_a_wrong_call_is_one_line(loaded, arguments, words, capsys):
    assert command(*arguments) == 1
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert words in line


def test_a_ranker_is_no_twhin_run(loaded):
    folder = loaded.folder.path.with_name("20200101-000000-ranker")
    folder.mkdir()
    (folder / "run.json").write_text('{"id": "20200101-000000-ranker", "command": "train", "status": "FINISHED"}')
    (folder / "config.yaml").write_text("model: {kind: ranker}\n")
    with pytest.raises(RecapError, match="is no TwHIN run"):
        load_graph_run("20200101")
    assert load_graph_run().folder == loaded.folder


def log_table(trained: Path, **embeddings: Any) -> DataConfig:
    """The same log as a ranker's table."""
    source = EventsSource(
        files=[str(trained / "log.csv")],
        labels={"like": ["like"]},
        history=HistoryConfig(counts={"like": ["like"]}),
        purge=False,
        drop_incomplete=False,
    )
    return DataConfig(name="log", source=source, embeddings=embeddings)


def test_a_rankers_rows_get_the_vectors_of_their_own_persons_and_items(trained, loaded):
    named = {
        "who": StoredEmbeddingConfig(id="viewer", table="run:latest/viewer"),
        "what": StoredEmbeddingConfig(id="item", table="run:latest/item"),
    }
    pinned = pinned_tables(log_table(trained, **named))
    assert [e.table for e in pinned.embeddings.values()] == [f"run:{loaded.folder.id}/{entity}" for entity in ("viewer", "item")]
    assert pinned_tables(pinned) == pinned
    dataset = prepare(pinned, ["label_like"])
    model, degrees = loaded.model(), loaded.graph.degrees()
    log = pd.read_csv(trained / "log.csv", dtype=str).drop_duplicates(["viewer", "item"])
    for block, entity in (("who", "viewer"), ("what", "item")):
        row = {str(i): n for n, i in enumerate(loaded.graph.ids(entity).to_pylist())}
        known = np.array([degrees[entity][row[i]] > 0 for i in log[entity]])
        wanted = np.where(known[:, None], model.vectors(entity).detach().numpy()[[row[i] for i in log[entity]]], 0)
        got = {split: np.concatenate([c.blocks[block] for c in dataset.read(split)]) for split in dataset.splits}
        missing = sum(dataset.unknown(split)[block] * len(part) for split, part in got.items())
        np.testing.assert_array_equal(np.concatenate(list(got.values())), wanted)
        assert missing == pytest.approx((~known).sum())
    assert dataset.unknown("train")["who"] < dataset.unknown("test")["who"]


def test_a_table_that_the_run_does_not_have(trained, loaded):
    with pytest.raises(RecapError, match=r"no entity 'veiwer' .*did you mean 'viewer'"):
        pinned_tables(log_table(trained, who=StoredEmbeddingConfig(id="viewer", table="run:latest/veiwer")))


def test_a_log_that_has_changed_is_noticed_before_rows_are_those_of_others(trained, loaded):
    log = trained / "log.csv"
    before = log.read_text()
    try:
        log.write_text(before.replace("v4,", "a,"))
        with pytest.raises(RecapError, match=r"is not what run .* was trained on"):
            _ = load_graph_run().graph
    finally:
        log.write_text(before)
