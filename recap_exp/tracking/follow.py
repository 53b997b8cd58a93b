"""The sender's process beside a program that records runs: neither mlflow's import nor its work holds the program's GIL.

    python -m recap_exp.tracking.follow

reads a JSON object a line from standard input: {"folder": FOLDER, "ended": false} sends that run's records.jsonl as it grows, `true` what
is left of it. It tells on standard output of each folder its ids, failures, refusals, and at its end whether it is sent or given up.
When its standard input closes, whoever recorded is gone: it sends what is left and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from pathlib import Path
from typing import Any

from recap_exp.tracking.sender import Sender, is_sent, one_line, only_sender

LOG = "sender.log"
POLL_S = 1.0
LONGEST_WAIT_S = 60.0
PATIENCE = 10
"""Last attempts at a run, a second apart: a dying program lets go of its journal, a parent comes to the store."""
LAST_FAILURES = 2
"""Of them, most that a store may fail."""


class Followed:
    """One run that is being sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.due = 0.0
        self.ending = False
        self._patience, self._wait = PATIENCE, POLL_S
        self._told = self._reported = False
        self._sender: Sender | None = None
        self._alone = contextlib.ExitStack()

    def end(self) -> None:
        """No more is to come: what there is, is sent now, or given up for now."""
        self.ending, self.due, self._patience, self._wait = True, 0.0, PATIENCE, POLL_S

    def step(self) -> bool:
        """Sends everything new. False where all is sent, or given up."""
        if not self.folder.is_dir():
            self._tell(sent=False)
            return False
        failure = None
        if not is_sent(self.folder):
            failure = self._attempt()
        if is_sent(self.folder):
            self._alone.close()
            self._tell(sent=True)
            return False
        if failure and not self._reported:
            self._tell(failed=failure)
            self._reported = True
        if self.ending:
            self._patience -= PATIENCE // LAST_FAILURES if failure else 1
            if self._patience <= 0:
                self._alone.close()
                self._tell(sent=False)
                return False
        self._wait = min(2 * self._wait, LONGEST_WAIT_S) if failure and not self.ending else POLL_S
        self.due = time.monotonic() + self._wait
        return True

    def _attempt(self) -> str | None:
        """Everything new, unless another process sends this run now. Returns what failed, in a line."""
        try:
            if self._sender is None:
                if not self._alone.enter_context(only_sender(self.folder)):
                    self._alone.close()
                    return None
                self._sender = Sender(self.folder)
            say_in(self.folder / LOG)
            if not self._told:
                self._tell(**self._sender.ids())
                self._told = True
            self._sender.send()
            if self.ending:
                self._sender.close_abandoned()
            return None
        except Exception as error:  # whatever a store can throw: the program must hear of it, and never feel it
            return one_line(error)
        finally:
            while self._sender and self._sender.refused:
                self._tell(refused=self._sender.refused.pop(0))

    def _tell(self, **fields: Any) -> None:
        tell(folder=str(self.folder), **fields)


def tell(**fields: Any) -> None:
    """A line to the program on standard output."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(fields).encode() + b"\n")


def say_in(log: Path) -> None:
    """What libraries say on standard error goes to the end of `log` from now on."""
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 2)


def asked(runs: dict[str, Followed], unread: bytearray) -> bool:
    """What standard input has now; False where it is closed."""
    if not (chunk := os.read(0, 65536)):
        return False
    unread += chunk
    *lines, rest = unread.split(b"\n")
    unread[:] = rest
    for request in map(json.loads, lines):
        run = runs.setdefault(request["folder"], Followed(Path(request["folder"])))
        if request["ended"]:
            run.end()
        else:  # perhaps taken up again
            run.ending = False
    return True


def step(runs: dict[str, Followed]) -> None:
    """Every run whose time has come; runs that are done leave."""
    for name, run in list(runs.items()):
        if run.due <= time.monotonic() and not run.step():
            del runs[name]


def wait(runs: dict[str, Followed]) -> float | None:
    """Seconds until the next run is due; None where there is none."""
    return max(0.0, min(run.due for run in runs.values()) - time.monotonic()) if runs else None


def main() -> None:
    """Until the program is gone and what it recorded is sent, or the store has failed for the last time."""
    if os.fork():
        os._exit(0)  # now nobody's child: whoever ends the program and all its children, as process pools do, leaves the sender
    os.setsid()
    tell(pid=os.getpid())
    runs: dict[str, Followed] = {}
    unread = bytearray()
    while not select.select([0], [], [], wait(runs))[0] or asked(runs, unread):
        step(runs)
    for run in runs.values():
        run.end()
    while runs:
        time.sleep(wait(runs) or 0.0)
        step(runs)


if __name__ == "__main__":
    main()
