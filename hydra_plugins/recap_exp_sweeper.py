"""Hydra's door to our sweeps: `-m` makes an MLflow parent run, and each job a child of it."""

from __future__ import annotations

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RecapSweeper(Sweeper):
    """Grids and searches alike; conf/sweep says which."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Runs every job. arguments: the overrides of the command line."""
        from recap_exp.sweeper import run_sweep

        return run_sweep(str(self.config.hydra.job.config_name), arguments, self.config, self.launcher)
