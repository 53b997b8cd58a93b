"""Everything that scoring says of one partition: numbers, pictures, tables, formula lines, words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recap_exp.errors import DataError
from recap_exp.model.predictions import Predictions
from recap_exp.scoring import plots
from recap_exp.scoring.compare import Comparison, compare
from recap_exp.scoring.config import ScoringConfig
from recap_exp.scoring.difference import Difference, compare_groups
from recap_exp.scoring.formula import formula_lines
from recap_exp.scoring.groups import Groups, assign
from recap_exp.scoring.score import Scores, chosen_probabilities
from recap_exp.scoring.tables import candidate_table, small_tables
from recap_exp.scoring.words import difference_words
from recap_exp.tasks import Tasks
from recap_exp.whole import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

METRICS = ("difference", "t_student", "p_student", "t_welch", "p_welch", "p_mann_whitney", "hedges_g")
"""Numbers of the group test that are logged as they are called in `Difference`; intervals with their _low and _high."""


@dataclass(kw_only=True)
class ScoreReport:
    """One partition scored."""

    stage: str
    """First word of metrics and artifact paths."""
    partition: str
    trained_on: bool
    """The ranker has seen these rows' labels."""
    probabilities: str
    """raw or calibrated."""
    scores: Scores
    groups: Groups | None
    difference: Difference | None
    """None where there are no groups, or one has fewer than 2 candidates."""
    comparison: Comparison
    """This weight set, and the others it is compared with."""
    metrics: dict[str, float]
    figures: dict[str, Figure]
    """By artifact path (.png)."""
    tables: dict[str, dict[str, list[Any]]]
    """Small tables, column by column, by artifact path (.csv)."""
    candidates: dict[str, np.ndarray] = field(repr=False)
    """Every candidate, in the order of the data: row, ids, group, probabilities, contributions, sum, score, rank. See `write`."""
    lines: list[str]
    """Formula lines of the first candidates."""
    notes: list[str]
    """What a reader must know of the weights: probabilities used, engagements left out, signs that look wrong."""
    words: str
    """What the comparison of the groups says; empty where none is configured."""

    def write(self, folder: Path) -> Path:
        """All candidates as `folder`/candidates.parquet, which appears only when whole; returns its path."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "candidates.parquet"
        with whole(path, alone=True) as draft:
            pq.write_table(pa.table(self.candidates), draft, compression="zstd")
        return path

    def table(self) -> Table:
        """The terminal's table: one row an engagement, the score beneath."""
        from rich.table import Table

        table = Table(
            title=f"score of {self.partition}: {self.scores.weights.scoring}, {self.probabilities} probabilities", show_footer=True
        )
        std = self.metrics[f"{self.stage}/std"]
        table.add_column("engagement", footer="score")
        table.add_column("weight", justify="right")
        table.add_column("mean probability", justify="right")
        table.add_column("mean contribution", justify="right", footer=f"{self.scores.sum_N.mean():.4g} ± {std:.4g}")
        table.add_column("share", justify="right")
        for term, mean, share in zip(self.scores.weights.terms, self.scores.mean_E, self.scores.share_E, strict=True):
            prob = f"{self.candidates[f'probability/{term.task}'].mean(dtype=np.float64):.4g}"
            table.add_row(term.name, f"{term.weight:.4g}", prob, f"{mean:.4g}", f"{share:.1%}")
        return table


def report(
    predictions: Predictions,
    cfg: ScoringConfig,
    *,
    partition: str,
    task_list: Tasks | None = None,
    others: Mapping[str, ScoringConfig] | None = None,
    trained_on: bool = False,
) -> ScoreReport:
    """Score the candidates of one partition and say all that `cfg` asks of it.

    others: the weight sets of cfg.compare, by name. trained_on: the ranker was trained on these rows (changes words, not numbers).
    task_list: shows weights whose sign contradicts their task. Metrics and paths begin with `cfg.stage(partition)`.
    Raises DataError without candidates, and what `resolve`, `score` and `assign` raise.
    """
    if not len(predictions):
        raise DataError(f"partition '{partition}' has no candidates to score")
    stage = cfg.stage(partition)
    probs_NT = chosen_probabilities(predictions, cfg)
    comparison = compare(predictions, {cfg.name: cfg, **(others or {})})
    scores = comparison.scores[cfg.name]
    groups = assign(predictions, cfg.groups)
    difference, words = _difference(scores, groups, cfg, partition, trained_on=trained_on)
    names = dict(predictions.ids)
    if groups:
        names["group"] = np.array([*groups.labels, ""], dtype=object)[groups.member_N]
    return ScoreReport(
        stage=stage,
        partition=partition,
        trained_on=trained_on,
        probabilities=cfg.probabilities,
        scores=scores,
        groups=groups,
        difference=difference,
        comparison=comparison,
        metrics=_metrics(stage, scores, difference, comparison),
        figures=_figures(stage, partition, scores, groups, comparison),
        tables=small_tables(stage, scores, names, difference, comparison),
        candidates=candidate_table(scores, names, probs_NT, predictions.tasks),
        lines=formula_lines(scores, probs_NT, predictions.tasks, cfg.show, names),
        notes=_notes(scores, cfg, task_list),
        words=words,
    )


