"""The sender's process beside a training: neither mlflow's import nor its work holds the training's GIL.

    python -m recap_exp.tracking.follow FOLDER

sends records.jsonl as it grows. When its standard input gets a byte or closes, it sends what is left and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

from recap_exp.tracking.sender import Sender, is_sent, one_line, only_sender

POLL_S = 1.0
LONGEST_WAIT_S = 60.0
LAST_ATTEMPTS = 2
DEATH_S = 10
"""How long a dying training may take to let go of its journal."""


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
