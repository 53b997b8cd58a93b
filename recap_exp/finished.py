"""A finished run, loaded: its configuration, its ranker, and what the ranker says of any data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from recap_exp.composition import from_yaml
from recap_exp.config import ExperimentConfig
from recap_exp.data.assemble import assembler
from recap_exp.data.dataset import Dataset
from recap_exp.data.loader import eval_batches
from recap_exp.data.schema import Schema
from recap_exp.errors import CheckpointError, DataError, nearest
from recap_exp.model.base import Model
from recap_exp.model.blocks import used_blocks
from recap_exp.model.build import build
from recap_exp.model.calibration import rates_ratio
from recap_exp.model.predict import predict
from recap_exp.model.predictions import Predictions
from recap_exp.runs import RunFolder, find_run
from recap_exp.tasks import Rates
from recap_exp.training.checkpoint import Checkpoints, load_weights


def load_run(run_id: str = "latest") -> FinishedRun:
    """The ranker's run that `run_id` means: our id, MLflow's id, the beginning of either, or `latest`."""
    folder = find_run(run_id, of_graph=False)
    if folder.of_graph:
        raise CheckpointError(f"run {folder.id} trained a graph's embeddings, no ranker: `recap-exp twhin` uses them")
    return FinishedRun(folder)


@dataclass(frozen=True)
class FinishedRun:
    """Reads the run's folder, a part at a time, when it is asked for."""

    folder: RunFolder

    @cached_property
    def config(self) -> ExperimentConfig:
        """As the run was composed."""
        return from_yaml(ExperimentConfig, self.folder.config)

    @cached_property
    def schema(self) -> Schema:
        """Of the data that the ranker was built for."""
        try:
            return Schema.from_json(json.loads(self.folder.schema.read_text()))
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{self.folder.schema}: unreadable ({error}); the run ended before it had a model") from error

    def ranker(self, checkpoint: Literal["best", "newest"] = "best") -> Model:
        """The trained ranker on the CPU, in evaluation mode. `best` is the newest where no metric was watched."""
        checkpoints = Checkpoints(self.folder.checkpoints)
        path = (checkpoints.best() if checkpoint == "best" else None) or checkpoints.newest()
        if path is None:
            raise CheckpointError(f"{self.folder.checkpoints}: run {self.folder.id} has no complete checkpoint")
        ranker = build(self.config.model, self.schema, list(self.config.tasks))
        load_weights(path, ranker)
        return ranker.eval()

    def predict(
        self, ranker: Model, dataset: Dataset, split: str, rates: dict[str, Rates] | None = None, batch_size: int = 4096
    ) -> Iterator[Predictions]:
        """What the ranker says of a split of any data set that has its blocks; labels are read where all of them are there."""
        blocks = used_blocks(self.config.model, self.schema)
        for name in blocks:
            wanted, found = self.schema.blocks[name], dataset.schema.blocks.get(name)
            if found is None:
                has = dataset.schema.blocks
                raise DataError(f"data '{dataset.name}' lacks block '{name}' of run {self.folder.id}: {', '.join(has)}{nearest(name, has)}")
            if found.use != wanted.use:
                raise DataError(
                    f"data '{dataset.name}': block '{name}' has {found.use} features, run {self.folder.id} was trained on {wanted.use}"
                )
        reader = assembler(dataset.schema, self.config.tasks, blocks=blocks, binarize=self.config.data.binarize, carry=True)
        return predict(ranker, eval_batches(dataset, split, reader, batch_size), rates_ratio(ranker.tasks, rates or {}))
