"""Experiments on the ranking side of a For You feed.

In a notebook:

    import recap_exp
    cfg = recap_exp.compose("train", ["model=masknet_serial", "trainer.steps=200"])
    model = recap_exp.build_model(cfg)
    result = recap_exp.run(cfg)
    finished = recap_exp.load_run(result.run_id)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recap_exp.commands import run
    from recap_exp.composition import compose
    from recap_exp.experiment import build_model
    from recap_exp.finished import load_run

__all__ = ["build_model", "compose", "load_run", "run"]

_HOMES = {"compose": "composition", "build_model": "experiment", "run": "commands", "load_run": "finished"}


def __getattr__(name: str) -> Any:
    """Imported on first use: `import recap_exp` itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'recap_exp' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"recap_exp.{_HOMES[name]}"), name)
