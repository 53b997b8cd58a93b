"""How a run's records get to their store, as the program sees it that records them: one sender process for all its runs (follow.py)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recap_exp.tracking.follow import LOG
from recap_exp.tracking.journal import first_start
from recap_exp.tracking.sender import is_sent

log = logging.getLogger(__name__)

STRANGERS = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
"""Settings that would send a run into another one."""


class Delivery:
    """One run on its way. Nothing here waits for a store unless it is called `wait...`."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder, self.uri = folder, uri
        self.ids: dict[str, str] = {}
        """mlflow_run_id, experiment_id and uri, once the run is in its store."""
        self.known = threading.Event()
        """There are ids, or none will come."""
        self.ended = False
        self._settled = threading.Event()

    def end(self) -> None:
        """No more records: what is left is sent now."""
        self.ended = True
        self._settled.clear()
        _senders.ask(self)

    def wait(self, timeout: float | None) -> bool:
        """Waits until the end is sent or given up for now, at most `timeout` seconds; whether everything is sent."""
        self._settled.wait(timeout)
        return is_sent(self.folder)

    def hear(self, told: dict[str, Any]) -> None:
        """What the sender's process tells of this run."""
        if "mlflow_run_id" in told:
            self.ids = told
            self.known.set()
        elif "refused" in told:
            log.warning("MLflow did not take %s (it is in %s)", told["refused"], self.folder)
        elif "sent" in told:
            self.settle()

    def settle(self) -> None:
        """Nothing more is to be expected."""
        self.known.set()
        self._settled.set()


class SenderProcess:
    """The sender's process of this process, started for the first run. One that dies in the middle of its work is replaced."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._deliveries: dict[Path, Delivery] = {}
        self._failing: set[str] = set()
        """Stores, by uri, of which it has been said that they can't be reached."""

    def ask(self, delivery: Delivery) -> None:
        """Sends this run from now on, or what is left of it where it has ended."""
        with self._lock:
            self._deliveries[delivery.folder] = delivery
            if self._process is None:
                self._start(delivery.folder)
            else:
                self._request(delivery)

    def unsent(self) -> list[Delivery]:
        """Runs that have ended, and whose records are not all sent."""
        with self._lock:
            return [d for d in self._deliveries.values() if d.ended]

    def forget(self) -> None:
        """In a forked child the process is the parent's: its pipes close when the parent ends, whatever the child does."""
        if self._process is not None and self._process.stdin and self._process.stdout:
            with open(os.devnull, "r+b", buffering=0) as null:
                for pipe in (self._process.stdin, self._process.stdout):
                    os.dup2(null.fileno(), pipe.fileno())
        self.__init__()  # type: ignore[misc]

    def _start(self, folder: Path) -> None:
        env = {k: v for k, v in os.environ.items() if k not in STRANGERS}
        env = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", **env, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
        with open(folder / LOG, "ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "recap_exp.tracking.follow"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                env=env,
                process_group=0,  # Ctrl-C is the program's
            )
        for delivery in self._deliveries.values():
            self._request(delivery)
        threading.Thread(target=self._listen, args=(self._process,), name="recap-exp-tracking", daemon=True).start()

    def _request(self, delivery: Delivery) -> None:
        assert self._process and self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # the listener notices too, and replaces it
            self._process.stdin.write(json.dumps({"folder": str(delivery.folder), "ended": delivery.ended}).encode() + b"\n")

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """What the sender tells; ends with it."""
        assert process.stdin and process.stdout
        process.wait()  # it has left for itself: see follow.main
        useful = False
        for line in process.stdout:
            with contextlib.suppress(ValueError):
                useful |= self._hear(json.loads(line))
        with self._lock:
            process.stdin.close()
            process.stdout.close()
            self.pid = self._process = None
            if self._deliveries and useful:
                self._start(next(iter(self._deliveries)))
            else:  # it can't live: the next run may try again
                for delivery in self._deliveries.values():
                    delivery.settle()

    def _hear(self, told: dict[str, Any]) -> bool:
        """Whether a run has come further."""
        if "pid" in told:
            self.pid = told["pid"]
            return False
        with self._lock:
            delivery = self._deliveries.get(Path(told["folder"]))
            if delivery and told.get("sent"):
                del self._deliveries[delivery.folder]
        if delivery:
            if "failed" in told and delivery.uri not in self._failing:
                log.warning("MLflow can't be reached now (%s): records wait in %s, training goes on", told["failed"], delivery.folder)
                self._failing.add(delivery.uri)
            elif told.get("sent"):
                self._failing.discard(delivery.uri)
            delivery.hear(told)
        return "failed" not in told


_senders = SenderProcess()
os.register_at_fork(after_in_child=_senders.forget)


def deliver(folder: Path, uri: str) -> Delivery:
    """Starts to send the run in `folder`, whose journal has begun, to the store at `uri`."""
    delivery = Delivery(folder, uri)
    _senders.ask(delivery)
    return delivery


def drain(timeout: float | None = None, also: Iterable[Path] = ()) -> list[str]:
    """Waits, at most `timeout` seconds, until every ended run of this process is in its store; returns the ids of those that are not.

    also: folders of runs that other processes recorded; what they left unsent is sent from here. Runs that go to no store are left out.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    waiting = {d.folder: d for d in _senders.unsent()}
    for folder in also:
        start = first_start(folder)
        if folder not in waiting and start and start["uri"] and not is_sent(folder):
            waiting[folder] = Delivery(folder, start["uri"])
    for delivery in waiting.values():
        delivery.end()
    return [d.folder.name for d in waiting.values() if not d.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))]
