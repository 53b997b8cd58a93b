"""Columns to a Batch: labels are checked here and nowhere earlier, weights computed, blocks of one kind put side by side."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from recap_exp.data.batch import Batch
from recap_exp.data.schema import BlockKind, Columns, Schema
from recap_exp.errors import DataError
from recap_exp.tasks import Rates, Task

# Arrow's buffers are read-only, and so are we: a batch is never written to.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


@dataclass(frozen=True, kw_only=True)
class Assembler:
    """Makes batches of one experiment: which label column is which task, in the order of the task list."""

    schema: Schema
    """What is read: blocks in the order of the model's input."""
    tasks: dict[str, str]
    """Task name -> label column; empty where labels are not wanted."""
    binarize: bool = False
    rates: Mapping[str, Rates] = field(default_factory=dict)
    """Sampling rates by task: the weight of a row is y/p + (1 - y)/n."""

    weight: str | None = None
    """The extra that holds a weight for each row."""
    strata: tuple[str, ...] = ()
    """Ids, and columns BLOCK.INDEX of discrete blocks, that are handed on as extras."""

    def batch(self, rows: Columns) -> Batch:
        """B rows as tensors. Raises DataError at a label outside {0, 1}, naming file, record, column and value."""
        labels_BT = self._labels(rows)
        return Batch(
            continuous_BC=self._side_by_side(rows, "continuous", np.float32),
            binary_BI=self._side_by_side(rows, "binary", np.float32),
            discrete_BJ=self._side_by_side(rows, "discrete", np.int64),
            embeddings={n: torch.from_numpy(rows.blocks[n]) for n, b in self.schema.blocks.items() if b.kind == "embedding"},
            labels_BT=None if labels_BT is None else torch.from_numpy(labels_BT),
            weights_BT=self._weights(labels_BT, rows),
            truths_BT=self._truths(rows),
            ids=rows.ids,
            extras={**rows.extras, **{name: _stratum(rows, name) for name in self.strata}},
        )

    def _side_by_side(self, rows: Columns, kind: BlockKind, dtype: type) -> torch.Tensor:
        parts = [rows.blocks[name] for name, block in self.schema.blocks.items() if block.kind == kind]
        if not parts:
            return torch.from_numpy(np.empty((len(rows), 0), dtype))
        return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))

    def _labels(self, rows: Columns) -> np.ndarray | None:
        if not self.tasks or not self.schema.labels:
            return None
        labels_BT = np.empty((len(rows), len(self.tasks)), np.float32)
        for t, column in enumerate(self.tasks.values()):
            stored = rows.labels[column]
            if self.binarize and not np.isnan(stored).any():
                labels_BT[:, t] = stored > 0
                continue
            wrong = (stored != 0) & (stored != 1)
            if wrong.any():
                row = int(np.argmax(wrong))
                way_out = "a missing label can't be trained on" if np.isnan(stored[row]) else "set data.binarize=true to read > 0 as 1"
                raise DataError(f"{rows.place(row)}: label '{column}' is {stored[row]}, not 0 or 1; {way_out}")
            labels_BT[:, t] = stored
        return labels_BT

    def _weights(self, labels_BT: np.ndarray | None, rows: Columns) -> torch.Tensor | None:
        rates = [self.rates.get(task, Rates()) for task in self.tasks]
        if labels_BT is None or (self.weight is None and all(r == Rates() for r in rates)):
            return None
        positive_T = np.array([1 / r.positive for r in rates], np.float32)
        negative_T = np.array([1 / r.negative for r in rates], np.float32)
        weights_BT = np.where(labels_BT > 0, positive_T, negative_T)
        if self.weight is not None:
            given = rows.extras[self.weight]
            if not np.issubdtype(given.dtype, np.number) or not (good := np.isfinite(given) & (given >= 0)).all():
                row = int(np.argmin(good)) if np.issubdtype(given.dtype, np.number) else 0
                raise DataError(f"{rows.place(row)}: weight '{self.weight}' is {given[row]!r}, not a number >= 0")
            weights_BT = weights_BT * given.astype(np.float32)[:, None]
        return torch.from_numpy(weights_BT)

    def _truths(self, rows: Columns) -> torch.Tensor | None:
        if not rows.truths:
            return None
        unknown = np.full(len(rows), np.nan)
        return torch.from_numpy(np.stack([rows.truths.get(c, unknown) for c in self.tasks.values()], axis=1))


def is_stratum(schema: Schema, name: str) -> bool:
    """Whether rows can be told apart by `name`: an extra, an id, or BLOCK.INDEX of a discrete block."""
    block, _, index = name.rpartition(".")
    if _is_discrete(schema, block):
        return index.isdigit() and int(index) < schema.blocks[block].use
    return name in schema.extras or name in schema.ids


def _is_discrete(schema: Schema, block: str) -> bool:
    return block in schema.blocks and schema.blocks[block].kind == "discrete"


def _stratum(rows: Columns, name: str) -> np.ndarray:
    block, _, index = name.rpartition(".")
    return rows.ids[name] if name in rows.ids else rows.blocks[block][:, int(index)]


def assembler(
    stored: Schema,
    tasks: Mapping[str, Task],
    *,
    blocks: Sequence[str],
    binarize: bool = False,
    rates: Mapping[str, Rates] | None = None,
    carry: bool = False,
    weight: str | None = None,
    strata: Sequence[str] = (),
) -> Assembler:
    """Reads `blocks` and the tasks' labels from a data set with schema `stored`; with `carry` also ids, extras and truths.

    Where the data lacks the label of any task, no labels are read: scoring needs none.
    """
    columns = {name: task.label for name, task in tasks.items()}
    labelled = all(c in stored.labels for c in columns.values())
    discrete = [name.rpartition(".")[0] for name in strata if _is_discrete(stored, name.rpartition(".")[0])]
    wanted = Schema(
        blocks={name: stored.blocks[name] for name in dict.fromkeys([*blocks, *discrete])},
        ids=stored.ids if carry else {},
        labels=tuple(columns.values()) if labelled else (),
        truths=tuple(c for c in columns.values() if c in stored.truths) if carry else (),
        extras=stored.extras if carry else {n: c for n, c in stored.extras.items() if n == weight},
    )
    handed_on = tuple(name for name in strata if name not in stored.extras)
    return Assembler(schema=wanted, tasks=columns, binarize=binarize, rates=rates or {}, weight=weight, strata=handed_on)
