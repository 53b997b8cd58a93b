"""What MLflow's interface shows of an experiment's runs, and of one sweep's: views stored with the experiment, each opened by a link.

By itself the interface shows neither params nor metrics in its list until somebody picks them, in each browser anew, and a chart of each of
hundreds of metrics.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mlflow import MlflowClient

from recap_exp.tracking.destination import VIEW, sweep_view_key
from recap_exp.tracking.store import Store

TAG = "mlflow.sharedViewState."
FIXED = ("attributes.`Run Name`", "runDateAndNestInfo")
"""Columns that MLflow always shows: name, age and status; and at the end, the duration."""
MOST = 14
"""Columns that a screen takes."""
TELLING = ("auroc", "rce", "loss")
"""Metrics that sum a ranker's run up better than others."""
OF_LINKS = ("mrr", "hits_at_10", "mean_rank", "baseline_mrr/degree")
"""What sums up a run of a graph's embeddings, behind the partition."""
CHOSEN = "chosen"
"""Section of the charts that are seen at once; the others are folded away."""

View = dict[str, Any]


def show_run(store: Store, run_id: str, sweep: View | None = None) -> None:
    """The views of the run's experiment and of the sweep that it is a job of show its params and metrics, beside those of earlier runs.

    sweep: what the sweep said of itself when it began: run, varied, objectives.
    """
    with store.door:
        run = store.client.get_run(run_id)
        shown = columns(run.data.params, run.data.metrics)
        _store(store.client, run.info.experiment_id, VIEW, lambda before: experiment_view(shown, before))
        if sweep:
            _show(store.client, run.info.experiment_id, sweep, run.data.metrics)


def show_sweep(store: Store, experiment_id: str, sweep: View) -> None:
    """The view of a sweep that begins."""
    with store.door:
        _show(store.client, experiment_id, sweep, ())


def columns(params: Iterable[str], metrics: Iterable[str]) -> list[str]:
    """Every param (they are few, and chosen) and what sums a run up: means over tasks outside training, and the score's own figures; of a
    graph's embeddings how true ends rank."""
    metrics = [m for m in metrics if not m.startswith(("train/", "perf/"))]
    chosen = sorted((m for m in metrics if m.endswith("/mean")), key=lambda m: (m.split("/")[-2] not in TELLING, m))
    ranked = [m for m in metrics if m.partition("/")[2] in OF_LINKS]
    chosen += sorted(ranked, key=lambda m: (OF_LINKS.index(m.partition("/")[2]), m))
    return [f"params.`{name}`" for name in sorted(params)][: MOST // 2 + 1] + [f"metrics.`{name}`" for name in chosen]


def experiment_view(shown: Sequence[str], before: View) -> View:
    """All runs, the newest first."""
    union = list(dict.fromkeys([*shown, *before.get("selectedColumns", [])]))[:MOST]
    union.sort(key=lambda column: not column.startswith("params."))
    return {**_columns(union), "orderByKey": "attributes.start_time", "orderByAsc": False}


def sweep_view(sweep: View, metrics: Iterable[str], before: View) -> View:
    """The sweep's jobs alone, the best first: what varies, the objectives, means; charts of the objectives, all others folded away."""
    varied, objectives = list(sweep["varied"]), dict(sweep["objectives"])
    first = [f"params.`{key}`" for key in varied] + [f"metrics.`{name}`" for name in objectives]
    union = list(dict.fromkeys([*first, *columns((), metrics), *before.get("selectedColumns", [])]))[: max(MOST, len(first))]
    sections = {name.rpartition("/")[0] for name in metrics} | {s["name"] for s in before.get("compareRunSections", [])} - {CHOSEN}
    charts = [_chart("PARALLEL", "", selectedParams=varied, selectedMetrics=list(objectives), showAllRuns=True)]
    charts += [_chart(kind, name) for name in objectives for kind in ("BAR", "LINE")]
    best = next(iter(objectives), None)
    return {
        "searchFilter": f"tags.`recap.sweep` = '{sweep['run']}'",
        "orderByKey": f"metrics.`{best}`" if best else "attributes.start_time",
        "orderByAsc": best is None or objectives[best] == "minimize",
        **_columns(union),
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": [*charts, _chart("LINE", "train/loss")],
        "compareRunSections": [_section(CHOSEN, True), *(_section(name, False) for name in sorted(sections))],
        "isAccordionReordered": True,  # else MLflow sorts the sections by name
    }


def packed(view: View) -> str:
    """As MLflow's interface shortens a view: an experiment's tag holds 5000 characters in some stores."""
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(view).encode())).decode()


def unpacked(text: str) -> View:
    """A stored view, shortened or not."""
    return dict(json.loads(zlib.decompress(base64.b64decode(text[8:])) if text.startswith("deflate;") else text))


def _show(client: MlflowClient, experiment_id: str, sweep: View, metrics: Iterable[str]) -> None:
    _store(client, experiment_id, sweep_view_key(sweep["run"]), lambda before: sweep_view(sweep, metrics, before))


def _store(client: MlflowClient, experiment_id: str, key: str, change: Callable[[View], View]) -> None:
    stored = client.get_experiment(experiment_id).tags.get(TAG + key)
    before = unpacked(stored) if stored else {}
    if (after := change(before)) != before:
        client.set_experiment_tag(experiment_id, TAG + key, packed(after))


def _columns(chosen: list[str]) -> View:
    """Params before metrics, which MLflow would show first, and each as wide as its name."""
    widths = {column: min(260, max(90, 30 + 7 * len(column.split("`")[1]))) for column in chosen}
    return {"selectedColumns": chosen, "columnOrder": [*FIXED, *chosen, "duration"], "columnWidths": widths}


def _chart(kind: str, metric: str, **fields: Any) -> View:
    """A chart's card, with all that MLflow's interface expects of its kind."""
    card = {"uuid": f"{kind} {metric}", "type": kind, "metricSectionId": CHOSEN, "runsCountToCompare": 20, "deleted": False} | fields
    card["isGenerated"] = False
    if metric:
        card |= {"metricKey": metric, "displayName": metric}
    if kind == "LINE":
        card |= {"selectedMetricKeys": [metric], "xAxisKey": "step", "yAxisKey": "metric", "yAxisExpressions": [], "range": {}}
        card |= {"xAxisScaleType": "linear", "scaleType": "linear", "selectedXAxisMetricKey": "", "lineSmoothness": 0}
        card |= {"ignoreOutliers": False, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}
    return card


def _section(name: str, display: bool) -> View:
    return {"uuid": name, "name": name, "display": display, "isReordered": True, "isGenerated": not display, "columns": 2}
