"""The rank of each true end among all candidates, exact.

Shapes: E questions, Q those of one block, B those scored at a time, N candidates of one chunk, W width of a looked-up row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from recap_exp.evaluation.links.model import LinkModel, asking, candidates, queries, score
from recap_exp.evaluation.links.questions import Pool, Questions

if TYPE_CHECKING:
    from torch import Tensor

CELLS = 2**21
"""Scores held at a time: with what is made of them, and what is struck out of them, 50 to 150 MB."""
BLOCK = 2**15
"""Questions whose queries are held while the candidates pass by once."""
FEW = 32
"""Questions whose true ends are scored together."""


def ranks(model: LinkModel, asked: Questions, batch_size: int = 512) -> np.ndarray:
    """rank_E = 1 + candidates with a higher score + half of those with the same, the true end aside: the expected place among equals
    ("realistic", Berrendorf et al., arXiv 2002.06914). Candidates and queries pass in chunks; tables are never copied whole."""
    rank_E = np.empty(len(asked))
    with asking(model):
        for pool, chosen_Q in asked.by_pool():
            for block_Q in pieces(chosen_Q, BLOCK):
                rank_E[block_Q] = _block(model, asked, pool, block_Q, batch_size)
    return rank_E


def pieces(array: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """An array in pieces of `size`, the last one shorter."""
    return (array[first : first + size] for first in range(0, len(array), size))


def _block(model: LinkModel, asked: Questions, pool: Pool, block_Q: np.ndarray, batch_size: int) -> np.ndarray:
    import torch

    batches = list(pieces(block_Q, batch_size))
    all_QW = queries(model, asked, block_Q)
    query_QW = all_QW.split(batch_size)
    true_Q1 = _true_scores(model, asked, pool, block_Q, all_QW).split(batch_size)
    better_Q = [torch.zeros(len(t), dtype=torch.int64, device=t.device) for t in true_Q1]
    equal_Q = [torch.zeros_like(b) for b in better_Q]
    for numbers_N in pieces(np.arange(pool.size), max(1, CELLS // batch_size)):
        chunk_NW = candidates(model, pool, numbers_N)
        for i, batch_B in enumerate(batches):
            scores_BN = score(model, query_QW[i], chunk_NW, asked, pool)
            _strike(scores_BN, asked, batch_B, int(numbers_N[0]))
            better_Q[i] += (scores_BN > true_Q1[i]).sum(1)
            equal_Q[i] += (scores_BN == true_Q1[i]).sum(1)
    return (1 + torch.cat(better_Q) + torch.cat(equal_Q) / 2).double().cpu().numpy()


def _true_scores(model: LinkModel, asked: Questions, pool: Pool, block_Q: np.ndarray, query_QW: Tensor) -> Tensor:
    """[Q, 1]. Models compare all with all, so a few at a time, of which the diagonal is used."""
    import torch

    true_QW = candidates(model, pool, asked.true_E[block_Q])
    pairs = zip(query_QW.split(FEW), true_QW.split(FEW), strict=True)
    return torch.cat([score(model, q_BW, t_BW, asked, pool).diagonal() for q_BW, t_BW in pairs])[:, None]


def _strike(scores_BN: Tensor, asked: Questions, batch_B: np.ndarray, first: int) -> None:
    """Puts what does not count, and the true end, below all others."""
    import torch

    last = first + scores_BN.shape[1]
    row_X, node_X = asked.exclusions.of(asked.exclusions.list_E[batch_B], first, last)
    true_B = asked.true_E[batch_B]
    here = np.flatnonzero((true_B >= first) & (true_B < last))
    row_X, node_X = np.append(row_X, here), np.append(node_X, true_B[here]) - first
    at = (torch.from_numpy(row_X).to(scores_BN.device), torch.from_numpy(node_X).to(scores_BN.device))
    scores_BN.index_put_(at, torch.full((), -torch.inf, device=scores_BN.device))
