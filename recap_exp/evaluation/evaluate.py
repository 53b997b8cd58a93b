"""From predictions and labels to metrics: per task, their mean over tasks, per stratum, and against the truth where it is known."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recap_exp.errors import DataError
from recap_exp.evaluation.config import PartitionConfig
from recap_exp.evaluation.outcomes import Collector, Outcomes
from recap_exp.metrics.counts import ClassSums
from recap_exp.metrics.cross_entropy import NRCE, RCE
from recap_exp.metrics.mean import WeightedMean
from recap_exp.metrics.metric import OneClassWarning
from recap_exp.metrics.ranking import Ranking
from recap_exp.model.predictions import Predictions

LEVELS = ("positives", "ctr", "pctr")
"""Numbers that tell of a task's size and rate: no mean over tasks."""
TABLE_ONLY = ("auroc_se", "auroc_z")
"""Numbers that qualify another: in tables, not among the metrics."""
MAX_STRATA = 50
"""Values of a stratum that are reported, the most frequent."""


@dataclass(kw_only=True)
class Evaluation:
    """What one partition says of a model."""

    partition: str
    examples: int
    tasks: dict[str, dict[str, float]]
    """Task -> metric -> value. A task lacks the metrics that do not apply to it (truth, calibration)."""
    strata: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the table by stratum: stratum, value, task, and the metrics."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know: tasks without a second class, values left out."""
    outcomes: dict[str, Outcomes] = field(default_factory=dict)
    """What the metrics were made of, for figures."""

    @property
    def means(self) -> dict[str, float]:
        """Metric -> mean over the tasks in which it is defined."""
        values: dict[str, list[float]] = {}
        for metrics in self.tasks.values():
            for name, value in metrics.items():
                if not name.startswith((*LEVELS, *TABLE_ONLY)):
                    values.setdefault(name, []).append(value)
        return {name: float(np.nanmean(v)) if not np.isnan(v).all() else float("nan") for name, v in values.items()}

    @property
    def metrics(self) -> dict[str, float]:
        """`partition/metric/task`, `partition/metric/mean`, `partition/examples`."""
        named = {f"{self.partition}/examples": float(self.examples)}
        for task, metrics in self.tasks.items():
            named |= {f"{self.partition}/{name}/{task}": value for name, value in metrics.items() if name not in TABLE_ONLY}
        return named | {f"{self.partition}/{name}/mean": value for name, value in self.means.items()}

    def table(self) -> dict[str, list[Any]]:
        """Columns of a table with one row a task; None where a metric does not apply."""
        names = list(dict.fromkeys(name for metrics in self.tasks.values() for name in metrics))
        return {"task": list(self.tasks), **{name: [m.get(name) for m in self.tasks.values()] for name in names}}

    def strata_table(self) -> dict[str, list[Any]]:
        """Columns of a table with one row a stratum's value and task; empty without strata."""
        return {name: [row[name] for row in self.strata] for name in self.strata[0]} if self.strata else {}


def evaluate(predictions: Iterable[Predictions], partition: str, cfg: PartitionConfig, *, strata: Sequence[str] = ()) -> Evaluation:
    """Metrics of the tasks that `cfg` reports, over all chunks together; how the rows fall into chunks makes no difference.

    Means and shares are weighted where the predictions have sampling weights. `NAME_calibrated` stands beside NAME for tasks that the
    partition was downsampled for; ranking has no such twin, since calibration keeps the order. Needs 5 bytes an example and task, and
    4 more each for weight, calibrated probability and truth. Raises RecapError without rows or labels, for unknown tasks or strata,
    and for a prediction that is not finite.
    """
    collector = Collector(partition, cfg, strata)
    for chunk in predictions:
        collector.update(chunk)
    return judge(collector)


