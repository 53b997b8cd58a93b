"""What is told of a ranker's run, and of a scoring, beside its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from recap_exp.config import ExperimentConfig
from recap_exp.data.dataset import Dataset
from recap_exp.data.schema import Schema
from recap_exp.evaluation.evaluate import Evaluation
from recap_exp.evaluation.figures import figures
from recap_exp.evaluation.report import metrics_table
from recap_exp.model.base import Model
from recap_exp.pyfunc import save_pyfunc
from recap_exp.record import RunRecord
from recap_exp.scoring.report import ScoreReport
from recap_exp.scoring.study import study_figure, study_words
from recap_exp.training.loop import FitResult


class RankerRecord(RunRecord):
    """Tells the tracker and the terminal what a ranker's run found."""

    def dataset(self, dataset: Dataset) -> None:
        """Every split of the data with its digest, rows, label rates, and how many of its rows have no embedding by their id."""
        for split, part in dataset.splits.items():
            unknown = dataset.unknown(split)
            self.metrics |= {f"data/unknown/{block}/{split}": share for block, share in unknown.items()}
            for block, share in unknown.items():
                self.console.print(f"{split}: {share:.1%} of the rows have no {block} embedding", highlight=False, markup=False)
            self.tracker.dataset(
                name=dataset.name,
                digest=dataset.digest(split),
                context=split,
                source=str(dataset.folder or part.files[0]),
                schema={name: f"{block.kind}[{block.use}]" for name, block in dataset.schema.blocks.items()},
                profile={"rows": dataset.rows(split), "label_rates": dataset.label_rates(split), "unknown": unknown},
            )

    def built(self, ranker: Model) -> None:
        """What is about to be trained."""
        count = sum(p.numel() for p in ranker.parameters())
        if count:  # trees have none before they have grown
            self.metrics["model/parameters"] = float(count)
        sizes = [f"{ranker.input_width} inputs", *([f"{count:,} parameters"] if count else []), f"{len(ranker.tasks)} tasks"]
        self.console.print(f"{ranker.title}: {', '.join(sizes)}", highlight=False)

    def evaluations(self, evaluations: Sequence[Evaluation], fitted: FitResult, logged: Sequence[str], pictures: Sequence[str]) -> None:
        """Metrics, tables and pictures of the trained ranker on every partition; in the terminal one table each.

        Partitions in `logged` have curves by step already. A restored checkpoint is no point of theirs: it stands one step behind the last.
        """
        for evaluation in evaluations:
            self.metrics |= evaluation.metrics
            if fitted.restored or not fitted.evaluated or evaluation.partition not in logged:
                self.tracker.metrics(evaluation.metrics, fitted.step + fitted.restored)
            self.tracker.table(evaluation.table(), f"evaluation/{evaluation.partition}.json")
            if strata := evaluation.strata_table():
                self.tracker.table(strata, f"evaluation/{evaluation.partition}_strata.json")
            if evaluation.partition in pictures:
                for path, figure in figures(evaluation).items():
                    self.tracker.figure(figure, path)
            if len(evaluation.tasks) > 1:  # a partition of one task is in the record alone
                self.console.print(metrics_table(evaluation))

    def scores(self, reports: Sequence[ScoreReport]) -> None:
        """Score metrics, tables, pictures and every candidate of each scored partition, and in words what follows from them."""
        for report in reports:
            self.tracker.metrics(report.metrics)
            self.metrics |= report.metrics
            for path, table in report.tables.items():
                self.tracker.table(table, path)
            for path, figure in report.figures.items():
                self.tracker.figure(figure, path)
            self.tracker.artifact(report.write(self.folder.path / report.stage), report.stage)
            self.tracker.text("".join(f"{line}\n" for line in report.lines), f"{report.stage}/formulas.txt")
            for line in report.lines:
                self.console.print(line, highlight=False, markup=False, soft_wrap=True)
            self.console.print(report.table())
            for note in report.notes:
                self.console.print(f"  {note}", style="dim", highlight=False)
        if words := study_words(reports):
            self.tracker.text(words + "\n", "score/words.txt")
            self.console.print(words, highlight=False, soft_wrap=True)
        if len(reports) > 1 and (together := study_figure(reports)):
            self.tracker.figure(together, "score/groups.png")

    def model(self, ranker: Model, schema: Schema, cfg: ExperimentConfig, report: ScoreReport) -> None:
        """A model that mlflow.pyfunc loads: features in, probabilities and the score of `report`'s weights out."""
        folder = save_pyfunc(
            self.folder.path / "model",
            ranker=ranker,
            model=cfg.model,
            schema=schema,
            weights=report.scores.weights,
            probabilities=cfg.scoring.probabilities,
            rates=cfg.evaluation.partitions[report.partition].rates,
        )
        self.tracker.artifact(folder, "model")