def _difference(
    scores: Scores, groups: Groups | None, cfg: ScoringConfig, partition: str, *, trained_on: bool
) -> tuple[Difference | None, str]:
    if groups is None:
        by_label = cfg.groups.by == "label"
        return None, f"{partition}: the groups go by the label '{cfg.groups.name}', and these data have no labels." if by_label else ""
    if min(groups.sizes) < 2:
        small = groups.labels[int(np.argmin(groups.sizes))]
        count = min(groups.sizes)
        return None, f"{partition}: group '{small}' has {count} candidate{'s' * (count != 1)}; a comparison needs at least 2 in each group."
    difference = compare_groups(*groups.split(scores.sum_N))
    return difference, difference_words(difference, groups, partition, trained_on=trained_on)


def _metrics(stage: str, scores: Scores, difference: Difference | None, comparison: Comparison) -> dict[str, float]:
    out = {
        "mean": float(scores.sum_N.mean()),
        "std": float(scores.sum_N.std(ddof=1)) if len(scores) > 1 else 0.0,
        "mean_mapped": float(scores.score_N.mean()),
        "negative_share": float((scores.sum_N < 0).mean()),
    }
    for name, values_E in (("contribution", scores.mean_E), ("share", scores.share_E)):
        for term, value in zip(scores.weights.terms, values_E, strict=True):
            out[f"{name}/{term.task}"] = out.get(f"{name}/{term.task}", 0.0) + float(value)
    if difference:
        flat = difference.flat()
        out |= {name: flat[name] for base in METRICS for name in (base, f"{base}_low", f"{base}_high") if name in flat}
        out |= {f"auc_between_groups{end}": flat[f"auc{end}"] for end in ("", "_low", "_high")}
    for other, pair in comparison.with_base().items():
        out |= {f"spearman/{other}": pair.spearman, f"kendall/{other}": pair.kendall}
        out |= {f"{depth}_overlap/{other}": value for depth, value in pair.overlap.items()}
    return {f"{stage}/{name}": value for name, value in out.items()}


def _figures(stage: str, partition: str, scores: Scores, groups: Groups | None, comparison: Comparison) -> dict[str, Figure]:
    name = scores.weights.scoring
    figures = {
        "distribution": plots.distribution(scores.sum_N, groups, f"Scores of {partition} by {name}"),
        "contributions": plots.contributions(scores, f"What the scores of {partition} are made of: {name}"),
        "by_rank": plots.by_rank(scores, f"Scores of {partition} from the best to the worst: {name}"),
    }
    for other, pair in comparison.with_base().items():
        names = (name, other)
        heading = f"Ranking of {partition}: Spearman {pair.spearman:.3f}, Kendall {pair.kendall:.3f}"
        figures[f"ranking_{other}"] = plots.rankings(scores, comparison.scores[other], names, heading)
    return {f"{stage}/{path}.png": figure for path, figure in figures.items()}


def _notes(scores: Scores, cfg: ScoringConfig, task_list: Tasks | None) -> list[str]:
    weights = scores.weights
    notes = [f"scores use {cfg.probabilities} probabilities"]
    if cfg.weights == "equal_share":
        notes.append("weights are set on these very data: every engagement contributes equally")
    if weights.unmatched:
        notes.append(f"left out, the run has no such task: {', '.join(weights.unmatched)}")
    if weights.unweighted:
        notes.append(f"tasks without a weight: {', '.join(weights.unweighted)}")
    for term in weights.terms:
        task = (task_list or {}).get(term.task)
        if task and term.weight and (term.weight > 0) != task.positive:
            side = "for" if task.positive else "against"
            notes.append(f"'{term.name}' weighs {term.weight:g}, yet tasks.{term.task} says that the engagement speaks {side} the item")
    return notes
