"""`recap-exp send`: what a store did not get while a run went on, sent now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from recap_exp.errors import RecapError
from recap_exp.paths import runs_dir
from recap_exp.tracking.destination import run_url, ui_command
from recap_exp.tracking.journal import RECORDS, first_start, is_being_written


def unsent_runs(run: str = "all") -> Iterator[Path]:
    """Folders of runs whose records are not all in their store: every run, or the one of this id (or its beginning)."""
    from recap_exp.tracking.sender import is_sent

    folders = sorted(p.parent for p in runs_dir().glob(f"*/{RECORDS}"))
    if run != "all":
        folders = [f for f in folders if f.name == run] or [f for f in folders if f.name.startswith(run)]
        if len(folders) != 1:
            raise RecapError(
                f"run={run} means {len(folders) or 'no'} run{'s' * (len(folders) != 1)} in {runs_dir()}; give a run's id, or all"
            )
    for folder in folders:
        start = first_start(folder)
        if start and start["uri"] and not is_sent(folder):
            yield folder


def send(run: str = "all") -> int:
    """Sends what is unsent, with the times at which it was recorded; prints a line a run. Returns how many runs could not be sent."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    folders, failed = list(unsent_runs(run)), 0
    for folder in folders:
        failed += not _send_one(folder)
    if not folders:
        print("nothing to send: every record is in its store")
    return failed


def _send_one(folder: Path) -> bool:
    from recap_exp.tracking.sender import Sender, one_line, only_sender

    with only_sender(folder) as alone:
        if not alone:
            print(f"{folder.name}: is being sent by its own run")
            return True
        sender = Sender(folder)
        try:
            count = sender.send()
            sender.close_abandoned()
        except Exception as error:  # whatever a store can throw: the other runs may do better
            print(f"{folder.name}: failed, {one_line(error)}")
            return False
        finally:
            for line in sender.refused:
                print(f"{folder.name}: MLflow did not take {line}")
        state = sender.state
        url = run_url(state["uri"], state["experiment_id"], state["mlflow_run_id"])
        going = ", still running" if is_being_written(folder) else ""
        going += f", not under its parent, which is not in the store: `recap-exp send run={parent}`" if (parent := state["awaits"]) else ""
        opener = f" (after `{command}`)" if (command := ui_command(state["uri"])) else ""
        print(f"{folder.name}: sent {count} records{going}; {url}{opener}")
        return True
