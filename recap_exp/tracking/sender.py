"""Carries a run's journal to its MLflow store.

What has surely arrived is noted in sent.json; a record sent twice changes nothing, so that a crash between the two costs nothing.
One sender a run at a time, by a lock.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recap_exp.errors import first_line
from recap_exp.tracking.destination import run_url
from recap_exp.tracking.journal import RECORDS, Record, first_start, is_being_written, read, records
from recap_exp.tracking.run_file import update_run
from recap_exp.whole import whole

if TYPE_CHECKING:
    from mlflow.entities import Run

    from recap_exp.tracking.store import Store

SENT = "sent.json"
ARTIFACTS = "artifacts"
BATCH = {"metrics": 900, "params": 90, "tags": 90}
"""Most items of a kind in one call; MLflow's limits are 1000, 100, 100, and 1000 in all."""


def sent(folder: Path) -> dict[str, Any]:
    """What is known to be in the store: offset of the journal, MLflow's ids; {} where nothing is."""
    try:
        return json.loads((folder / SENT).read_text())
    except (OSError, ValueError):
        return {}


def is_sent(folder: Path) -> bool:
    """Whether every record has arrived, and the run is closed there and stands under its parent."""
    state = sent(folder)
    try:
        return bool(state.get("closed")) and not state.get("awaits") and state["offset"] == (folder / RECORDS).stat().st_size
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def only_sender(folder: Path) -> Iterator[bool]:
    """True for the one process that may send this run now."""
    with open(folder / f".{SENT}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


class Sender:
    """One run on its way to its store. Any exception leaves what has been sent noted, and the next call goes on from there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: dict[str, Any] = {"offset": 0, "mlflow_run_id": None, "awaits": None, **sent(folder)}
        self.refused: list[str] = []
        """What MLflow would not take, a line each."""
        self._run: Run | None = None

    def send(self) -> int:
        """Everything that the journal has beyond what was sent; returns how many records that were."""
        count, offset = 0, self.state["offset"]
        pending: dict[str, list[Any]] = {k: [] for k in BATCH}
        for record, end in read(self.folder / RECORDS, offset):
            self.open()
            if record["k"] not in BATCH:
                self._flush(pending, offset)
                self._single(record)
                self._note(end)
            elif self._add(record, pending):
                self._flush(pending, end)
            offset = end
            count += 1
        self._flush(pending, offset)
        self._link()
        return count

    def close_abandoned(self) -> None:
        """A run whose process died without a last word is closed as KILLED at its last record."""
        last, _ = collections.deque(read(self.folder / RECORDS), maxlen=1).pop()
        if last["k"] == "end" or is_being_written(self.folder):
            return
        run = self.open()
        self.store.end(run.info.run_id, "KILLED", last["t"])
        self._note(self.state["offset"], closed=True)

    def ids(self) -> dict[str, str]:
        """Where the run is in the store; created there where it isn't yet."""
        if self.state["mlflow_run_id"] is None:
            self.open()
        return {k: self.state[k] for k in ("mlflow_run_id", "experiment_id", "uri")}

    @cached_property
    def _start(self) -> Record:
        start = first_start(self.folder)
        assert start, "a journal begins with a start"
        return start

    @property
    def store(self) -> Store:
        """The store, created at first use."""
        from recap_exp.tracking.store import open_store

        return open_store(self._start["uri"])

    def open(self) -> Run:
        """The run in the store, created where it is not there yet."""
        if self._run is None:
            uri = self._start["uri"]
            self._run = self.store.run(self._start, self.state["mlflow_run_id"])
            found = {"mlflow_run_id": self._run.info.run_id, "experiment_id": self._run.info.experiment_id}
            self._note(self.state["offset"], **found, uri=uri, closed=False)
            update_run(self.folder, mlflow_run_id=found["mlflow_run_id"], tracking_uri=uri, url=run_url(uri, *reversed(found.values())))
        return self._run

    def _add(self, record: Record, pending: dict[str, list[Any]]) -> bool:
        """The record's items beside those that wait; True where a call is full."""
        from recap_exp.tracking import store

        kind, values = record["k"], record["v"].items()
        if kind == "metrics":
            pending[kind] += [store.metric(n, v, record["t"], record.get("step") or 0) for n, v in values]
        else:
            pending[kind] += [getattr(store, kind[:-1])(n, v) for n, v in values]
        return sum(map(len, pending.values())) >= BATCH["metrics"] or any(len(pending[k]) >= n for k, n in BATCH.items())

    def _flush(self, pending: dict[str, list[Any]], offset: int) -> None:
        """What waits, in calls of MLflow's size; then everything up to `offset` has arrived."""
        self._unique(pending)
        while any(pending.values()):
            call = {k: items[: BATCH[k]] for k, items in pending.items()}
            call["metrics"] = call["metrics"][: BATCH["metrics"] - len(call["params"]) - len(call["tags"])]
            self.refused += self.store.batch(self.state["mlflow_run_id"], **call)
            for kind, items in call.items():
                del pending[kind][: len(items)]
        if offset > self.state["offset"]:
            self._note(offset)

    def _unique(self, pending: dict[str, list[Any]]) -> None:
        """One value a name, as MLflow wants it within a call: the last of a tag, the first of a param, which never changes."""
        pending["tags"] = list({tag.key: tag for tag in pending["tags"]}.values())
        first: dict[str, Any] = {}
        for param in pending["params"]:
            if first.setdefault(param.key, param).value != param.value:
                self.refused.append(f"param {param.key}={param.value}: it is {first[param.key].value} already")
        pending["params"] = list(first.values())

    def _single(self, record: Record) -> None:
        from mlflow.exceptions import MlflowException

        from recap_exp.tracking.store import is_refusal
        from recap_exp.tracking.views import show_run, show_sweep

        run, kind = self.open(), record["k"]
        try:
            if kind == "artifact":
                self.store.artifact(run, self.folder / ARTIFACTS / record["path"], record["path"])
            elif kind == "dataset":
                self.store.dataset(run.info.run_id, record)
            elif kind == "end":
                self.store.end(run.info.run_id, record["status"], record["t"])
                show_run(self.store, run.info.run_id, self._sweep())
                self.state["closed"] = True
            elif kind == "start":
                if self.state.get("closed"):
                    self._run = self.store.run(record, run.info.run_id)
                    self.state["closed"] = False
                if "sweep" in record:
                    show_sweep(self.store, run.info.experiment_id, {"run": record["run"], **record["sweep"]})
                if parent := record.get("parent"):
                    self.state["awaits"] = parent
                    self._link()
        except (MlflowException, FileNotFoundError) as error:
            if isinstance(error, MlflowException) and not is_refusal(error):
                raise
            self.refused.append(f"{kind} {record.get('path') or record.get('name')}: {first_line(error)}")

    def _sweep(self) -> dict[str, Any] | None:
        """What the parent says of itself, where it is a sweep whose folder is here."""
        parent = self._start.get("parent")
        start = first_start(self.folder.parent / parent) if parent else None
        return {"run": parent, **start["sweep"]} if start and "sweep" in start else None

    def _link(self) -> None:
        """Puts the run under its parent as soon as that is in the store; a parent that goes to no store or another one is not awaited."""
        parent = self.state.get("awaits")
        if parent is None:
            return
        folder = self.folder.parent / parent
        told = sent(folder)
        found = told["mlflow_run_id"] if told.get("uri") == self.state["uri"] else self.store.find(parent)
        if found:
            self.store.adopt(self.state["mlflow_run_id"], found)
        if found or not any(r["uri"] == self.state["uri"] for r in records(folder) if r["k"] == "start"):
            self._note(self.state["offset"], awaits=None)

    def _note(self, offset: int, **fields: Any) -> None:
        self.state |= {"offset": offset, **fields}
        with whole(self.folder / SENT, alone=True) as draft:
            draft.write_text(json.dumps(self.state))


def one_line(error: BaseException) -> str:
    """An error in one short line."""
    return f"{type(error).__name__}: {first_line(error)[:300]}"
