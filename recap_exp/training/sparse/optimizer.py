"""TwHIN's optimisers: one for each table, inside the backward pass where its rule allows it, and one for the operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from recap_exp.errors import ConfigError, nearest
from recap_exp.model.twhin.tables import FusedRule, Sharding
from recap_exp.model.twhin.twhin import Twhin
from recap_exp.training.config import Schedule, TrainerConfig
from recap_exp.training.schedules import rate
from recap_exp.training.seeds import choose_device
from recap_exp.training.sparse.config import DenseOptimizerConfig, SparseOptimizerConfig, TableOptimizerConfig

if TYPE_CHECKING:
    from torch.distributed._shard.sharded_tensor import ShardedTensor

OPERATORS = "operators"
"""The operators' name beside those of the tables."""

STATE: dict[str, dict[str, int]] = {
    "sgd": {},
    "adagrad": {"sum": 2},
    "rowwise_adagrad": {"row_sum": 1},
    "adam": {"exp_avg": 2, "exp_avg_sq": 2, "step": 0},
}
"""What each rule remembers of a table, and in how many dimensions: [rows, W], [rows] or []."""


class SparseOptimizer:
    """The rates of a step are set by `begin`, before its backward pass, for there the tables already learn; `update` does the rest.

    A rule of the backward pass merges a batch's gradients of a row and then changes the row once. State exists from the start, so that a
    checkpoint is read into it in place.
    """

    prefix = "sparse"

    def __init__(self, cfg: SparseOptimizerConfig, model: Twhin, sharding: Sharding, device: torch.device) -> None:
        """See `build_sparse_optimizer`."""
        entities = list(model.tables.sizes)
        for name in cfg.tables:
            if name not in entities:
                raise ConfigError(f"optimizer.tables: no entity '{name}'{nearest(name, entities)}; entities: {', '.join(entities)}")
        if OPERATORS in entities:
            raise ConfigError(f"data.entities: an entity can't be called '{OPERATORS}', for the operators' learning rate is")
        self.updates = 0
        """Updates made so far: the schedules' step."""
        self.model, self.rules = model, {name: cfg.tables.get(name, cfg.table) for name in entities}
        self.schedules: dict[str, Schedule] = {name: rule.schedule for name, rule in self.rules.items()}
        model.tables.shard(sharding, dict(self._fused()), device)
        weights, here = dict(model.tables.collection.named_parameters()), model.tables.parts()
        self.dense: dict[str, torch.optim.Optimizer] = {}
        """Those that step after the backward pass, by table, and the operators'."""
        self.elsewhere: dict[str, Tensor] = {}
        """Adam's number of updates of tables of which no row lies here: whichever process stores it, it is right."""
        for name, rule in self.rules.items():
            if rule.rule == "adam":
                if name in here:
                    self.dense[name] = _dense(rule, [weights[f"embedding_bags.{name}.weight"]])
                else:
                    self.elsewhere[name] = torch.zeros((), dtype=torch.float32)
        if operators := list(model.operators.parameters()):
            self.dense[OPERATORS] = _dense(cfg.operators, operators)
            self.schedules[OPERATORS] = cfg.operators.schedule

    def _fused(self) -> Iterator[tuple[str, FusedRule | None]]:
        """Tables whose rate is ever to differ must differ in it from the start: torchrec puts equal ones together for good."""
        from torchrec.optim import RowWiseAdagrad

        kinds = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "rowwise_adagrad": RowWiseAdagrad}
        seen: list[TableOptimizerConfig] = []
        for name, rule in self.rules.items():
            if rule not in seen:
                seen.append(rule)
            eps = {} if rule.rule == "sgd" else {"eps": rule.eps}
            yield name, None if rule.rule == "adam" else (kinds[rule.rule], {"lr": 1.0 + seen.index(rule), **eps})

    def lrs(self, step: int) -> dict[str, float]:
        """Learning rate of each table and of the operators after `step` updates."""
        return {name: rate(schedule, step) for name, schedule in self.schedules.items()}

    def begin(self) -> None:
        """Sets the rates of the update to come. Call it before the backward pass."""
        lrs = self.lrs(self.updates)
        for name, optimizer in self.dense.items():
            for group in optimizer.param_groups:
                group["lr"] = lrs[name]
        for _, optimizer in self.fused.optimizers:
            table = next(iter(optimizer.params)).split(".")[-2]
            optimizer.param_groups[0]["lr"] = lrs[table]
        self.fused.zero_grad()  # hands the rates to the kernels

    def average(self) -> None:
        """The operators' gradients become their means over the processes. torchrec does that for the tables."""
        if self.model.tables.processes > 1:
            for p in self.model.operators.parameters():
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                dist.all_reduce(p.grad)
                p.grad /= self.model.tables.processes

    def update(self, scaler: torch.amp.GradScaler | None = None, skip: Tensor | None = None) -> None:
        """Makes the rest of the update, from the operators' averaged gradients, which are then dropped.

        The arguments are those of the ranker's optimiser and change nothing: tables have learned by now, so a loss that is not finite has
        to be found before the backward pass.
        """
        for optimizer in self.dense.values():
            optimizer.step()
        for optimizer in self.dense.values():  # only now: tables of one kernel share a gradient
            optimizer.zero_grad(set_to_none=True)
        for step in self.elsewhere.values():
            step += 1
        self.updates += 1

    @property
    def fused(self) -> Any:
        """torchrec's optimisers of the backward pass."""
        return self.model.tables.collection.fused_optimizer

    @torch.no_grad()
    def norms(self, scale: float = 1.0) -> dict[str, Tensor]:
        """Euclidean norms of tables and operators, of each and of all together. Tables' gradients are gone before one could look."""
        parts = self.model.tables.parts()
        square = {name: parts[name][0].float().square().sum() if name in parts else torch.zeros(()) for name in self.rules}
        if self.model.tables.processes > 1:
            for part in square.values():
                dist.all_reduce(part)
        if OPERATORS in self.schedules:
            square[OPERATORS] = torch.stack([p.square().sum() for p in self.model.operators.parameters()]).sum()
        norms = {f"train/param_norm/{name}": total.sqrt() for name, total in square.items()}
        return {"train/param_norm": torch.stack(list(square.values())).sum().sqrt(), **norms}

    def tensors(self, names: Mapping[Parameter, str]) -> dict[str, Any]:
        """The live state by `kind/parameter's name`, of tables as ShardedTensors."""
        found: dict[str, Any] = {}
        for name, weight in self.model.tables.weights().items():
            here = self._table_state(name)
            for kind, dims in STATE[self.rules[name].rule].items():
                key = f"{kind}/tables.collection.embedding_bags.{name}.weight"
                found[key] = here[kind] if dims == 0 else _like_shards(weight, here.get(kind), dims)
        if OPERATORS in self.dense:
            for p in self.dense[OPERATORS].param_groups[0]["params"]:
                state = self.dense[OPERATORS].state[p]
                found |= {f"{kind}/{names[p]}": tensor for kind, tensor in state.items()}
        return found

    def _table_state(self, name: str) -> dict[str, Tensor]:
        """What is remembered of a table's rows that lie here, by STATE's kinds."""
        if name in self.dense:
            (state,) = self.dense[name].state.values()
            return dict(state)
        if name in self.elsewhere:
            return {"step": self.elsewhere[name]}
        found: dict[str, Tensor] = {}
        for _, optimizer in self.fused.optimizers:
            kept = optimizer.state_dict()["state"].get(f"embedding_bags.{name}.weight", {})
            for kind, sharded in zip(STATE[self.rules[name].rule], kept.values(), strict=False):
                for shard in sharded.local_shards():
                    found[kind] = shard.tensor
        return found


