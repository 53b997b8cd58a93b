"""Carries a run's journal to its MLflow store, in a process of its own: neither mlflow's import nor its work holds the training's GIL.

    python -m recap_exp.tracking.sender FOLDER

reads records.jsonl as it grows, until its standard input closes: then it sends what is left and ends. What has surely arrived is
noted in sent.json; a record sent twice changes nothing, so that a crash between the two costs nothing. One sender a run, by a lock.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import json
import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recap_exp.tracking.journal import RECORDS, Record, is_being_written, read

if TYPE_CHECKING:
    from mlflow.entities import Run

    from recap_exp.tracking.store import Store

SENT = "sent.json"
ARTIFACTS = "artifacts"
BATCH = {"metrics": 900, "params": 90, "tags": 90}
"""Most items of a kind in one call; MLflow's limits are 1000, 100, 100, and 1000 in all."""
POLL_S = 1.0
LONGEST_WAIT_S = 60.0
LAST_ATTEMPTS = 2
DEATH_S = 10
"""How long a dying training may take to let go of its journal."""


def sent(folder: Path) -> dict[str, Any]:
    """What is known to be in the store: offset of the journal, MLflow's ids; {} where nothing is."""
    try:
        return json.loads((folder / SENT).read_text())
    except (OSError, ValueError):
        return {}


def is_sent(folder: Path) -> bool:
    """Whether every record has arrived and the run is closed there."""
    state = sent(folder)
    return bool(state.get("closed")) and state["offset"] == (folder / RECORDS).stat().st_size


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
        self.state: dict[str, Any] = {"offset": 0, "mlflow_run_id": None, **sent(folder)}
        self.refused: list[str] = []
        """What MLflow would not take, a line each."""
        self.told = False
        self._store: Store | None = None
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
        return count

    def close_abandoned(self) -> None:
        """A run whose process died without a last word is closed as KILLED at its last record."""
        last, _ = collections.deque(read(self.folder / RECORDS), maxlen=1).pop()
        if last["k"] == "end" or is_being_written(self.folder):
            return
        run = self.open()
        self.store.end(run.info.run_id, "KILLED", last["t"])
        self._note(self.state["offset"], closed=True)

    @property
    def store(self) -> Store:
        """The store, created at first use."""
        from recap_exp.tracking.store import Store

        if self._store is None:
            self._store = Store(self._start["uri"])
        return self._store

    def open(self) -> Run:
        """The run in the store, created where it is not there yet."""
        if self._run is None:
            self._start = next(record for record, _ in read(self.folder / RECORDS) if record["k"] == "start")
            self._run = self.store.run(self._start, self.state["mlflow_run_id"])
            info = self._run.info
            self._note(
                self.state["offset"], mlflow_run_id=info.run_id, experiment_id=info.experiment_id, uri=self._start["uri"], closed=False
            )
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
        # of two values of one name within a call, MLflow takes the last tag and refuses the second param
        pending["params"] = list({p.key: p for p in reversed(pending["params"])}.values())[::-1]
        while any(pending.values()):
            call = {k: items[: BATCH[k]] for k, items in pending.items()}
            call["metrics"] = call["metrics"][: BATCH["metrics"] - len(call["params"]) - len(call["tags"])]
            self.refused += self.store.batch(self.state["mlflow_run_id"], **call)
            for kind, items in call.items():
                del pending[kind][: len(items)]
        if offset > self.state["offset"]:
            self._note(offset)

    def _single(self, record: Record) -> None:
        from mlflow.exceptions import MlflowException

        from recap_exp.tracking.columns import show_columns
        from recap_exp.tracking.store import is_refusal

        run, kind = self.open(), record["k"]
        try:
            if kind == "artifact":
                self.store.artifact(run, self.folder / ARTIFACTS / record["path"], record["path"])
            elif kind == "dataset":
                self.store.dataset(run.info.run_id, record)
            elif kind == "end":
                self.store.end(run.info.run_id, record["status"], record["t"])
                show_columns(self.store.client, run.info.run_id)
                self.state["closed"] = True
            elif kind == "start" and self.state.get("closed"):
                self._run = self.store.run(record, run.info.run_id)
                self.state["closed"] = False
        except (MlflowException, FileNotFoundError) as error:
            if isinstance(error, MlflowException) and not is_refusal(error):
                raise
            self.refused.append(f"{kind} {record.get('path') or record.get('name')}: {str(error).splitlines()[0]}")

    def _note(self, offset: int, **fields: Any) -> None:
        self.state |= {"offset": offset, **fields}
        half = self.folder / f".{SENT}"
        half.write_text(json.dumps(self.state))
        half.replace(self.folder / SENT)


def one_line(error: BaseException) -> str:
    """An error in one short line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def tell(**fields: Any) -> None:
    """A line to the training on standard output."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(fields).encode() + b"\n")


def attempt(sender: Sender) -> str | None:
    """Everything new; tells ids and refusals. Returns what failed, in a line."""
    try:
        known = sender.told
        sender.open()
        if not known:
            tell(**{k: sender.state[k] for k in ("mlflow_run_id", "experiment_id", "uri")})
            sender.told = True
        sender.send()
        return None
    except Exception as error:  # whatever a store can throw: the training must hear of it, and never feel it
        return one_line(error)
    finally:
        while sender.refused:
            tell(refused=sender.refused.pop(0))


def follow(sender: Sender) -> None:
    """Until the training says that it ends, by a byte or by its death on standard input."""
    wait, reported = POLL_S, False
    while True:
        failure = attempt(sender)
        if failure and not reported:
            tell(failed=failure)
            reported = True
        wait = min(2 * wait, LONGEST_WAIT_S) if failure else POLL_S
        if select.select([0], [], [], wait)[0]:
            return


def main() -> int:
    """The process beside a training. Tells it ids, failures and refusals on standard output, a JSON object a line."""
    folder = Path(sys.argv[1])
    with only_sender(folder) as alone:
        if not alone:
            tell(failed="another process sends this run")
            return 1
        sender = Sender(folder)
        follow(sender)
        for _ in range(LAST_ATTEMPTS):
            failure = attempt(sender)
            if failure is None:
                break
            time.sleep(POLL_S)
        else:
            tell(failed=failure)
            return 1
        for _ in range(DEATH_S):
            if is_sent(folder):
                break
            sender.close_abandoned()
            time.sleep(0 if is_sent(folder) else 1)
        return 0


if __name__ == "__main__":
    sys.exit(main())