def judge(collector: Collector) -> Evaluation:
    """The metrics of everything collected."""
    if not collector.examples:
        raise DataError(f"partition {collector.partition} has no rows: split '{collector.cfg.split}' is empty")
    outcomes = {task: collector.outcomes(task) for task in collector.tasks}
    tasks = {task: {**task_metrics(o), "loss": collector.losses[task].compute()} for task, o in outcomes.items()}
    tasks = {task: metrics | truth_metrics(outcomes[task], metrics["auroc"]) for task, metrics in tasks.items()}
    evaluation = Evaluation(partition=collector.partition, examples=collector.examples, tasks=tasks, outcomes=outcomes)
    if undefined := [task for task, metrics in tasks.items() if np.isnan(metrics["auroc"])]:
        note = f"{collector.partition}: only one class of {', '.join(undefined)}: AUROC, RCE and NRCE are NaN and not in the means"
        warnings.warn(note, OneClassWarning, stacklevel=2)
        evaluation.notes.append(note)
    for name, stratum in collector.strata.items():
        groups = stratum.rows()
        if len(groups) > MAX_STRATA:
            evaluation.notes.append(f"{collector.partition}: the {MAX_STRATA} most frequent of {len(groups)} values of {name} are reported")
        for value, rows_N in groups[:MAX_STRATA]:
            for task, o in outcomes.items():
                row = {"stratum": name, "value": value, "task": task, "examples": len(rows_N)}
                evaluation.strata.append(row | task_metrics(o.take(rows_N)))
    return evaluation


def task_metrics(o: Outcomes) -> dict[str, float]:
    """One task's metrics; NaN where undefined."""
    ranking = Ranking.of(o.probs_N, o.labels_N, o.weights_N)
    metrics = {
        "positives": float(o.labels_N.sum()),
        **level_metrics(o.probs_N, o),
        "auroc": ranking.auroc(),
        "auroc_se": ranking.auroc_se(),
        "auroc_z": ranking.auroc_z(),
        "average_precision": ranking.average_precision(),
    }
    if o.calibrated_N is not None:
        calibrated = level_metrics(o.calibrated_N, o)
        metrics |= {f"{name}_calibrated": value for name, value in calibrated.items() if name != "ctr"}
    return metrics


def level_metrics(probs_N: np.ndarray, o: Outcomes) -> dict[str, float]:
    """Metrics that look at the probabilities' level. NRCE scales by the means of all rows."""
    sums = ClassSums().update(probs_N, o.labels_N, o.weights_N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OneClassWarning)  # said once for all tasks
        relative = {"rce": RCE(), "nrce": NRCE()}
        scores = {name: m.update(probs_N, o.labels_N, o.weights_N).compute() for name, m in relative.items()}
    return {
        "ctr": sums.ctr,
        "pctr": sums.pctr,
        "calibration": sums.compute(),
        **scores,
        "precision": sums.precision,
        "recall": sums.recall,
    }


def truth_metrics(o: Outcomes, auroc: float) -> dict[str, float]:
    """How near the model comes to the true probabilities; {} where they are unknown.

    auroc_of_truth, rce_of_truth: what the truth itself would score on these labels. auroc_ratio = auroc / auroc_of_truth. truth_mae,
    truth_rmse: mean absolute and root mean square error of the probability. truth_calibration = mean probability / mean truth.
    """
    if o.truths_N is None:
        return {}
    auroc_of_truth = Ranking.of(o.truths_N, o.labels_N, o.weights_N).auroc()

    def mean(values_N: np.ndarray) -> float:
        return WeightedMean().update(values_N, o.weights_N).compute()

    error_N = o.probs_N.astype(np.float64) - o.truths_N
    return {
        "auroc_of_truth": auroc_of_truth,
        "auroc_ratio": _ratio(auroc, auroc_of_truth),
        "rce_of_truth": level_metrics(o.truths_N, o)["rce"],
        "truth_mae": mean(np.abs(error_N)),
        "truth_rmse": float(np.sqrt(mean(error_N**2))),
        "truth_calibration": _ratio(mean(o.probs_N), mean(o.truths_N)),
    }


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else float("nan")
