"""What relations do to vectors.

Shapes: B vectors, D dim, S slots: one for each relation, and one for its reverse where that has an operator of its own.
A complex vector of D / 2 numbers holds their real parts, then their imaginary parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recap_exp.model.twhin import config
from recap_exp.model.twhin.config import TwhinConfig


class Operator(nn.Module):
    """One kind of operator, with parameters in S slots."""

    is_complex = False
    """Vectors and parameters are complex numbers."""

    def forward(self, x_BD: Tensor, slot_B: Tensor) -> Tensor:
        """x moved, [B, D]."""
        raise NotImplementedError

    def adjoint(self, x_BD: Tensor, slot_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """y [B, D] and c [B] (None: 0) such that dot(op(z), x) = dot(z, y) + c for every z."""
        raise NotImplementedError

    def inverse(self, x_BD: Tensor, slot_B: Tensor) -> Tensor:
        """y such that op(z) is as far from x as z is from y, for the comparators that admit it."""
        raise NotImplementedError

    def power_sums(self, p: int) -> Tensor | None:
        """sum |parameter|^p of each slot, [S]; None: there is nothing to learn in size."""
        return None


class Identity(Operator):
    """x."""

    def __init__(self, slots: int, dim: int, draw: Draw) -> None:
        super().__init__()

    def forward(self, x_BD: Tensor, slot_B: Tensor) -> Tensor:
        return x_BD

    def adjoint(self, x_BD: Tensor, slot_B: Tensor) -> tuple[Tensor, Tensor | None]:
        return x_BD, None

    def inverse(self, x_BD: Tensor, slot_B: Tensor) -> Tensor:
        return x_BD


class Translation(Operator):
    """x + t (Bordes et al., TransE)."""

    def __init__(self, slots: int, dim: int, draw: Draw) -> None:
        super().__init__()
        self.weight = nn.Parameter(draw.uniform(slots, dim) if draw.is_uniform else draw.noise(slots, dim))

    def forward(self, x_BD: Tensor, slot_B: Tensor) -> Tensor:
        return x_BD + self.weight.index_select(0, slot_B)

    def adjoint(self, x_BD: Tensor, slot_B: Tensor) -> tuple[Tensor, Tensor | None]:
        return x_BD, (x_BD * self.weight.index_select(0, slot_B)).sum(1)

    def inverse(self, x_BD: Tensor, slot_B: Tensor) -> Tensor:
        return x_BD - self.weight.index_select(0, slot_B)

    def power_sums(self, p: int) -> Tensor:
        return self.weight.abs().pow(p).sum(1)


class Diagonal(Operator):
    """d * x (Yang et al., DistMult)."""

    def __init__(self, slots: int, dim: int, draw: Draw) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + draw.noise(slots, dim))

    def forward(self, x_BD: Tensor, slot_B: Tensor) -> Tensor:
        return x_BD * self.weight.index_select(0, slot_B)

    def adjoint(self, x_BD: Tensor, slot_B: Tensor) -> tuple[Tensor, Tensor | None]:
        return self(x_BD, slot_B), None

    def power_sums(self, p: int) -> Tensor:
        return self.weight.abs().pow(p).sum(1)


class Linear(Operator):
    """A x (Nickel et al., RESCAL)."""

    def __init__(self, slots: int, dim: int, draw: Draw) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(dim) + draw.noise(slots, dim, dim))

    def forward(self, x_BD: Tensor, slot_B: Tensor) -> Tensor:
        return self._product(x_BD, slot_B, self.weight.mT)

    def adjoint(self, x_BD: Tensor, slot_B: Tensor) -> tuple[Tensor, Tensor | None]:
        return self._product(x_BD, slot_B, self.weight), None

    @staticmethod
    def _product(x_BD: Tensor, slot_B: Tensor, matrix_SDD: Tensor) -> Tensor:
        """x times its slot's matrix: one product for each slot in use, for a matrix for each row would fill the memory."""
        order = slot_B.argsort(stable=True)
        slots, counts = torch.unique_consecutive(slot_B[order], return_counts=True)
        parts = x_BD.index_select(0, order).split(counts.tolist())
        moved = torch.cat([part @ matrix_SDD[slot] for part, slot in zip(parts, slots.tolist(), strict=True)]) if len(parts) else x_BD
        return moved.index_select(0, order.argsort())

    def power_sums(self, p: int) -> Tensor:
        return self.weight.abs().pow(p).sum((1, 2))


