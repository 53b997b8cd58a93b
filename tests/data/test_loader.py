"""Streams of batches: shuffled by seed, complete, restartable anywhere; labels checked when batched."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recap_exp.data.assemble import assembler
from recap_exp.data.loader import TrainStream, eval_batches, prefetch, train_batches
from recap_exp.data.schema import Block, Columns, Schema
from recap_exp.data.shuffle import interleave, ordered_batches, shuffled_batches
from recap_exp.data.write import write_dataset
from recap_exp.errors import ConfigError, DataError
from recap_exp.tasks import Rates, Task

TASKS = {"like": Task(label="l_like"), "reply": Task(label="l_reply")}
SCHEMA = Schema(
    blocks={
        "dense": Block(kind="continuous", columns=("dense",), width=3, use=3),
        "more": Block(kind="continuous", columns=("more",), width=2, use=2),
        "flags": Block(kind="binary", columns=("flags",), width=2, use=2),
        "user": Block(kind="embedding", columns=("user",), width=4, use=4),
    },
    ids={"row": "row_id"},
    labels=("l_like", "l_reply"),
    truths=("l_like",),
    extras={"half": "half"},
)


def rows(count: int, first: int = 0, labels: np.ndarray | None = None) -> Columns:
    n = np.arange(first, first + count)
    return Columns(
        blocks={
            "dense": np.repeat(n[:, None], 3, 1).astype(np.float32),
            "more": np.ones((count, 2), np.float32),
            "flags": (n[:, None] % 2).repeat(2, 1).astype(np.float32),
            "user": np.ones((count, 4), np.float32),
        },
        ids={"row": n.astype(np.int64)},
        labels={"l_like": n % 2 if labels is None else labels, "l_reply": (n % 3 == 0).astype(np.int64)},
        truths={"l_like": np.full(count, 0.5)},
        extras={"half": n % 2},
    )


@pytest.fixture
def dataset(tmp_path):
    splits = {"train": lambda: iter([rows(30), rows(20, 30)]), "test": lambda: iter([rows(23)]), "tiny": lambda: iter([rows(3)])}
    return write_dataset(tmp_path / "set", "set", SCHEMA, splits, "parquet", files=3, progress=False)


def stream(dataset, **kwargs) -> TrainStream:
    reader = assembler(dataset.schema, TASKS, blocks=list(SCHEMA.blocks), carry=True)
    defaults = {"dataset": dataset, "split": "train", "assembler": reader, "batch_size": 8, "shuffle_rows": 16, "seed": 0}
    return TrainStream(**{**defaults, **kwargs})


def ids(batches, count: int) -> list[list[int]]:
    return [b.ids["row"].tolist() for b in itertools.islice(batches, count)]


def test_batches_have_the_tasks_order_and_blocks_side_by_side(dataset):
    batch = next(iter(stream(dataset)))
    row = batch.ids["row"]
    assert batch.continuous_BC.shape == (8, 5)
    assert batch.embeddings["user"].shape == (8, 4)
    np.testing.assert_array_equal(batch.continuous_BC[:, 0], row)
    np.testing.assert_array_equal(batch.labels_BT[:, 0], row % 2)
    np.testing.assert_array_equal(batch.labels_BT[:, 1], row % 3 == 0)
    assert batch.truths_BT[0, 0] == 0.5
    assert batch.truths_BT.isnan()[0, 1]


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(dataset):
    assert ids(stream(dataset), 20) == ids(stream(dataset), 20)
    assert ids(stream(dataset), 20) != ids(stream(dataset, seed=1), 20)


def test_an_epoch_holds_every_row_at_most_once_and_drops_the_incomplete_batch(dataset):
    seen = list(itertools.chain(*ids(stream(dataset), 6)))
    assert len(seen) == len(set(seen)) == 48
    assert seen != sorted(seen)


@pytest.mark.parametrize("start", [1, 5, 6, 7, 13, 31])
def test_training_can_start_anywhere(dataset, start):
    whole = ids(stream(dataset), 40)
    assert ids(stream(dataset, start=start), 40 - start) == whole[start:]


@pytest.mark.parametrize("start", [0, 3, 10])
def test_worker_processes_give_one_order_whatever_the_start(dataset, start):
    whole = ids(_shards(stream(dataset), 2, 24), 24)
    assert ids(_shards(stream(dataset, start=start), 2, 24 - start), 24 - start) == whole[start:]


def _shards(s: TrainStream, workers: int, count: int):
    """What `workers` worker processes give, without the processes."""
    streams = []
    for worker in range(workers):
        shard = (worker + s.start) % workers
        streams.append(s._shard(shard, workers, (s.start - shard + workers - 1) // workers))
    for k in range(count):
        yield next(streams[k % workers])


def test_real_worker_processes(dataset):
    got = ids(train_batches(stream(dataset), workers=2), 10)
    assert got == ids(_shards(stream(dataset), 2, 10), 10)


def test_more_workers_than_files_is_an_error(dataset):
    with pytest.raises(ConfigError, match=r"data\.workers=4: split 'train' has 3 file"):
        train_batches(stream(dataset), workers=4)


def test_fewer_rows_than_a_batch_is_an_error_that_names_both(dataset):
    with pytest.raises(DataError, match=r"split 'tiny' has fewer rows than a batch of trainer\.batch_size=8"):
        next(iter(stream(dataset, split="tiny")))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_split_that_is_not_there_is_an_error(dataset, workers):
    with pytest.raises(DataError, match=r"data set set has no split 'trian' \(did you mean 'train'\?\)"):
        next(train_batches(stream(dataset, split="trian"), workers))


def test_evaluation_reads_every_row_once_in_order(dataset):
    reader = assembler(dataset.schema, TASKS, blocks=["dense"], carry=True)
    batches = list(eval_batches(dataset, "test", reader, 10))
    assert [len(b) for b in batches] == [10, 10, 3]
    assert sorted(itertools.chain(*(b.ids["row"].tolist() for b in batches))) == list(range(23))
    assert [len(b) for b in eval_batches(dataset, "test", reader, 10, steps=2)] == [10, 10]


def test_a_label_that_is_neither_0_nor_1_names_file_record_column_and_value(tmp_path):
    labels = np.array([0, 1, 7, 0])
    dataset = write_dataset(tmp_path / "bad", "bad", SCHEMA, {"train": lambda: iter([rows(4, labels=labels)])}, "parquet", progress=False)
    reader = assembler(dataset.schema, TASKS, blocks=["dense"])
    with pytest.raises(DataError, match=r"part-00000\.parquet: record 2: label 'l_like' is 7, not 0 or 1; set data\.binarize=true"):
        list(eval_batches(dataset, "train", reader, 4))
    lenient = assembler(dataset.schema, TASKS, blocks=["dense"], binarize=True)
    assert next(eval_batches(dataset, "train", lenient, 4)).labels_BT[:, 0].tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("binarize", [False, True])
def test_a_missing_label_is_an_error_even_when_binarized(tmp_path, binarize):
    labels = np.array([0.0, np.nan, 1.0])
    dataset = write_dataset(tmp_path / "nan", "nan", SCHEMA, {"train": lambda: iter([rows(3, labels=labels)])}, "parquet", progress=False)
    reader = assembler(dataset.schema, TASKS, blocks=["dense"], binarize=binarize)
    with pytest.raises(DataError, match="record 1: label 'l_like' is nan"):
        list(eval_batches(dataset, "train", reader, 4))


def test_sampling_weights_are_y_over_p_plus_rest_over_n(dataset):
    reader = assembler(dataset.schema, TASKS, blocks=["dense"], rates={"reply": Rates(positive=0.5, negative=0.1)})
    batch = next(eval_batches(dataset, "test", reader, 4))
    assert batch.weights_BT is not None
    torch.testing.assert_close(batch.weights_BT[:, 0], torch.ones(4))
    torch.testing.assert_close(batch.weights_BT[:, 1], torch.where(batch.labels_BT[:, 1] > 0, 2.0, 10.0))
    assert next(eval_batches(dataset, "test", assembler(dataset.schema, TASKS, blocks=["dense"]), 4)).weights_BT is None


def test_data_without_labels_gives_batches_without_labels(dataset):
    reader = assembler(dataset.schema, {"other": Task(label="not_there")}, blocks=["dense"])
    assert next(eval_batches(dataset, "test", reader, 4)).labels_BT is None


def test_prefetch_hands_errors_over_and_stops_with_its_reader():
    def failing():
        yield 1
        raise DataError("broken")

    got = prefetch(failing())
    assert next(got) == 1
    with pytest.raises(DataError, match="broken"):
        next(got)
    endless = prefetch(itertools.count())
    assert [next(endless) for _ in range(10)] == list(range(10))
    endless.close()


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    batch=st.integers(1, 12),
    buffer=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_shuffling_loses_only_the_incomplete_batch_and_repeats_nothing(sizes, batch, buffer, seed):
    starts = np.cumsum([0, *sizes])
    chunks = [rows(size, int(first)) for size, first in zip(sizes, starts, strict=False)]
    total = sum(sizes)
    shuffled = list(shuffled_batches(iter(chunks), batch, buffer, np.random.default_rng(seed)))
    seen = [int(i) for part in shuffled for i in part.ids["row"]]
    assert all(len(part) == batch for part in shuffled)
    assert len(seen) == len(set(seen)) == total // batch * batch
    ordered = [int(i) for part in ordered_batches(iter(chunks), batch) for i in part.ids["row"]]
    assert ordered == list(range(total))


def test_interleaving_takes_turns_and_keeps_all():
    streams = [iter([rows(1, 10 * s + i) for i in range(n)]) for s, n in enumerate((3, 1, 2))]
    got = [int(c.ids["row"][0]) for c in interleave(streams, width=2)]
    assert sorted(got) == [0, 1, 2, 10, 20, 21]
    assert got[:2] == [0, 10]


def test_concatenated_rows_keep_their_record_numbers():
    a, b = rows(2), rows(2, 5)
    a.file, a.records, b.file, b.records = "a", np.array([0, 1]), "b", np.array([7, 8])
    joined = Columns.concatenate([a, b])
    assert joined.records.tolist() == [0, 1, 7, 8]
    again = Columns.concatenate([joined.take(np.array([3, 0])), a])
    assert [again.place(row) for row in range(4)] == ["b: record 8", "a: record 0", "a: record 0", "a: record 1"]
    assert Columns.concatenate([a, a]).file == "a"
