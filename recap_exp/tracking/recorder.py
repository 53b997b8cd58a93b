"""The tracker: every call is a line in the run's journal; a sender process beside the program brings the lines to MLflow."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recap_exp.tracking.delivery import deliver
from recap_exp.tracking.destination import compare_url, run_url
from recap_exp.tracking.journal import Journal, records
from recap_exp.tracking.links import link
from recap_exp.tracking.run_file import update_run
from recap_exp.tracking.sender import ARTIFACTS
from recap_exp.tracking.tracker import RunInfo, Status
from recap_exp.whole import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

FINISH_S = 600.0
"""Longest wait for the store at the end of a run."""


class Recorder:
    """The Tracker of recap_exp.tracking.tracker. With uri None the journal goes nowhere."""

    def __init__(self, run: RunInfo, uri: str | None) -> None:
        self.run = run
        self._journal = Journal(run.folder)
        update_run(run.folder, status="RUNNING")
        # A run that was taken up again comes by steps that it has told of: the same numbers, told once.
        self._told = {(name, r["step"]) for r in records(run.folder) if r["k"] == "metrics" for name in r["v"]}
        self._artifacts = run.folder / ARTIFACTS
        self._tables: list[dict[str, str]] = []
        self._ended = False
        told: dict[str, Any] = {"experiment": run.experiment, "name": run.name, "tags": run.tags, "notes": run.notes}
        if run.parent:
            told["parent"] = run.parent
        if run.sweep:
            told["sweep"] = {"varied": list(run.sweep.varied), "objectives": dict(run.sweep.objectives)}
        self._journal.append("start", run=run.id, uri=uri, **told)
        self._delivery = deliver(run.folder, uri) if uri is not None else None

    def params(self, values: dict[str, Any]) -> None:
        self._journal.append("params", v={k: str(v) for k, v in values.items()})

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        new = {k: float(v) for k, v in values.items() if (k, step) not in self._told}
        if new:
            self._journal.append("metrics", step=step, v=new)

    def tags(self, values: dict[str, str]) -> None:
        self._journal.append("tags", v={k: str(v) for k, v in values.items()})

    def figure(self, figure: Figure, path: str) -> None:
        target = self._place(path)
        with whole(target, alone=True) as draft:
            figure.savefig(draft, dpi=110, format=target.suffix.lstrip(".") or "png")
        self._journal.append("artifact", path=path)

    def table(self, columns: dict[str, list[Any]], path: str) -> None:
        rows = [[_cell(value) for value in row] for row in zip(*columns.values(), strict=True)]
        if path.endswith(".json"):
            # the form and the tag by which MLflow's interface shows a table
            self.text(json.dumps({"columns": list(columns), "data": rows}), path)
            self._tables = [t for t in self._tables if t["path"] != path] + [{"path": path, "type": "table"}]
            self.tags({"mlflow.loggedArtifacts": json.dumps(self._tables)})
        else:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerows([list(columns), *rows])
            self.text(text.getvalue(), path)

    def text(self, text: str, path: str) -> None:
        with whole(self._place(path), alone=True) as draft:
            draft.write_text(text, encoding="utf-8")
        self._journal.append("artifact", path=path)

    def artifact(self, file: Path, folder: str = "") -> None:
        path = folder if file.is_dir() and folder else f"{folder}/{file.name}" if folder else file.name
        link(file, self._place(path))
        self._journal.append("artifact", path=path)

    def dataset(self, name: str, digest: str, context: str, source: str, schema: dict[str, Any], profile: dict[str, Any]) -> None:
        self._journal.append("dataset", name=name, digest=digest, context=context, source=source, schema=schema, profile=profile)

    def mlflow_run_id(self, timeout: float | None = 0.0) -> str | None:
        if self._delivery is not None:
            self._delivery.known.wait(timeout)
        return self._ids.get("mlflow_run_id")

    @property
    def _ids(self) -> dict[str, str]:
        return self._delivery.ids if self._delivery else {}

    @property
    def url(self) -> str | None:
        return run_url(self._ids["uri"], self._ids["experiment_id"], self._ids["mlflow_run_id"]) if self._ids else None

    @property
    def compare_url(self) -> str | None:
        sweep = self.run.id if self.run.sweep else None
        return compare_url(self._ids["uri"], self._ids["experiment_id"], sweep=sweep) if self._ids else None

    def finish(self, status: Status = "FINISHED", wait: bool = True) -> bool:
        if not self._ended:
            self._journal.append("end", status=status)
            update_run(self.run.folder, status=status)
            self._journal.close()
            self._ended = True
            if self._delivery:
                self._delivery.end()
        if self._delivery is None:
            return True
        done = self._delivery.wait(FINISH_S if wait else 0.0)
        if wait and not done:
            log.warning("not everything is in MLflow: `recap-exp send run=%s` sends the rest", self.run.id)
        return done

    def _place(self, path: str) -> Path:
        target = (self._artifacts / path).resolve()
        if not target.is_relative_to(self._artifacts.resolve()) or target == self._artifacts.resolve():
            raise ValueError(f"an artifact's path lies inside the run's artifacts, not at '{path}'")
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def _cell(value: Any) -> Any:
    """A table's cell as JSON and CSV take it: numpy's numbers become Python's, a missing one stays empty."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value