class Complex(Operator):
    """c * x in complex numbers (Trouillon et al., ComplEx)."""

    is_complex = True

    def __init__(self, slots: int, dim: int, draw: Draw) -> None:
        super().__init__()
        one = torch.cat([torch.ones(dim // 2), torch.zeros(dim // 2)])
        self.weight = nn.Parameter(one + draw.noise(slots, dim))

    def numbers(self, slot_B: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary parts of c, [B, D / 2] each."""
        re, im = self.weight.index_select(0, slot_B).chunk(2, dim=1)
        return re, im

    def forward(self, x_BD: Tensor, slot_B: Tensor) -> Tensor:
        re, im = self.numbers(slot_B)
        return times(x_BD, re, im)

    def adjoint(self, x_BD: Tensor, slot_B: Tensor) -> tuple[Tensor, Tensor | None]:
        re, im = self.numbers(slot_B)
        return times(x_BD, re, -im), None

    def power_sums(self, p: int) -> Tensor | None:
        return moduli(self.weight).pow(p).sum(1)


class Rotation(Complex):
    """c * x with |c| = 1, given by angles (Sun et al., RotatE, arXiv 1902.10197)."""

    def __init__(self, slots: int, dim: int, draw: Draw) -> None:
        Operator.__init__(self)
        self.angle = nn.Parameter(draw.noise(slots, dim // 2))

    def numbers(self, slot_B: Tensor) -> tuple[Tensor, Tensor]:
        angle = self.angle.index_select(0, slot_B)
        return angle.cos(), angle.sin()

    def inverse(self, x_BD: Tensor, slot_B: Tensor) -> Tensor:
        return self.adjoint(x_BD, slot_B)[0]

    def power_sums(self, p: int) -> Tensor | None:
        return None


OPERATORS: dict[config.Operator, Callable[[int, int, Draw], Operator]] = {
    "identity": Identity,
    "translation": Translation,
    "diagonal": Diagonal,
    "linear": Linear,
    "complex": Complex,
    "rotation": Rotation,
}


@dataclass
class Draw:
    """Where operators' initial values come from."""

    rng: np.random.Generator
    scale: float
    is_uniform: bool

    def noise(self, *shape: int) -> Tensor:
        """Normal with deviation `scale`."""
        return torch.from_numpy(self.scale * self.rng.standard_normal(shape, dtype=np.float32))

    def uniform(self, *shape: int) -> Tensor:
        """In [0, 1)."""
        return torch.from_numpy(self.rng.random(shape, dtype=np.float32))


class Operators(nn.Module):
    """The operators of all relations, kinds mixed as configured."""

    slot_R: Tensor
    kind_R: Tensor

    def __init__(self, cfg: TwhinConfig, relations: Sequence[str], seed: int) -> None:
        super().__init__()
        self.cfg = cfg
        kinds = [cfg.operators.get(name, cfg.operator) for name in relations]
        self.used = list(dict.fromkeys(kinds))
        self.count = {kind: kinds.count(kind) for kind in self.used}
        draw = Draw(np.random.default_rng([seed, len(relations)]), cfg.init_scale, cfg.operator_init == "uniform")
        self.kinds = nn.ModuleDict({kind: OPERATORS[kind]((1 + cfg.reciprocal) * n, cfg.dim, draw) for kind, n in self.count.items()})
        self.register_buffer("slot_R", torch.tensor([kinds[:i].count(kind) for i, kind in enumerate(kinds)]), persistent=False)
        self.register_buffer("kind_R", torch.tensor([self.used.index(kind) for kind in kinds]), persistent=False)

    def query(self, x_BD: Tensor, rel_B: Tensor, asked: str) -> Tensor:
        """The known ends moved, [B, D], or [B, D + 1] with a constant that the score has besides: what candidates on side `asked` meet."""
        cfg = self.cfg
        moves = (asked == "left") == (cfg.moves == "right")
        constant = cfg.comparator == "dot" and not moves and not cfg.reciprocal and "translation" in self.used

        def moved(kind: str, x_BD: Tensor, slot_B: Tensor) -> Tensor:
            operator = self.kinds[kind]
            assert isinstance(operator, Operator)
            if moves or cfg.reciprocal:
                return operator(x_BD, slot_B if moves else slot_B + self.count[kind])  # type: ignore[index, no-any-return]
            if cfg.comparator != "dot":
                return operator.inverse(x_BD, slot_B)
            y_BD, c_B = operator.adjoint(x_BD, slot_B)
            return torch.cat([y_BD, (x_BD.new_zeros(len(x_BD)) if c_B is None else c_B).unsqueeze(1)], dim=1) if constant else y_BD

        slot_B = self.slot_R.index_select(0, rel_B)
        if len(self.used) == 1:
            return moved(self.used[0], x_BD, slot_B)
        kind_B = self.kind_R.index_select(0, rel_B)
        members = [torch.nonzero(kind_B == i).squeeze(1) for i in range(len(self.used))]
        parts = [moved(kind, x_BD.index_select(0, of), slot_B.index_select(0, of)) for kind, of in zip(self.used, members, strict=True)]
        return torch.cat(parts).index_select(0, torch.cat(members).argsort())

    def penalty(self, x_BD: Tensor, y_BD: Tensor, rel_B: Tensor, asked: str, p: int) -> Tensor:
        """sum |.|^p of each edge's known end x, operator and asked end y, [B]; of the moduli where the operator is complex."""
        both_BD = torch.stack([x_BD, y_BD])
        is_complex = [kind for kind in self.used if self.kinds[kind].is_complex]
        if not is_complex:
            sum_B = both_BD.abs().pow(p).sum((0, 2))
        elif len(is_complex) == len(self.used):
            sum_B = moduli(both_BD).pow(p).sum((0, 2))
        else:
            which_B = torch.isin(self.kind_R[rel_B], torch.tensor([self.used.index(kind) for kind in is_complex], device=rel_B.device))
            sum_B = torch.where(which_B, moduli(both_BD).pow(p).sum((0, 2)), both_BD.abs().pow(p).sum((0, 2)))
        reverse = self.cfg.reciprocal and asked == "left"
        slot_B = self.slot_R[rel_B]
        for i, kind in enumerate(self.used):
            operator = self.kinds[kind]
            assert isinstance(operator, Operator)
            size_S = operator.power_sums(p)
            if size_S is not None:
                of = self.kind_R[rel_B] == i
                slots = torch.where(of, slot_B + reverse * self.count[kind], 0)  # type: ignore[index]
                sum_B = sum_B + of * size_S.index_select(0, slots)
        return sum_B


def times(x_BD: Tensor, re: Tensor, im: Tensor) -> Tensor:
    """Complex vectors times complex numbers, elementwise."""
    a, b = x_BD.chunk(2, dim=1)
    return torch.cat([a * re - b * im, a * im + b * re], dim=1)


def moduli(x_BD: Tensor) -> Tensor:
    """|.| of complex vectors, [..., D / 2]; gradient 0 at 0."""
    a, b = x_BD.chunk(2, dim=-1)
    return torch.linalg.vector_norm(torch.stack([a, b]), dim=0)
