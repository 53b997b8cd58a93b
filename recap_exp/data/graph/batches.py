"""Streams of batches of edges: endless, shuffled by seed, restartable anywhere; only a shuffle buffer lies in memory.

Shape letter: B edges of a batch.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recap_exp.data.graph.graph import Edges, Graph
from recap_exp.data.loader import prefetch
from recap_exp.data.shuffle import ordered_batches, shuffled_batches
from recap_exp.errors import ConfigError

SHUFFLE_EDGES = 2**19
"""Edges of the shuffle buffer: 12 MiB, several times while it is mixed."""


@dataclass(frozen=True)
class EdgeBatch:
    """B edges: rows of the tables of the relation's own types, and the relation's number. int64, [B] each."""

    lhs_B: Tensor
    rel_B: Tensor
    rhs_B: Tensor
    number: int = 0
    """Batches of the stream before it: what is drawn for a batch is a function of this and the seed."""

    @classmethod
    def of(cls, edges: Edges, number: int = 0) -> EdgeBatch:
        """The same edges as tensors."""
        lhs, rel, rhs = (torch.from_numpy(np.require(ends, requirements="W")) for ends in (edges.lhs, edges.rel, edges.rhs))
        return cls(lhs, rel, rhs, number)

    def __len__(self) -> int:
        return len(self.lhs_B)

    def to(self, device: torch.device | str) -> EdgeBatch:
        """On a device."""
        return EdgeBatch(self.lhs_B.to(device), self.rel_B.to(device), self.rhs_B.to(device), self.number)


@dataclass(frozen=True, kw_only=True)
class EdgeStream:
    """Endless training batches: the same for the same seed and files, from any starting point.

    Every epoch takes the pieces of the files in an order drawn from (seed, epoch), mixes their edges in a buffer, drops its last incomplete
    batch, and is independent of the epochs before it, so that a start in the middle of training reads again at most one epoch.
    """

    graph: Graph
    split: str
    batch_size: int
    seed: int
    start: int = 0
    """Batches that an earlier run has already consumed."""
    shuffle_edges: int = SHUFFLE_EDGES
    """Edges of the buffer; 0: the files' own order."""

    def __iter__(self) -> Iterator[EdgeBatch]:
        edges = self.graph.count(self.split)
        epoch_size = edges // self.batch_size
        if not epoch_size:
            raise ConfigError(
                f"trainer.batch_size={self.batch_size}: split '{self.split}' of data '{self.graph.name}' has only {edges} edges"
            )
        epoch, skip = divmod(self.start, epoch_size)
        number = self.start
        while True:
            for batch in self._epoch(epoch, skip):
                yield EdgeBatch.of(batch, number)
                number += 1
            epoch, skip = epoch + 1, 0

    def _epoch(self, epoch: int, skip: int) -> Iterator[Edges]:
        """The full batches of an epoch, without its first `skip`."""
        if self.shuffle_edges:
            rng = np.random.default_rng([self.seed, epoch])
            groups = self.graph.row_groups(self.split)
            pieces = self.graph.edges(self.split, [groups[i] for i in rng.permutation(len(groups))])
            batches = shuffled_batches(pieces, self.batch_size, self.shuffle_edges, rng)
        else:
            batches = (b for b in ordered_batches(self.graph.edges(self.split), self.batch_size) if len(b) == self.batch_size)
        for place, batch in enumerate(batches):
            if place >= skip:
                yield batch


def edge_batches(
    graph: Graph, split: str, batch_size: int, seed: int, start: int = 0, shuffle_edges: int = SHUFFLE_EDGES
) -> Generator[EdgeBatch]:
    """The batches of an `EdgeStream`, made ahead in a thread beside the training step."""
    return prefetch(iter(EdgeStream(graph=graph, split=split, batch_size=batch_size, seed=seed, start=start, shuffle_edges=shuffle_edges)))
