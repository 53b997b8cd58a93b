"""An MLflow store as the sender needs it: created once by whoever comes first, written through the client, without global state.

Reached only in the sender's process and in commands: importing mlflow takes seconds.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.uri import is_local_uri

from recap_exp.errors import first_line
from recap_exp.tracking.destination import artifacts_dir, database, is_server
from recap_exp.tracking.door import Door, alone
from recap_exp.tracking.links import link
from recap_exp.whole import draft_of, remove_drafts

MAX_PARAM, MAX_TAG, MAX_NAME, MAX_DIGEST = 6000, 8000, 250, 36
"""MLflow's limits, in characters."""
OWN_ID = "recap.run"
"""Tag that carries the run's own id: by it a run is found again that was created but not noted."""
ERROR = "recap.error"
"""Tag of a failed run: what failed, in a line."""
PRUNED = "recap.pruned"
"""Tag of a run that was ended early, because others do better."""
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Spares the user the interface's question what kind of experiment this is."""


class Store:
    """One MLflow store. Every method may be called again with the same values and changes nothing then."""

    def __init__(self, uri: str) -> None:
        self.uri, self.door = uri, Door(uri)
        with self.door:
            if not is_server(uri):
                _create_or_migrate(uri)
            self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            self.client.search_experiments(max_results=1)

    @alone
    def experiment(self, name: str) -> str:
        """Id of the experiment of this name, created where there is none, restored where it was deleted."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            folder = artifacts_dir(self.uri)
            try:
                return self.client.create_experiment(name, artifact_location=folder.as_uri() if folder else None, tags=EXPERIMENT_TAGS)
            except MlflowException as error:
                found = self.client.get_experiment_by_name(name)  # another process was faster
                if found is None:
                    raise error
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    @alone
    def run(self, start: dict[str, Any], mlflow_run_id: str | None) -> Run:
        """The run of this start record: the one known by id or by our own id, set running again; else a new one."""
        if mlflow_run_id is None:
            experiment = self.experiment(start["experiment"])
            found = self.client.search_runs([experiment], filter_string=f"tags.`{OWN_ID}` = '{start['run']}'", max_results=1)
            if not found:
                tags = {OWN_ID: start["run"], **({"mlflow.note.content": start["notes"]} if start["notes"] else {}), **start["tags"]}
                tags = {_name(k): _cut(str(v), MAX_TAG) for k, v in tags.items()}
                return self.client.create_run(experiment, start_time=start["t"], tags=tags, run_name=start["name"])
            mlflow_run_id = found[0].info.run_id
        run = self.client.get_run(mlflow_run_id)
        if run.info.status != "RUNNING":
            self.client.update_run(mlflow_run_id, status="RUNNING")
            for tag in {ERROR, PRUNED} & run.data.tags.keys():  # of an end that was not the last
                self.client.delete_tag(mlflow_run_id, tag)
        return run

    @alone
    def batch(self, run_id: str, metrics: list[Metric], params: list[Param], tags: list[RunTag]) -> list[str]:
        """All of it in one call; where MLflow refuses the content, one by one. Returns a line for each that it refused."""
        try:
            self.client.log_batch(run_id, metrics=metrics, params=params, tags=tags, synchronous=True)
            return []
        except MlflowException as error:
            if not is_refusal(error):
                raise
        singles: list[tuple[str, Any]] = [("metrics", m) for m in metrics] + [("params", p) for p in params] + [("tags", t) for t in tags]
        refused = []
        for kind, one in singles:
            try:
                self.client.log_batch(run_id, **{kind: [one]}, synchronous=True)  # type: ignore[arg-type]
            except MlflowException as error:
                if not is_refusal(error):
                    raise
                refused.append(f"{kind[:-1]} {one.key}={one.value}: {first_line(error)}")
        return refused

    @alone
    def dataset(self, run_id: str, record: dict[str, Any]) -> None:
        """The data of one split, as MLflow shows it: name, digest, context, columns, size."""
        schema = record["schema"]
        if schema and all(isinstance(kind, str) for kind in schema.values()):
            schema = {"mlflow_colspec": [{"name": name, "type": kind, "required": True} for name, kind in schema.items()]}
        dataset = Dataset(
            name=record["name"][:500],
            digest=record["digest"].removeprefix("sha256:")[:MAX_DIGEST],
            source_type="local",
            source=json.dumps({"uri": record["source"]}),
            schema=json.dumps(schema),
            profile=json.dumps(record["profile"]),
        )
        self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", record["context"])])])

    def artifact(self, run: Run, file: Path, path: str) -> None:
        """A file or folder at `path` of the run's artifacts: linked where they lie on this disk, else uploaded."""
        uri = run.info.artifact_uri
        if is_local_uri(uri) and not is_server(self.uri):
            link(file, Path(local_file_uri_to_path(uri)) / path)
        elif file.is_dir():
            self.client.log_artifacts(run.info.run_id, str(file), path)
        else:
            self.client.log_artifact(run.info.run_id, str(file), str(Path(path).parent) if "/" in path else None)

    @alone
    def find(self, own_id: str) -> str | None:
        """MLflow's id of the run that has this id of ours, in whatever experiment; None where it isn't here yet."""
        experiments = [e.experiment_id for e in self.client.search_experiments()]
        found = self.client.search_runs(experiments, filter_string=f"tags.`{OWN_ID}` = '{own_id}'", max_results=1)
        return found[0].info.run_id if found else None

    @alone
    def adopt(self, run_id: str, parent: str) -> None:
        """Shows the run under its parent."""
        self.client.set_tag(run_id, MLFLOW_PARENT_RUN_ID, parent)

    @alone
    def end(self, run_id: str, status: str, at: int) -> None:
        """The run is over since `at` (ms). MLflow knows no PRUNED: such a run is killed, and tagged."""
        if status == "PRUNED":
            self.client.set_tag(run_id, PRUNED, "true")
        self.client.set_terminated(run_id, status="KILLED" if status == "PRUNED" else status, end_time=at)


