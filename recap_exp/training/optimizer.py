"""Adam over the ranker's parameter groups, each with a learning-rate schedule of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import get_total_norm

from recap_exp.errors import ConfigError, nearest
from recap_exp.model.ranker import BACKBONE
from recap_exp.training.config import OptimizerConfig, Schedule
from recap_exp.training.processes import average_gradients
from recap_exp.training.schedules import rate

MOMENTS = ("exp_avg", "exp_avg_sq", "step")
"""What Adam remembers of a parameter: two moments [as the parameter] and the number of its updates [scalar]."""


class Optimizer(Protocol):
    """What the loop asks of whatever changes the parameters."""

    updates: int
    """Updates made so far: the schedules' step."""
    prefix: str
    """Of the names of its tensors in checkpoints."""

    def begin(self) -> None:
        """Before the first backward pass of an update: every group takes its schedule's rate."""

    def average(self) -> None:
        """After the last backward pass of an update: of several processes, gradients become those of the whole batch."""

    def update(self, scaler: torch.amp.GradScaler, skip: Tensor | None = None) -> None:
        """One update from the gradients, which are then dropped."""

    def lrs(self, step: int) -> dict[str, float]:
        """Learning rate of each group after `step` updates."""

    def norms(self, scale: float = 1.0) -> dict[str, Tensor]:
        """Norms of gradients (divided by `scale`) and parameters, by metric."""

    def tensors(self, names: Mapping[Parameter, str]) -> dict[str, Tensor]:
        """What it remembers, live, by name."""


class RankerOptimizer:
    """Fused Adam (Kingma and Ba, arXiv 1412.6980).

    The moments exist from the start, so that a checkpoint is read into them in place.
    """

    prefix = "adam"

    def __init__(self, cfg: OptimizerConfig, groups: Mapping[str, Sequence[Parameter]], schedules: Mapping[str, Schedule]) -> None:
        self.schedules = dict(schedules)
        self.updates = 0
        """Updates made so far: the schedules' step."""
        self.adam = torch.optim.Adam(
            [{"params": list(parameters), "name": name} for name, parameters in groups.items()],
            lr=0.0,
            betas=(cfg.betas[0], cfg.betas[1]),
            eps=cfg.eps,
            fused=True,
        )
        for group in self.adam.param_groups:
            for p in group["params"]:
                step = torch.zeros((), dtype=torch.float32, device=p.device)
                self.adam.state[p] = {"step": step, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}

    @property
    def groups(self) -> dict[str, list[Parameter]]:
        """Parameters by group."""
        return {group["name"]: group["params"] for group in self.adam.param_groups}

    def lrs(self, step: int) -> dict[str, float]:
        """Learning rate of each group after `step` updates."""
        return {name: rate(schedule, step) for name, schedule in self.schedules.items()}

    def begin(self) -> None:
        """Every group takes its schedule's rate at `updates`."""
        lrs = self.lrs(self.updates)
        for group in self.adam.param_groups:
            group["lr"] = lrs[group["name"]]

    def average(self) -> None:
        """Of several processes every gradient becomes its mean over them: that of the whole batch's mean loss."""
        average_gradients(p for group in self.groups.values() for p in group)

    def update(self, scaler: torch.amp.GradScaler, skip: Tensor | None = None) -> None:
        """One update from the gradients, which are then dropped. Parameters and moments stay as they are where `skip` is 1.

        skip: float32 scalar on the parameters' device, read there: nobody waits for it. A scaler that is in use (fp16) unscales the
        gradients and skips by its own finding, which includes every non-finite loss. A skipped update counts for the schedules.
        """
        if not scaler.is_enabled():
            self.adam.found_inf = skip  # type: ignore[attr-defined]
        scaler.step(self.adam)
        scaler.update()
        self.adam.zero_grad(set_to_none=True)
        self.updates += 1

    @torch.no_grad()
    def norms(self, scale: float = 1.0) -> dict[str, Tensor]:
        """Euclidean norms of gradients (divided by `scale`) and parameters, of all groups together and of each."""
        gradients = {n: [p.grad for p in group if p.grad is not None] for n, group in self.groups.items()}
        norms = {}
        for name, tensors, factor in (("train/grad_norm", gradients, 1 / scale), ("train/param_norm", self.groups, 1.0)):
            by_group = {group: get_total_norm(ts) * factor for group, ts in tensors.items()}
            norms[name] = torch.linalg.vector_norm(torch.stack(list(by_group.values())))
            norms |= {f"{name}/{group}": norm for group, norm in by_group.items()}
        return norms

    def tensors(self, names: Mapping[Parameter, str]) -> dict[str, Tensor]:
        """The live moments by `moment/parameter's name`."""
        return {f"{moment}/{names[p]}": self.adam.state[p][moment] for group in self.groups.values() for p in group for moment in MOMENTS}


def build_optimizer(cfg: OptimizerConfig, groups: Mapping[str, Sequence[Parameter]]) -> RankerOptimizer:
    """Adam over `groups`: "backbone" and one group a task.

    Raises:
        ConfigError: a task without a schedule (neither `tower` nor its own in `towers`), or a schedule of an unknown task.
    """
    tasks = [name for name in groups if name != BACKBONE]
    for name in cfg.towers:
        if name not in tasks:
            raise ConfigError(f"optimizer.towers: no task '{name}'{nearest(name, tasks)}; tasks: {', '.join(tasks)}")
    schedules: dict[str, Schedule] = {}
    for name in groups:
        schedule = cfg.backbone if name == BACKBONE else cfg.towers.get(name, cfg.tower)
        if schedule is None:
            raise ConfigError(
                f"optimizer.towers.{name}: task '{name}' has no learning rate; name it in optimizer.towers or set optimizer.tower"
            )
        schedules[name] = schedule
    return RankerOptimizer(cfg, groups, schedules)
