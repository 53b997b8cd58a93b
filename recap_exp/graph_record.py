"""What is told of a run of a graph's embeddings beside its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from recap_exp.data.graph.graph import Graph
from recap_exp.evaluation.links.evaluate import LinkEvaluation
from recap_exp.evaluation.links.figures import link_figures
from recap_exp.evaluation.links.report import link_table
from recap_exp.model.twhin.twhin import Twhin
from recap_exp.record import RunRecord
from recap_exp.training.loop import FitResult


class GraphRecord(RunRecord):
    """Tells the tracker and the terminal what a run of a graph's embeddings found."""

    def graph(self, graph: Graph) -> None:
        """Every split of the graph with its digest, edges, and what the rules against leaks found and dropped."""
        for split in graph.splits:
            self.tracker.dataset(
                name=graph.name,
                digest=graph.digest(split),
                context=split,
                source=str(graph.folder),
                schema={relation.name: f"{relation.left} -> {relation.right}" for relation in graph.schema.relations},
                profile={"edges": graph.count(split), "nodes": graph.schema.entities},
            )

    def built(self, model: Twhin, graph: Graph) -> None:
        """What is about to be trained."""
        nodes = ", ".join(f"{rows:,} × {name}" for name, rows in graph.schema.entities.items())
        size = sum(graph.schema.entities.values()) * model.tables.width + sum(p.numel() for p in model.operators.parameters())
        self.metrics["model/parameters"] = float(size)
        self.console.print(
            f"{model.title}: {nodes}, {len(graph.schema.relations)} relations, {size:,} parameters; "
            f"{graph.count('train'):,} training edges",
            highlight=False,
        )

    def links(self, evaluations: Sequence[LinkEvaluation], fitted: FitResult, logged: Sequence[str], pictures: bool) -> None:
        """Metrics, tables and pictures of every partition; in the terminal one table each, baselines beside.

        Partitions in `logged` have curves by step already. A restored checkpoint is no point of theirs: it stands one step behind the last.
        """
        for evaluation in evaluations:
            self.metrics |= evaluation.metrics
            if fitted.restored or not fitted.evaluated or evaluation.partition not in logged:
                self.tracker.metrics(evaluation.metrics, fitted.step + fitted.restored)
            self.tracker.table(evaluation.table(), f"evaluation/{evaluation.partition}.json")
            self.console.print(link_table(evaluation))
            for path, figure in link_figures(evaluation).items() if pictures else ():
                self.tracker.figure(figure, path)

    def maps(self, figures: Mapping[str, Figure]) -> None:
        """Pictures of entities' tables, by path."""
        for path, figure in figures.items():
            self.tracker.figure(figure, path)