@functools.cache
def open_store(uri: str) -> Store:
    """The store at `uri`, opened once a process."""
    return Store(uri)


def metric(name: str, value: float, at: int, step: int) -> Metric:
    """MLflow keeps one point for each name, time, step and value: a point sent twice is there once."""
    return Metric(_name(name), value, at, step)


def param(name: str, value: Any) -> Param:
    """Cut to MLflow's limit, with a note."""
    return Param(_name(name), _cut(str(value), MAX_PARAM))


def tag(name: str, value: Any) -> RunTag:
    """Cut to MLflow's limit, with a note."""
    return RunTag(_name(name), _cut(str(value), MAX_TAG))


def is_refusal(error: MlflowException) -> bool:
    """Whether the store works and the content is what it won't take."""
    return error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


def _name(name: str) -> str:
    """A name as MLflow takes it: other characters become _, and it can't be read as another path."""
    parts = [p for p in re.sub(r"[^/\w.\- :]", "_", name).split("/") if p not in ("", ".", "..")]
    return "/".join(parts)[:MAX_NAME] or "_"


def _cut(text: str, limit: int) -> str:
    note = f" ... [cut: {len(text)} characters, the whole is in records.jsonl]"
    return text if len(text) <= limit else text[: limit - len(note)] + note


def _create_or_migrate(uri: str) -> None:
    """A new database, or an older MLflow's brought up to date.

    A new SQLite file gets its name once it is whole: MLflow doesn't survive tables that a killed process has made half of.
    """
    if not uri.startswith("sqlite:") or (path := database(uri)).exists():
        _bring_up_to_date(uri)
        return
    remove_drafts(path)
    draft = draft_of(path)
    draft.mkdir()
    _bring_up_to_date(f"sqlite:///{draft / path.name}")
    (draft / path.name).rename(path)
    draft.rmdir()


def _bring_up_to_date(uri: str) -> None:
    from mlflow.store.db import utils as db

    engine = db.create_sqlalchemy_engine_with_retry(uri)
    if not db._all_tables_exist(engine):
        db._initialize_tables(engine)
    elif db._get_schema_version(engine) != db._get_latest_schema_revision():
        db._upgrade_db(engine)
    engine.dispose()