def build_sparse_optimizer(cfg: SparseOptimizerConfig, model: Twhin, trainer: TrainerConfig) -> SparseOptimizer:
    """Moves the model to the trainer's device and shards its tables over torch.distributed's group, each table with its rule.

    A table's values are its initial ones from here on, whatever they were.

    Raises:
        ConfigError: a table's optimiser is named for an entity that does not exist, or an entity has the operators' name.
    """
    device = choose_device(trainer)
    model.operators.to(device)
    return SparseOptimizer(cfg, model, trainer.sharding, device)


def _like_shards(weight: ShardedTensor, here: Tensor | None, dims: int) -> ShardedTensor:
    """Float32 state of a table [rows, W] (dims 2) or [rows] (dims 1) that lies on the processes as the table does."""
    from torch.distributed._shard.sharded_tensor import Shard, ShardedTensor
    from torch.distributed._shard.sharded_tensor.metadata import ShardedTensorMetadata, TensorProperties
    from torch.distributed._shard.sharding_spec import ShardMetadata

    whole = weight.metadata()
    shards = [ShardMetadata(s.shard_offsets[:dims], s.shard_sizes[:dims], s.placement) for s in whole.shards_metadata]
    mine = [s.metadata.shard_offsets[:dims] for s in weight.local_shards()]
    local = [Shard(here, s) for s in shards if here is not None and s.shard_offsets in mine]
    metadata = ShardedTensorMetadata(shards, torch.Size(whole.size[:dims]), TensorProperties(dtype=torch.float32))
    return ShardedTensor._init_from_local_shards_and_global_metadata(local, metadata)


def _dense(cfg: TableOptimizerConfig | DenseOptimizerConfig, parameters: list[Parameter]) -> torch.optim.Optimizer:
    """torch's optimiser, its state made. Adam's betas are 0.9 and 0.999."""
    if cfg.rule == "sgd":
        return torch.optim.SGD(parameters, lr=0.0)
    if cfg.rule == "adagrad":
        return torch.optim.Adagrad(parameters, lr=0.0, eps=cfg.eps)
    adam = torch.optim.Adam(parameters, lr=0.0, eps=cfg.eps, fused=True)
    for p in parameters:
        step = torch.zeros((), dtype=torch.float32, device=p.device)
        adam.state[p] = {"step": step, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
    return adam
