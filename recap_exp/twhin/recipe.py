"""The run of a recipe, trained once: whoever needs its tables afterwards finds it."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from typing import Any

from recap_exp.composition import compose, plain
from recap_exp.config import GraphExperimentConfig
from recap_exp.errors import ConfigError
from recap_exp.paths import runs_dir
from recap_exp.plain_yaml import read_plain
from recap_exp.runs import RunFolder
from recap_exp.stored import BESIDE
from recap_exp.terminal import console
from recap_exp.tracking.config import TrackingConfig
from recap_exp.twhin.finished import FinishedGraphRun


def run_of_recipe(name: str, tracking: TrackingConfig | None) -> FinishedGraphRun:
    """The newest finished run whose configuration is what experiment=NAME composes now; trained here where there is none.

    Processes that need it at the same time wait for the one that trains it. tracking: its store; None: it is not trained.

    Raises:
        ConfigError: the recipe is none of a graph's, or it would have to be trained.
    """
    recipe = compose("train", [f"experiment={name}"])
    if not isinstance(recipe, GraphExperimentConfig):
        raise ConfigError(f"recipe:{name} trains no embeddings: name a recipe of a graph, such as twhin_deskdrop")
    runs_dir().mkdir(parents=True, exist_ok=True)
    with open(runs_dir() / f".recipe_{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := _finished(_essence(plain(recipe))):
            return found
        if tracking is None:
            raise ConfigError(f"recipe:{name} has no finished run: recap-exp train experiment={name}")
        from recap_exp.train_command import train_and_record

        console().print(f"embeddings of recipe {name}: trained first, once", highlight=False)
        result = train_and_record(replace(recipe, tracking=replace(tracking, experiment=None, run_name=None)))
        return FinishedGraphRun(RunFolder(result.folder))


def _finished(wanted: dict[str, Any]) -> FinishedGraphRun | None:
    for card in sorted(runs_dir().glob("*/run.json"), reverse=True):
        folder = RunFolder(card.parent)
        if folder.of_graph and folder.card.get("status") == "FINISHED" and _essence(read_plain(folder.config)) == wanted:
            return FinishedGraphRun(folder)
    return None


def _essence(config: dict[str, Any]) -> dict[str, Any]:
    """All that numbers follow from."""
    return {key: value for key, value in config.items() if key not in BESIDE}
