"""What link evaluation needs of a model, and how it is asked for whole scores.

Shapes: B questions, N candidates, W width of a looked-up row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recap_exp.errors import RecapError
from recap_exp.evaluation.links.questions import Pool, Questions, Side

if TYPE_CHECKING:
    from torch import Tensor


class LinkModel(Protocol):
    """A model that compares a moved query with candidates. Look-ups are collective: all processes ask for the same rows."""

    training: bool

    def train(self, mode: bool = True) -> Any:
        """As torch's modules."""

    def rows(self, ids: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Type -> rows of its table, [n] -> [n, W]."""

    def query(self, x_BW: Tensor, rel_B: Tensor, side: Side) -> Tensor:
        """The known ends, moved by their relations: what the ends on `side` are compared with."""

    def scores(self, query_BW: Tensor, candidates_NW: Tensor) -> Tensor:
        """[B, N], of any floating type; more is nearer."""


@contextmanager
def asking(model: LinkModel) -> Iterator[None]:
    """The model as it answers: without dropout, without gradients."""
    import torch

    was = model.training
    model.train(False)
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was)


def queries(model: LinkModel, asked: Questions, chosen_Q: np.ndarray) -> Tensor:
    """The moved queries of some questions, in double precision."""
    import torch

    names = sorted(set(asked.query_types))
    place_R = np.array([names.index(entity) for entity in asked.query_types])
    x_QW = _look_up(model, names, place_R[asked.rel_E[chosen_Q]], asked.query_E[chosen_Q])
    rel_Q = torch.from_numpy(asked.rel_E[chosen_Q]).to(x_QW.device)
    return model.query(x_QW, rel_Q, asked.side).double()


def candidates(model: LinkModel, pool: Pool, numbers_N: np.ndarray) -> Tensor:
    """The rows of some of a pool's candidates, in double precision."""
    names = list(pool.sizes)
    starts = np.array([pool.start(name) for name in names])
    place_N = np.searchsorted(starts, numbers_N, side="right") - 1
    return _look_up(model, names, place_N, numbers_N - starts[place_N]).double()


def score(model: LinkModel, query_BW: Tensor, candidates_NW: Tensor, asked: Questions, pool: Pool) -> Tensor:
    """Scores [B, N] in single precision, of arithmetic in double: so scores that are equal but for the order in which a product was summed
    up are equal, and a model that knows nothing gets the ties that it has. Raises RecapError where one is not finite."""
    import torch

    scores_BN = model.scores(query_BW, candidates_NW).float()
    if not torch.isfinite(scores_BN.sum(dtype=torch.float64)):
        bad = int((~torch.isfinite(scores_BN)).sum())
        where = f"{asked.side} ends among {' and '.join(pool.sizes)}"
        raise RecapError(f"{bad} of {scores_BN.numel()} scores of {where} are not finite: the model has diverged; a lower rate may help")
    return scores_BN


def _look_up(model: LinkModel, names: list[str], place_N: np.ndarray, rows_N: np.ndarray) -> Tensor:
    """Row rows_N[i] of the table of type names[place_N[i]]."""
    import torch

    members = {name: np.flatnonzero(place_N == i) for i, name in enumerate(names)}
    members = {name: of for name, of in members.items() if len(of)}
    found = model.rows({name: torch.from_numpy(rows_N[of]) for name, of in members.items()})
    joined = torch.cat([found[name] for name in members])
    order = np.argsort(np.concatenate(list(members.values())), kind="stable")
    return joined[torch.from_numpy(order).to(joined.device)]
