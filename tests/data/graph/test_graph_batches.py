"""Streams of edge batches: every edge once an epoch, shuffled well, the same from any starting point; and as the original read them."""

from __future__ import annotations

import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_graph import edges_config

from recap_exp.data.graph import write
from recap_exp.data.graph.batches import EdgeStream, edge_batches
from recap_exp.data.graph.graph import Graph
from recap_exp.data.graph.prepare import prepare_graph
from recap_exp.errors import ConfigError

GOLDEN = Path(__file__).parents[2] / "golden" / "twhin_loader.npz"
EDGES, GROUP = 1000, 64


def numbered(folder: Path, edges: int) -> Graph:
    """A graph whose k-th edge has k as its left node; row groups of GROUP edges."""
    k = np.arange(edges)
    pq.write_table(pa.table({"lhs": k, "rel": k % 3, "rhs": k // 2}), folder / "edges.parquet")
    return prepare_graph(edges_config({"train": str(folder / "edges.parquet")}, {r: ("user", "user") for r in "abc"}))


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("numbered")
        patch.setenv("RECAP_OUTPUTS", str(folder / "outputs"))
        patch.setattr(write, "ROW_GROUP", GROUP)
        return numbered(folder, EDGES)


def stream(graph: Graph, **fields) -> EdgeStream:
    return EdgeStream(graph=graph, split="train", **{"batch_size": 30, "seed": 0, "shuffle_edges": 200, **fields})


def test_an_epoch_has_every_edge_once_but_for_an_incomplete_batch(graph: Graph) -> None:
    assert len(graph.row_groups("train")) == 16
    batches = list(islice(stream(graph), EDGES // 30))
    lhs = np.concatenate([b.lhs_B.numpy() for b in batches])
    assert len(lhs) == 990 and len(set(lhs.tolist())) == 990
    for batch in batches:
        assert (batch.rel_B == batch.lhs_B % 3).all() and (batch.rhs_B == batch.lhs_B // 2).all()
        assert batch.lhs_B.dtype == batch.rel_B.dtype == batch.rhs_B.dtype and str(batch.rel_B.dtype) == "torch.int64"
    assert [b.number for b in batches] == list(range(33))


def test_epochs_differ_and_batches_mix_distant_edges(graph: Graph) -> None:
    first, second = (np.concatenate([b.lhs_B.numpy() for b in islice(stream(graph, start=s), 33)]) for s in (0, 33))
    assert (first != second).mean() > 0.9
    far = [np.ptp(part) for part in first.reshape(33, 30)]
    assert min(far) > 2 * GROUP  # edges of several row groups in each batch


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 90), batch=st.integers(1, 400), buffer=st.sampled_from([0, 1, 200, 5000]), seed=st.integers(0, 3))
def test_the_same_from_any_starting_point(graph: Graph, start: int, batch: int, buffer: int, seed: int) -> None:
    fields = {"batch_size": batch, "shuffle_edges": buffer, "seed": seed}
    whole = list(islice(stream(graph, **fields), start + 4))
    late = list(islice(stream(graph, **fields, start=start), 4))
    assert [(b.number, b.lhs_B.tolist()) for b in late] == [(b.number, b.lhs_B.tolist()) for b in whole[start:]]
    assert all(len(b) == batch for b in whole)


def test_a_thread_gives_the_same(graph: Graph) -> None:
    batches = edge_batches(graph, "train", 30, seed=4, start=5)
    alone = EdgeStream(graph=graph, split="train", batch_size=30, seed=4, start=5)
    assert [next(batches).lhs_B.tolist() for _ in range(40)] == [b.lhs_B.tolist() for b in islice(alone, 40)]
    batches.close()


def test_a_batch_larger_than_the_split_is_said(graph: Graph) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.batch_size=1001: split 'train' of data 'small' has only 1000 edges"):
        next(iter(stream(graph, batch_size=1001)))


def test_memory_is_that_of_the_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "ROW_GROUP", 1024)
    peaks = []
    for edges in (20_000, 100_000):
        graph = numbered(tmp_path, edges)
        batches = iter(stream(graph, batch_size=100, shuffle_edges=8192))
        tracemalloc.start()
        for _ in islice(batches, edges // 100):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_edges_in_the_order_in_which_the_original_reads_them(tmp_path: Path) -> None:
    """Its batches, as its look-ups say them: a row for either end of each edge, tables as keys."""
    golden = dict(np.load(GOLDEN))
    pq.write_table(pa.table({c: golden[f"edges/{c}"] for c in ("lhs", "rel", "rhs")}), tmp_path / "edges.parquet")
    relations = {"r0": ("t0", "t1"), "r1": ("t1", "t0")}
    graph = prepare_graph(edges_config({"train": {"files": [str(tmp_path / "edges.parquet")], "limit": 50}}, relations))
    for k, batch in enumerate(islice(stream(graph, batch_size=16, shuffle_edges=0), 5)):
        ends = np.stack([batch.lhs_B.numpy(), batch.rhs_B.numpy()], axis=1).ravel()
        left, right = (np.array([int(ends[side][1]) for ends in relations.values()]) for side in (0, 1))
        tables = np.stack([left[batch.rel_B.numpy()], right[batch.rel_B.numpy()]], axis=1).ravel()
        assert batch.rel_B.tolist() == golden[f"loader/b{k}/rels"].tolist()
        assert np.concatenate([ends[tables == t] for t in (0, 1)]).tolist() == golden[f"loader/b{k}/values"].tolist()
        assert np.concatenate([tables == t for t in (0, 1)]).astype(int).tolist() == golden[f"loader/b{k}/lengths"].tolist()
