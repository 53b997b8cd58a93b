"""A finished TwHIN run, loaded: its configuration, its graph, its model, and the tables that it learned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recap_exp.composition import stored_training
from recap_exp.config import GraphExperimentConfig
from recap_exp.data.embeddings import exported_table
from recap_exp.data.graph.graph import Graph
from recap_exp.data.graph.prepare import prepare_graph
from recap_exp.dependencies import Dependencies
from recap_exp.errors import CheckpointError, DataError, nearest
from recap_exp.runs import RunFolder, find_run
from recap_exp.twhin.table import EntityTable

if TYPE_CHECKING:
    from recap_exp.model.twhin.twhin import Twhin


def load_graph_run(run_id: str = "latest") -> FinishedGraphRun:
    """The TwHIN run that `run_id` means: our id, MLflow's id, the beginning of either, or `latest`, the newest finished one.

    Raises CheckpointError where there is none, where it is a ranker's, or has not finished.
    """
    folder = find_run(run_id, of_graph=True)
    if not folder.of_graph:
        raise CheckpointError(f"run {folder.id} is no TwHIN run: it learned no tables of embeddings")
    if (status := folder.card.get("status")) != "FINISHED":
        raise CheckpointError(f"run {folder.id} is {status}: `recap-exp train resume={folder.id}` finishes it")
    return FinishedGraphRun(folder)


@dataclass(frozen=True)
class FinishedGraphRun:
    """Reads the run's folder, a part at a time, when it is asked for."""

    folder: RunFolder

    @cached_property
    def config(self) -> GraphExperimentConfig:
        """As the run was composed."""
        config = stored_training(self.folder.config)
        assert isinstance(config, GraphExperimentConfig)
        return config

    @cached_property
    def graph(self) -> Graph:
        """What the run was trained on. Raises DataError where its edges are no longer the same: rows could be those of other nodes."""
        graph = prepare_graph(self.config.data)
        began_with = Dependencies.read(self.folder.dependencies)
        for split, hashes in (began_with.data if began_with else {}).items():
            if split in graph.splits and list(graph.hashes(split).values()) != list(hashes.values()):
                raise DataError(f"graph {graph.name}: split '{split}' is not what run {self.folder.id} was trained on; bring its data back")
        return graph

    def model(self) -> Twhin:
        """Of the best checkpoint, the newest where no metric was watched; on the CPU, in evaluation mode."""
        from recap_exp.graph_experiment import build_graph_model
        from recap_exp.training.checkpoint import find_checkpoint, load_weights

        model = build_graph_model(self.config, self.graph)
        load_weights(find_checkpoint(self.folder.checkpoints), model)
        return model.eval()

    def export(self, folder: Path) -> list[Path]:
        """Writes the table of every type of node into `folder`, in each form of `EntityTable.write`; the Parquet files."""
        model, degrees, files = self.model(), self.graph.degrees(), []
        for entity in self.graph.schema.entities:
            bias_N = model.biases(entity)
            table = EntityTable(
                ids=self.graph.ids(entity).combine_chunks(),
                vectors_ND=model.vectors(entity).detach().float().numpy(),
                bias_N=np.zeros(len(degrees[entity]), np.float32) if bias_N is None else bias_N.detach().float().numpy(),
                degree_N=degrees[entity],
            )
            files.append(table.write(folder, entity))
        return files

    def table(self, entity: str) -> Path:
        """The Parquet file of a type's table in the run's own folder, where rankers read it; written where it is not there yet."""
        path = exported_table(self.folder.path, entity)
        if not path.is_file():
            if entity not in (known := self.graph.schema.entities):
                raise DataError(f"run {self.folder.id} has no entity '{entity}'{nearest(entity, known)}; it has {', '.join(known)}")
            self.export(path.parent)
        return path
