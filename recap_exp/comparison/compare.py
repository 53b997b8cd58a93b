"""Runs compared: their settings from the best to the worst, what each metric says of them, and what a reader must know."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recap_exp.comparison.read import ComparedRun
from recap_exp.comparison.settings import Setting, settings, varied
from recap_exp.comparison.statistics import Difference, Summary, Values, differences, equally_noisy, summary
from recap_exp.errors import RecapError, nearest
from recap_exp.evaluation.config import higher_is_better


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What tables and pictures show."""

    runs: list[ComparedRun]
    keys: list[str]
    """The settings that tell the runs apart."""
    metrics: list[str]
    """The first one orders the settings and chooses the best."""
    settings: list[Setting]
    """The best first; those without a finished run last."""
    reference: int
    """The setting that the others are compared with."""
    chosen: bool
    """Somebody named it; otherwise it is the best."""
    summaries: dict[str, list[Summary]]
    """By metric, one a setting."""
    differences: dict[str, list[Difference | None]]
    """By metric, one a setting: what it has more than the reference; None for the reference itself."""
    left_out: list[ComparedRun]
    """Runs that are in no statistic."""
    notes: list[str]
    """What a reader must know."""

    @property
    def seeds(self) -> bool:
        """Whether any setting was run with two seeds or more."""
        return any(len(setting.runs) > 1 for setting in self.settings)

    @property
    def reference_word(self) -> str:
        """What the setting is that the others are compared with."""
        if self.chosen:
            return "baseline"
        return "first" if direction(self.runs, self.metrics[0]) is None else "best"


def compare(
    runs: Sequence[ComparedRun], metrics: Sequence[str] = (), keys: Sequence[str] | None = None, baseline: str | None = None
) -> Comparison:
    """Groups the runs by setting and compares each setting with the best, or with `baseline`: a run's id, or words of a setting's label.

    metrics: () means the metric that the runs' configuration names, and test/auroc/mean. keys: None means what differs. The best is chosen
    by the first metric alone, so that the others judge the choice without having made it. Raises RecapError where no run is
    finished, and for unknown metrics and baselines.
    """
    if not any(run.finished for run in runs):
        states = Counter(run.status for run in runs)
        raise RecapError(f"none of {len(runs)} runs is finished: {', '.join(f'{n} {s}' for s, n in states.items())}; nothing to compare")
    metrics = check_metrics(runs, metrics)
    keys = [key for key in keys if key != "seed"] if keys is not None else varied(runs)
    found, left_out = settings(runs, keys)
    better = direction(runs, metrics[0])

    def place(setting: Setting) -> tuple[bool, float]:
        values = setting.by_seed(metrics[0]).values()
        mean = sum(values) / len(values) if values else math.nan
        return math.isnan(mean), 0.0 if better is None or math.isnan(mean) else -mean if better else mean

    found.sort(key=place)
    reference = _baseline(found, baseline) if baseline else 0
    values = {metric: [setting.by_seed(metric) for setting in found] for metric in metrics}
    return Comparison(
        runs=list(runs),
        keys=keys,
        metrics=metrics,
        settings=found,
        reference=reference,
        chosen=baseline is not None,
        summaries={metric: [summary(list(v.values())) for v in vs] for metric, vs in values.items()},
        differences={metric: differences(vs, reference) for metric, vs in values.items()},
        left_out=left_out,
        notes=_notes(runs, metrics, left_out) + _noise(found, values),
    )


def direction(runs: Sequence[ComparedRun], metric: str) -> bool | None:
    """Whether more is better: as the runs' sweep was told, else as the metric's name says."""
    told = {run.objectives[metric] for run in runs if metric in run.objectives}
    return told.pop() if len(told) == 1 else higher_is_better(metric)


def check_metrics(runs: Sequence[ComparedRun], metrics: Sequence[str] = ()) -> list[str]:
    """The metrics that are meant, each of them there in a finished run."""
    known = dict.fromkeys(name for run in runs if run.finished for name in run.metrics)
    if not metrics:
        wanted = [*dict.fromkeys(name for run in runs for name in run.objectives), "test/auroc/mean"]
        return [name for name in wanted if name in known] or [name for name in ("score/mean", *known) if name in known][:1]
    for name in metrics:
        if name not in known:
            likely = [n for n in known if n.endswith("/mean")][:6] or list(known)[:6]
            raise RecapError(f"metric={name}: no finished run has it; there are {', '.join(likely)} and more{nearest(name, known)}")
    return list(dict.fromkeys(metrics))


def _baseline(found: Sequence[Setting], text: str) -> int:
    words = text.split()
    matches = [i for i, s in enumerate(found) if any(run.id.startswith(text) for run in s.runs)]
    matches = matches or [i for i, s in enumerate(found) if s.runs and s.label == text]
    matches = matches or [i for i, s in enumerate(found) if s.runs and set(words) <= set(s.label.split())]
    if len(matches) == 1:
        return matches[0]
    labels = [s.label for s in found if s.runs]
    said = f"means {len(matches)} settings" if matches else "is no setting or finished run"
    raise RecapError(f"baseline={text} {said} of these: {'; '.join(labels[:8])}{nearest(text, labels)}")


def _noise(found: Sequence[Setting], values: Mapping[str, Sequence[Values]]) -> list[str]:
    if len(found) > 1 and all(len(setting.runs) < 2 for setting in found):
        return ["one seed a setting: no difference can be told from noise; other seeds of the settings that matter would tell"]
    uneven = [metric for metric, vs in values.items() if len(vs) > 2 and not equally_noisy(vs)]
    return [f"{metric}: some settings vary more between seeds than others, so each is judged by its own seeds alone" for metric in uneven]


def _notes(runs: Sequence[ComparedRun], metrics: Sequence[str], left_out: Sequence[ComparedRun]) -> list[str]:
    counted = [run for run in runs if run not in left_out]
    notes = []
    if states := Counter(run.status for run in left_out if not run.finished):
        notes.append(f"not in the statistics: {', '.join(f'{count} {state}' for state, count in states.items())}")
    if repeated := [run for run in left_out if run.finished]:
        notes.append(f"{len(repeated)} runs repeat a setting and seed: the newest of each counts")
    for metric in metrics:
        if missing := [run for run in counted if math.isnan(run.metrics.get(metric, math.nan))]:
            notes.append(f"{metric} is missing or NaN in {len(missing)} of {len(counted)} runs: {', '.join(r.id for r in missing[:3])}…")
    for partition in dict.fromkeys(metric.split("/")[0].removeprefix("score_") for metric in metrics):
        digests = {run.digests.get(run.splits.get(partition, partition)) for run in counted if partition in run.splits}
        if len(digests) > 1:
            notes.append(f"not the same rows: the data of {partition} is of {len(digests)} kinds, so differences are the data's too")
    tasks = {tuple(sorted(key for key in run.settings if key.startswith("tasks.") and key.endswith(".label"))) for run in counted}
    if len(tasks) > 1 and any(metric.endswith("/mean") for metric in metrics):
        notes.append("not the same tasks: a mean over tasks is of other tasks in each")
    commits = sorted({run.commit or "unknown" for run in counted})
    if len(commits) > 1:
        notes.append(f"not the same code: commits {', '.join(c[:8] + '+' * c.endswith('+') for c in commits[:4])}")
    return notes
