"""Streams of batches: endless, shuffled by seed and restartable in training; every row once, in order, in evaluation."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from recap_exp.data.assemble import Assembler
from recap_exp.data.batch import Batch
from recap_exp.data.dataset import Dataset
from recap_exp.data.schema import Columns
from recap_exp.data.shuffle import interleave, ordered_batches, shuffled_batches
from recap_exp.errors import ConfigError, DataError

B = TypeVar("B")


@dataclass(frozen=True, kw_only=True)
class TrainStream(IterableDataset):  # type: ignore[type-arg]
    """Endless training batches: the same for the same seed, number of workers and files, from any starting point.

    Every epoch reads all files in an order drawn from (seed, epoch), drops its last incomplete batch, and is independent of the epochs
    before it, so that a start in the middle of training reads again at most one epoch.
    """

    dataset: Dataset
    split: str
    assembler: Assembler
    batch_size: int
    shuffle_rows: int
    seed: int
    start: int = 0
    """Batches that an earlier run has already consumed."""
    share: tuple[int, int] = (0, 1)
    """Which of how many equal parts of every batch are read out: a process's own, where several train together."""

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        # Batch k comes from shard k % workers, wherever training starts.
        shard = (worker + self.start) % workers
        done = (self.start - shard + workers - 1) // workers
        return self._shard(shard, workers, done)

    def _shard(self, shard: int, shards: int, skip: int) -> Iterator[Batch]:
        files = self.dataset.split(self.split).files[shard::shards]
        epoch = 0
        while True:
            size = 0
            for size, rows in enumerate(self._epoch(files, epoch, shard), 1):
                if size > skip:
                    yield self.assembler.batch(self._own(rows))
            if not size:
                share = f", of which each of {shards} workers reads its share" if shards > 1 else ""
                raise DataError(
                    f"{files[0]}: split '{self.split}' has fewer rows than a batch of trainer.batch_size={self.batch_size}{share}"
                )
            # All epochs are equally long: those that were consumed before are passed over unread.
            skip = max(0, skip - size)
            epoch += 1 + skip // size
            skip %= size

    def _own(self, rows: Columns) -> Columns:
        part, parts = self.share
        size = len(rows) // parts
        return rows if parts == 1 else rows.take(slice(part * size, (part + 1) * size))

    def _epoch(self, files: tuple[Path, ...], epoch: int, shard: int) -> Iterator[Columns]:
        rng = np.random.default_rng([self.seed, epoch, shard])
        order = [files[i] for i in rng.permutation(len(files))]
        chunks = interleave([self.dataset.read(self.split, self.assembler.schema, files=(f,)) for f in order])
        return shuffled_batches(chunks, self.batch_size, self.shuffle_rows, rng)


def train_batches(stream: TrainStream, workers: int = 0) -> Generator[Batch]:
    """Endless batches, decoded in `workers` processes, or with 0 in a thread beside the training step."""
    if workers == 0:
        return prefetch(iter(stream))
    files = len(stream.dataset.split(stream.split).files)
    if files < workers:
        raise ConfigError(f"data.workers={workers}: split '{stream.split}' has {files} file(s), and a worker needs one of its own")
    # Spawned, not forked: the parent has threads by now.
    loader = DataLoader(stream, batch_size=None, num_workers=workers, multiprocessing_context="spawn", prefetch_factor=4)
    return (batch for batch in loader)  # a generator, so that closing it ends the workers


def eval_batches(dataset: Dataset, split: str, assembler: Assembler, batch_size: int, steps: int = -1) -> Iterator[Batch]:
    """Every row of a split once, in order; or its first `steps` batches. Raises DataError where the split has no rows."""
    rows = ordered_batches(dataset.read(split, assembler.schema), batch_size)
    batches = iter(assembler.batch(r) for r in itertools.islice(rows, steps if steps >= 0 else None))
    first = next(batches, None)
    if first is None:
        raise DataError(f"split '{split}' of data set '{dataset.name}' has no rows")
    return prefetch(itertools.chain([first], batches))


def prefetch(batches: Iterator[B], depth: int = 4) -> Generator[B]:
    """The same batches, made up to `depth` ahead by a thread: decoding holds no lock while it inflates and copies."""
    ready: queue.Queue[Any] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: Any) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for batch in batches:
                put((batch, None))
                if stop.is_set():
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))

    def consume() -> Generator[B]:
        thread = threading.Thread(target=work, name="prefetch", daemon=True)
        thread.start()
        try:
            while True:
                batch, error = ready.get()
                if error is not None:
                    raise error
                if batch is None:
                    return
                yield batch
        finally:
            stop.set()

    return consume()
