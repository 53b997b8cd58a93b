"""TwHIN (arXiv 2202.05387): entity tables, relations' operators, losses of edges among negatives.

Shapes: B edges of a batch, E edges of a group, Q queries, C chunks, N candidates, R relations, D dim, W width of a looked-up row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recap_exp.data.graph.batches import EdgeBatch
from recap_exp.data.graph.graph import GraphSchema
from recap_exp.errors import ConfigError
from recap_exp.model.base import Learned
from recap_exp.model.twhin.comparators import COMPARATORS
from recap_exp.model.twhin.config import TwhinConfig
from recap_exp.model.twhin.losses import MASKED, Scores, build_loss
from recap_exp.model.twhin.negatives import Group, Plan, Planner, Side
from recap_exp.model.twhin.operators import Operators
from recap_exp.model.twhin.tables import Tables


class Twhin(Learned):
    """Edges to loss.

    The score of an edge is compare(op(left), right) + bias(right) where its right end is asked for, and where its left end is,
    compare(op'(right), left) + bias(left), op' the reverse's own operator (reciprocal=false: the same score without biases).

    All randomness of a batch is a function of `seed` and the batch's number. In a group of processes each computes the loss of its share
    of the batch, scaled so that the mean over the processes is the loss of the batch; so torchrec's average of gradients is its gradient.
    """

    title: ClassVar[str] = "TwHIN"

    def __init__(
        self,
        cfg: TwhinConfig,
        schema: GraphSchema,
        seed: int,
        degrees: Mapping[str, np.ndarray] | None = None,
        device: Literal["cpu", "meta"] = "cpu",
    ) -> None:
        """degrees: of the nodes of each type in the training edges [rows], where negatives are drawn by them. device: meta where
        the tables are to be sharded, which gives them memory."""
        super().__init__()
        self.cfg, self.schema = cfg, schema
        self.tables = Tables(
            schema.entities, cfg.dim, bias=cfg.bias, fp16=cfg.dtype == "fp16", scale=cfg.init_scale, seed=seed, device=device
        )
        self.operators = Operators(cfg, [relation.name for relation in schema.relations], seed)
        self.compare, self.loss = COMPARATORS[cfg.comparator], build_loss(cfg.loss)
        self.planner = Planner(cfg.negatives, schema.entities, schema.relations, degrees)
        self.draws: Callable[[int], np.random.Generator] = lambda number: np.random.default_rng([seed, 1, number])
        """The random generator of a batch, by its number."""

    def forward(self, batch: EdgeBatch) -> Tensor:
        """Mean loss over the batch's edges and both sides, []; of several processes, see the class.

        Raises:
            ConfigError: there are fewer edges than processes.
        """
        plan = self.plan(batch)
        total, penalty = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        regularisation = self.cfg.regularisation
        for asked in self.look_up(plan):
            total = total + self.loss(self.compared(asked))
            if regularisation is not None and regularisation.weight:
                sums_E = self.operators.penalty(asked.known_ED, asked.true_ED, asked.rel_E, asked.group.side, regularisation.p)
                penalty = penalty + regularisation.weight * sums_E.sum()
        mean = total / sum(self.loss.share(edges, candidates) for edges, candidates in plan.shares)
        return (mean + penalty / sum(edges for edges, _ in plan.shares)) * self.tables.processes

    def plan(self, batch: EdgeBatch) -> Plan:
        """This process's edges of a batch, in groups, with their negatives."""
        if len(batch.rel_B) < self.tables.processes:
            raise ConfigError(f"trainer.batch_size: {len(batch.rel_B)} edges can't be shared by {self.tables.processes} processes")
        lhs_B, rel_B, rhs_B = (ends.cpu().numpy() for ends in (batch.lhs_B, batch.rel_B, batch.rhs_B))
        dropout = self.cfg.dropout if self.training else 0.0
        place = (self.tables.rank, self.tables.processes)
        return self.planner.plan(lhs_B, rel_B, rhs_B, self.draws(batch.number), *place, dropout, self.cfg.dim)

    def look_up(self, plan: Plan) -> list[Asked]:
        """Every group with its rows, all by one look-up."""
        wanted: dict[str, list[np.ndarray]] = {}
        stops = np.cumsum([0, *plan.counts])

        def want(entity: str, ids: np.ndarray) -> tuple[str, int]:
            found = wanted.setdefault(entity, [])
            found.append(ids)
            return entity, len(found) - 1

        known: dict[Side, dict[int, tuple[str, int]]] = {"left": {}, "right": {}}
        for block, ends in enumerate(self.planner.ends):
            if plan.counts[block]:
                of = slice(stops[block], stops[block + 1])
                known["left"][block], known["right"][block] = want(ends.left, plan.lhs_E[of]), want(ends.right, plan.rhs_E[of])
        candidates: list[tuple[str, int]] = []
        whole: dict[str, tuple[str, int]] = {}
        for group in plan.groups:
            place = whole.get(group.entity) or want(group.entity, group.candidates_CN.reshape(-1))
            if self.cfg.negatives.everything:
                whole[group.entity] = place
            candidates.append(place)
        found = {name: self._split(rows_nW, wanted[name]) for name, rows_nW in self.rows(_tensors(wanted)).items()}
        rel_E = torch.from_numpy(plan.rel_E).to(self.device)

        def gather(side: Side, blocks: list[int]) -> tuple[Tensor, Tensor | None]:
            parts = [found[entity][i] for entity, i in (known[side][b] for b in blocks if plan.counts[b])]
            biases = [bias for _, bias in parts if bias is not None]
            return _joined([vectors for vectors, _ in parts]), _joined(biases) if biases else None

        asked = []
        for group, (entity, i) in zip(plan.groups, candidates, strict=True):
            known_ED, _ = gather("left" if group.side == "right" else "right", group.blocks)
            true_ED, true_bias_E = gather(group.side, group.blocks)
            vectors, bias = found[entity][i]
            chunks = len(group.candidates_CN)
            asked.append(
                Asked(
                    group=group,
                    rel_E=_joined([rel_E[stops[b] : stops[b + 1]] for b in group.blocks if plan.counts[b]]),
                    known_ED=known_ED,
                    true_ED=true_ED,
                    true_bias_E=true_bias_E,
                    candidates_CND=vectors.reshape(chunks, -1, self.cfg.dim),
                    bias_CN=None if bias is None else bias.reshape(chunks, -1),
                )
            )
        return asked

    def compared(self, asked: Asked) -> Scores:
        """A group's true ends and candidates, scored."""
        group, known_QD, rel_Q = asked.group, asked.known_ED, asked.rel_E
        query_E = None
        if group.first_Q is not None:
            first_Q, query_E = self._index(group.first_Q), self._index(group.query_E)
            known_QD, rel_Q = known_QD.index_select(0, first_Q), rel_Q.index_select(0, first_Q)
        query_QD = self.operators.query(known_QD, rel_Q, group.side)
        if group.keep_QD is not None:
            keep_QD = torch.from_numpy(group.keep_QD).to(self.device)
            query_QD = torch.cat([query_QD[:, : self.cfg.dim] * keep_QD, query_QD[:, self.cfg.dim :]], dim=1)
        true_E = self._each(query_QD if query_E is None else query_QD.index_select(0, query_E), asked.true_ED, asked.true_bias_E)
        rows, chunks = len(query_QD), len(group.candidates_CN)
        if chunks == 1:
            all_QN = self._all(query_QD, asked.candidates_CND[0], None if asked.bias_CN is None else asked.bias_CN[0])
        else:
            query_CKD = F.pad(query_QD, (0, 0, group.before, chunks * group.chunk - group.before - rows)).view(chunks, group.chunk, -1)
            all_QN = self._all(query_CKD, asked.candidates_CND, asked.bias_CN).flatten(0, 1)[group.before : group.before + rows]
        # Written behind autograd's back: nothing reads the scores backward, and the loss gives these no gradient.
        all_QN.detach()[self._index(group.masked_row), self._index(group.masked_column)] = MASKED
        count_Q = all_QN.shape[1] - np.bincount(group.masked_row, minlength=rows)
        own = self.cfg.negatives.everything and not self.cfg.negatives.mask_true
        return Scores(true_E, all_QN, self._index(count_Q), query_E, own)

    def rows(self, ids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rows of the tables by type, [n] -> [n, W] float32, one look-up for all. Every process of the group has to take part."""
        return self.tables.rows(ids)

    def vectors(self, entity: str) -> Tensor:
        """A whole table's vectors [rows, D], on every process. Every process of the group has to take part."""
        return self.tables.table(entity)[:, : self.cfg.dim]

    def biases(self, entity: str) -> Tensor | None:
        """A whole table's biases [rows]; None where the model has none. As `vectors`."""
        return self.tables.table(entity)[:, self.cfg.dim] if self.cfg.bias else None

    def query(self, x_BW: Tensor, rel_B: Tensor, side: Side) -> Tensor:
        """Rows of the known ends, moved by their relations: what candidates for the end on `side` are compared with, [B, D], and one column
        more where scores have a constant of the query's."""
        return self.operators.query(x_BW[:, : self.cfg.dim], rel_B, side)

    def scores(self, query_BD: Tensor, candidates_NW: Tensor) -> Tensor:
        """Every query with every candidate's row, [B, N], biases included."""
        vectors_ND, bias_N = self._parts(candidates_NW)
        return self._all(query_BD, vectors_ND, bias_N)

    def _each(self, query_E: Tensor, true_ED: Tensor, bias_E: Tensor | None) -> Tensor:
        scores_E = self.compare.each(query_E[:, : self.cfg.dim], true_ED)
        scores_E = scores_E if bias_E is None else scores_E + bias_E
        return scores_E + query_E[:, self.cfg.dim] if query_E.shape[1] > self.cfg.dim else scores_E

    def _all(self, query_CQ: Tensor, candidates_CND: Tensor, bias_CN: Tensor | None) -> Tensor:
        """With chunks in front or without."""
        scores_CQN = self.compare.all(query_CQ[..., : self.cfg.dim], candidates_CND)
        scores_CQN = scores_CQN if bias_CN is None else scores_CQN.add_(bias_CN.unsqueeze(-2))
        return scores_CQN.add_(query_CQ[..., self.cfg.dim :]) if query_CQ.shape[-1] > self.cfg.dim else scores_CQN

    def _parts(self, rows_nW: Tensor) -> tuple[Tensor, Tensor | None]:
        """Vectors [n, D] and biases [n] of rows."""
        if not self.cfg.bias:
            return rows_nW, None
        vectors_nD, spare = rows_nW.split([self.cfg.dim, rows_nW.shape[1] - self.cfg.dim], dim=1)
        return vectors_nD, spare[:, 0]

    def _split(self, rows_nW: Tensor, pieces: list[np.ndarray]) -> list[tuple[Tensor, Tensor | None]]:
        """Vectors and biases of each piece. Split, not sliced: so the gradient is put together once."""
        counts = [len(ids) for ids in pieces]
        vectors_nD, bias_n = self._parts(rows_nW)
        biases = [None] * len(counts) if bias_n is None else bias_n.split(counts)
        return list(zip(vectors_nD.split(counts), biases, strict=True))

    def _index(self, array: np.ndarray | None) -> Tensor:
        return torch.from_numpy(array).to(self.device)


@dataclass
class Asked:
    """A group of edges with what was looked up for it."""

    group: Group
    rel_E: Tensor
    known_ED: Tensor
    """Known ends."""
    true_ED: Tensor
    """Ends that are asked for."""
    true_bias_E: Tensor | None
    candidates_CND: Tensor
    bias_CN: Tensor | None


def _tensors(wanted: Mapping[str, list[np.ndarray]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.concatenate(ids)) for name, ids in wanted.items()}


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
