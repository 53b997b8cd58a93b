"""The original's measures: each true end against a few negatives that its batch shares.

Shapes: B questions of a batch, P negatives, X questions and negatives that make a pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from recap_exp.evaluation.links.measures import mean
from recap_exp.evaluation.links.model import LinkModel, asking, candidates, queries, score
from recap_exp.evaluation.links.questions import Pool, Questions
from recap_exp.evaluation.links.rank import pieces


def sampled(
    model: LinkModel, asked: Iterable[Questions], pairs: int, hits: Sequence[int], batch_size: int = 512, seed: int = 0
) -> dict[str, float]:
    """sampled_auc and sampled_hit_at_K, as the original measures a batch; not filtered, so of little use beyond comparing with its numbers.

    The negatives of a batch of edges in random order are `pairs` ends drawn from the batch itself, popular nodes more often; a question's
    own two ends are none of its negatives. sampled_auc: how often, in `pairs` draws of a true edge and of a negative one of the same batch,
    the true one has the higher score, equal ones counted half. sampled_hit_at_K: how often a true end is among the K best of it and the
    batch's negatives. A model that knows nothing reaches 1/2 and about K / (1 + pairs). NaN where no batch has two different ends.
    """
    rng = np.random.default_rng(seed)
    won, rank = [np.empty(0)], [np.empty(0)]
    with asking(model):
        for questions in asked:
            for pool, chosen_Q in questions.by_pool():
                for batch_B in pieces(rng.permutation(chosen_Q), batch_size):
                    true_B, negative_BP, pair_BP = _scores(model, questions, pool, batch_B, pairs, rng)
                    edge_X, number_X = np.nonzero(pair_BP)
                    if len(edge_X):
                        drawn = rng.integers(len(edge_X), size=pairs)
                        lead = rng.choice(true_B, pairs) - negative_BP[edge_X[drawn], number_X[drawn]]
                        won.append((1 + np.sign(lead)) / 2)
                        above_B, equal_B = (
                            (beats & pair_BP).sum(1) for beats in (negative_BP > true_B[:, None], negative_BP == true_B[:, None])
                        )
                        rank.append(1 + above_B + equal_B / 2)
    rank_all = np.concatenate(rank)
    return {"sampled_auc": mean(np.concatenate(won)), **{f"sampled_hit_at_{k}": mean((rank_all <= k).astype(float)) for k in hits}}


def _scores(
    model: LinkModel, asked: Questions, pool: Pool, batch_B: np.ndarray, pairs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores [B] of the true ends and [B, P] of the drawn ones, and which of these are negatives of which question."""
    true_B = asked.true_E[batch_B]
    drawn_P = rng.choice(true_B, pairs)
    query_BW = queries(model, asked, batch_B)
    every_BN = score(model, query_BW, candidates(model, pool, np.concatenate([true_B, drawn_P])), asked, pool).cpu().numpy()
    pair_BP = (drawn_P != true_B[:, None]) & (drawn_P != asked.own_E[batch_B][:, None])
    return every_BN[:, : len(batch_B)].diagonal(), every_BN[:, len(batch_B) :], pair_BP
