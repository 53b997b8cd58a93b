"""Which columns MLflow's interface shows in the list of an experiment's runs: a view stored with the experiment, opened by a link.

By itself the interface shows neither params nor metrics until somebody picks them, in each browser anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from mlflow import MlflowClient

from recap_exp.tracking.destination import VIEW
from recap_exp.tracking.store import Store

TAG = f"mlflow.sharedViewState.{VIEW}"
MOST = 14
"""Columns that a screen takes."""


def show_columns(store: Store, run_id: str) -> None:
    """The view of the run's experiment shows this run's params and its metrics' means, beside those of earlier runs."""
    with store.door:
        _show(store.client, run_id)


def _show(client: MlflowClient, run_id: str) -> None:
    run = client.get_run(run_id)
    experiment = client.get_experiment(run.info.experiment_id)
    shown = columns(run.data.params, run.data.metrics)
    before = json.loads(experiment.tags.get(TAG, "{}")).get("selectedColumns", [])
    union = list(dict.fromkeys([*shown, *before]))[:MOST]
    union.sort(key=lambda column: not column.startswith("params."))
    if union != before:
        view = {"selectedColumns": union, "orderByKey": "attributes.start_time", "orderByAsc": False}
        client.set_experiment_tag(experiment.experiment_id, TAG, json.dumps(view))


def columns(params: Iterable[str], metrics: Iterable[str]) -> list[str]:
    """Every param (they are few, and chosen) and what sums a run up: means over tasks outside training, and the score's own figures."""
    chosen = [m for m in sorted(metrics) if m.endswith("/mean") and not m.startswith(("train/", "perf/"))]
    return [f"params.`{name}`" for name in sorted(params)][: MOST // 2 + 1] + [f"metrics.`{name}`" for name in chosen]
