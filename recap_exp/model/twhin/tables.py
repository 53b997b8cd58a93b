"""Entity tables: one embedding bag collection, looked up by one keyed jagged tensor, sharded over processes by torchrec.

Shapes: N rows of a table, W width of a row, n ids of a look-up, T tables.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

if TYPE_CHECKING:
    from torchrec import EmbeddingBagCollection, KeyedJaggedTensor
    from torchrec.distributed.types import ParameterShardingGenerator

Sharding = Literal["table_wise", "row_wise"]
FusedRule = tuple[type[torch.optim.Optimizer], Mapping[str, Any]]
"""An optimiser's class and its settings."""

BLOCK = 4096
"""Rows whose initial values are drawn together."""
SPARE = 4
"""Columns beside the vector where there is a bias, which takes the first: fbgemm wants widths that are multiples of 4."""


class Tables(nn.Module):
    """A table for each type of entity, [N, W] = [N, dim (+ 4, of which the first is the bias)].

    They start normal with deviation `scale`, biases 0. The values are a function of seed, table and row alone: the same however sharded.
    On device "meta" they have no memory until `shard` gives each process its rows.
    """

    def __init__(
        self, sizes: Mapping[str, int], dim: int, *, bias: bool, fp16: bool, scale: float, seed: int, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__()
        self.sizes, self.dim, self.width, self.fp16, self.scale, self.seed = dict(sizes), dim, dim + SPARE * bias, fp16, scale, seed
        self.rank, self.processes = 0, 1
        self.collection: nn.Module = self._collection("meta")
        if torch.device(device).type != "meta":
            self.collection.to_empty(device=device)
            for name, weight in self.weights().items():
                self._draw(name, weight, 0)

    def _collection(self, device: str) -> EmbeddingBagCollection:
        from torchrec.modules.embedding_configs import DataType, EmbeddingBagConfig
        from torchrec.modules.embedding_modules import EmbeddingBagCollection

        logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # warns of what torchrec calls
        configs = [
            EmbeddingBagConfig(
                name=name,
                feature_names=[name],
                num_embeddings=rows,
                embedding_dim=self.width,
                data_type=DataType.FP16 if self.fp16 else DataType.FP32,
                init_fn=lambda weight: weight,
            )
            for name, rows in self.sizes.items()
        ]
        return EmbeddingBagCollection(tables=configs, device=torch.device(device))

    @torch.no_grad()
    def _draw(self, name: str, into: Tensor, start: int) -> None:
        """Initial values of rows start, start + 1, ... of a table."""
        table, stop = list(self.sizes).index(name), start + len(into)
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            values = np.zeros((BLOCK, self.width), dtype=np.float32)
            normal = np.random.default_rng([self.seed, table, block]).standard_normal((BLOCK, self.dim), dtype=np.float32)
            values[:, : self.dim] = self.scale * normal
            first, last = max(start, block * BLOCK), min(stop, (block + 1) * BLOCK)
            into[first - start : last - start] = torch.from_numpy(values[first - block * BLOCK : last - block * BLOCK])

    def shard(self, how: Sharding, rules: Mapping[str, FusedRule | None], device: torch.device) -> None:
        """Gives every process of the group its part, with initial values; `rules` then run inside the backward pass, None: gradients.

        It is torch.distributed's default group, of at least this process. torchrec averages gradients over it.
        """
        del self.collection  # its memory goes before the new one's comes
        warnings.filterwarnings("ignore", "fbgemm::dense_embedding")  # of a backward kernel that is there, and tested
        warnings.filterwarnings("ignore", "Please use DTensor", FutureWarning)
        logging.getLogger("torchrec.distributed.utils").setLevel(logging.ERROR)  # tells of settings that it leaves unused itself
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.collection = self._sharded(how, rules, device)
        self.rank, self.processes = dist.get_rank(), dist.get_world_size()
        for name, (part, start) in self.parts().items():
            self._draw(name, part, start)

    def _sharded(self, how: Sharding, rules: Mapping[str, FusedRule | None], device: torch.device) -> nn.Module:
        from torch.distributed.optim import _apply_optimizer_in_backward
        from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
        from torchrec.distributed.sharding_plan import construct_module_sharding_plan
        from torchrec.distributed.types import ShardingEnv

        collection, sharder = self._collection("meta"), EmbeddingBagCollectionSharder()
        for name, rule in rules.items():
            if rule is not None:
                _apply_optimizer_in_backward(rule[0], [collection.embedding_bags[name].weight], dict(rule[1]))
        world = dist.get_world_size()
        plan = construct_module_sharding_plan(
            collection,
            dict(self._places(how, rules, world)),
            sharder=sharder,
            local_size=world,
            world_size=world,
            device_type=device.type,
        )
        return sharder.shard(collection, plan, ShardingEnv.from_process_group(dist.group.WORLD), device)  # type: ignore[arg-type]

    def _places(self, how: Sharding, rules: Mapping[str, FusedRule | None], world: int) -> Iterator[tuple[str, ParameterShardingGenerator]]:
        """Where each table lies: the rows of each on all, or each on the process that has the fewest rows so far, the largest first."""
        from torchrec.distributed.sharding_plan import row_wise, table_wise

        load = [0] * world
        for name in sorted(self.sizes, key=lambda name: -self.sizes[name]):
            kernel = "dense" if rules[name] is None else "fused"
            rank = load.index(min(load))
            load[rank] += self.sizes[name]
            yield name, row_wise(compute_kernel=kernel) if how == "row_wise" else table_wise(rank=rank, compute_kernel=kernel)

    def weights(self) -> dict[str, Any]:
        """Tables by name: whole tensors, or torch's ShardedTensors, of which each process holds a part."""
        state = self.collection.state_dict()
        return {name: state[f"embedding_bags.{name}.weight"] for name in self.sizes}

    def parts(self) -> dict[str, tuple[Tensor, int]]:
        """The rows of each table that lie here, live, and the number of the first. Tables of which none lie here are left out."""
        found = {}
        for name, weight in self.weights().items():
            if isinstance(weight, Tensor) and not hasattr(weight, "local_shards"):
                found[name] = (weight, 0)
                continue
            for shard in weight.local_shards():
                found[name] = (shard.tensor, shard.metadata.shard_offsets[0])
        return found

    def rows(self, ids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rows of the tables, [n] -> [n, W] float32: one look-up for all. Every process of the group has to take part."""
        stride = torch.tensor(max(len(of) for of in ids.values()))
        if self.processes > 1:
            dist.all_reduce(stride, dist.ReduceOp.MAX)  # torchrec wants the same of all
        device = next(self.collection.parameters()).device
        kt = self.collection(packed_kjt(ids, list(self.sizes), int(stride), device))
        return {name: rows_nW[: len(ids[name])].float() for name, rows_nW in kt.to_dict().items() if name in ids}

    @torch.no_grad()
    def table(self, name: str) -> Tensor:
        """A whole table [N, W] float32, on every process. Every process of the group has to take part."""
        parts = self.parts()
        if self.processes == 1:
            return parts[name][0].float()
        some = next(iter(parts.values()))[0]
        whole_NW = torch.zeros(self.sizes[name], self.width, device=some.device)
        if name in parts:
            part, start = parts[name]
            whole_NW[start : start + len(part)] = part.float()
        dist.all_reduce(whole_NW)
        return whole_NW


def packed_kjt(ids: Mapping[str, Tensor], tables: Sequence[str], stride: int, device: torch.device) -> KeyedJaggedTensor:
    """Ids as a keyed jagged tensor of bags of one, packed at the beginning of their key, which is `stride` bags long."""
    from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

    lengths = torch.zeros(len(tables), stride, dtype=torch.int32)
    for name, length in zip(tables, lengths, strict=True):
        length[: len(ids.get(name, ()))] = 1
    values = torch.cat([ids[name] for name in tables if name in ids])
    return KeyedJaggedTensor(keys=list(tables), values=values.to(device), lengths=lengths.view(-1).to(device))


def edge_kjt(lhs_B: Tensor, rel_B: Tensor, rhs_B: Tensor, relations_R2: Tensor, tables: Sequence[str]) -> KeyedJaggedTensor:
    """The original's layout of a batch: rows 2i and 2i + 1 are the left and the right node of edge i, tables are keys.

    relations_R2: numbers of the left and of the right table of each relation.
    """
    from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

    nodes = torch.stack([lhs_B, rhs_B], dim=1).view(-1)
    table = relations_R2[rel_B].view(-1)
    lengths = (table == torch.arange(len(tables)).unsqueeze(1)).to(torch.int32)
    return KeyedJaggedTensor(keys=list(tables), values=nodes[table.argsort(stable=True)], lengths=lengths.view(-1))
