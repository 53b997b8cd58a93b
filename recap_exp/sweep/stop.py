"""Ctrl-C ends the jobs too, wherever they run, and marks those that could not do it themselves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from recap_exp.sweep.jobs import JobCard, Jobs

BY_THEMSELVES_S = 3.0
"""How long jobs have that a terminal's Ctrl-C has reached as well: a second one would meet them at their last words."""
PATIENCE_S = 15.0
"""How long those have that it has not."""


def stop_jobs(jobs: Jobs) -> None:
    """Interrupts every job that runs, waits, kills what is left, and marks as KILLED what has not marked itself."""
    wait(jobs, BY_THEMSELVES_S)
    for card in running(jobs):
        interrupt(card)
    wait(jobs, PATIENCE_S)
    for card in running(jobs):
        if is_alive(card):
            os.kill(card.place["pid"], signal.SIGKILL)
        jobs.change(card.number, status="KILLED")


def wait(jobs: Jobs, seconds: float) -> None:
    """Until no job runs on this machine, at most so long."""
    deadline = time.monotonic() + seconds
    while any(is_alive(card) for card in running(jobs)) and time.monotonic() < deadline:
        time.sleep(0.1)


def running(jobs: Jobs) -> list[JobCard]:
    """Jobs that say so of themselves."""
    return [card for card in jobs.all() if card.status == "RUNNING"]


def interrupt(card: JobCard) -> None:
    """What Ctrl-C does, to a job in another process: a signal on this machine, a cancellation on SLURM."""
    if slurm := card.place.get("slurm"):
        subprocess.run(["scancel", "--signal=INT", "--full", str(slurm)], check=False, capture_output=True)
    elif is_alive(card):
        os.kill(card.place["pid"], signal.SIGINT)


def is_alive(card: JobCard) -> bool:
    """Whether the job's process, another than this, runs on this machine."""
    pid = card.place.get("pid")
    if card.place.get("host") != socket.gethostname() or pid in (None, os.getpid()):
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
