"""How a moved query is compared with candidates; more is always nearer. Shapes: C chunks, Q queries, N candidates, D dim."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from recap_exp.model.twhin.config import Comparator


class Compare(Protocol):
    """A comparator."""

    def each(self, query_QD: Tensor, candidate_QD: Tensor) -> Tensor:
        """Query i with candidate i, [Q]."""

    def all(self, query_CQD: Tensor, candidate_CND: Tensor) -> Tensor:
        """Every query with every candidate, [C, Q, N], chunk by chunk or without chunks, in memory that nothing else needs."""


class Dot:
    """sum of q c."""

    def each(self, query_QD: Tensor, candidate_QD: Tensor) -> Tensor:
        return (query_QD * candidate_QD).sum(-1)

    def all(self, query_CQD: Tensor, candidate_CND: Tensor) -> Tensor:
        return query_CQD @ candidate_CND.mT


class Cosine(Dot):
    """Dot of both, scaled to length 1."""

    def each(self, query_QD: Tensor, candidate_QD: Tensor) -> Tensor:
        return super().each(F.normalize(query_QD, dim=-1), F.normalize(candidate_QD, dim=-1))

    def all(self, query_CQD: Tensor, candidate_CND: Tensor) -> Tensor:
        return super().all(F.normalize(query_CQD, dim=-1), F.normalize(candidate_CND, dim=-1))


class Distance:
    """-(sum of |q - c|^p)^(1/p)."""

    def __init__(self, p: float) -> None:
        self.p = p

    def each(self, query_QD: Tensor, candidate_QD: Tensor) -> Tensor:
        return -torch.linalg.vector_norm(query_QD - candidate_QD, self.p, dim=-1)

    def all(self, query_CQD: Tensor, candidate_CND: Tensor) -> Tensor:
        return -torch.cdist(query_CQD, candidate_CND, self.p)


COMPARATORS: dict[Comparator, Compare] = {"dot": Dot(), "cosine": Cosine(), "l1": Distance(1), "l2": Distance(2)}
