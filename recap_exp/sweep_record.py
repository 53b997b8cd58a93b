"""What is told of a sweep as a whole: the parent run of its jobs in MLflow, and the last words in the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recap_exp.comparison.compare import compare
from recap_exp.comparison.read import ComparedRun, read_runs
from recap_exp.comparison.tables import terminal_table
from recap_exp.config import ScoreConfig, TrainConfig
from recap_exp.paths import runs_dir
from recap_exp.runs import RunFolder
from recap_exp.sweep.best import front
from recap_exp.sweep.job import SWEEP, SweepCard
from recap_exp.sweep.jobs import JobCard, Jobs
from recap_exp.sweep.watch import values
from recap_exp.terminal import console
from recap_exp.tracking.delivery import drain
from recap_exp.tracking.destination import resolve_uri, ui_command
from recap_exp.tracking.environment import record_environment
from recap_exp.tracking.open import open_tracker
from recap_exp.tracking.recorder import FINISH_S
from recap_exp.tracking.tracker import RunInfo, Status, SweepView, Tracker


class SweepRecord:
    """Tells the tracker and the terminal how the sweep's jobs did."""

    def __init__(self, tracker: Tracker, folder: RunFolder, card: SweepCard, jobs: Jobs) -> None:
        self.tracker, self.folder, self.card, self.jobs = tracker, folder, card, jobs

    def progress(self) -> None:
        """The table of results so far."""
        self.tracker.table(self.table(), "sweep/results.json")
        self.tracker.table(self.table(), "sweep/results.csv")

    def table(self) -> dict[str, list[Any]]:
        """One row a job: what varies, what came out, its run, its time, its error."""
        cards = self.jobs.all()
        rows: dict[str, list[Any]] = {"job": [c.number + 1 for c in cards], "status": [c.status for c in cards]}
        rows |= {key: [_given(c).get(key) for c in cards] for key in self.card.varied}
        rows |= {name: [c.values.get(name) for c in cards] for name in self.card.objectives}
        rows |= {"seconds": [round(c.seconds, 1) for c in cards], "run": [c.run for c in cards], "error": [c.error or "" for c in cards]}
        return rows

    def best(self) -> list[JobCard]:
        """The best job; with several objectives those that no other beats in all of them."""
        return front([c for c in self.jobs.all() if c.status == "FINISHED"], self.card.objectives)

    def best_words(self) -> str:
        """The best so far, in a few words."""
        best = self.best()
        return f"best {values(best[0].values)}" if len(self.card.objectives) == 1 and best else ""

    def command(self, job: JobCard) -> str:
        """What runs the job's configuration again by itself."""
        return shlex.join(["recap-exp", self.card.command, *job.overrides])

    def close(self) -> None:
        """Results, pictures, the best job and its command."""
        self.progress()
        cards = self.jobs.all()
        counts = {status.lower(): sum(c.status == status for c in cards) for status in ("FINISHED", "PRUNED", "FAILED", "KILLED")}
        self.tracker.metrics({f"sweep/{name}": float(count) for name, count in counts.items() if count})
        if failed := [c for c in cards if c.status in ("FAILED", "KILLED")]:
            self.tracker.text("".join(f"job {c.number + 1}: {' '.join(c.overrides)}: {c.error}\n" for c in failed), "sweep/failed.txt")
        runs = read_runs([runs_dir() / c.run for c in cards if c.run])
        out = console()
        if any(run.finished for run in runs):
            self._pictures(runs)
            found = compare(runs, list(self.card.objectives) or ())
            for metric in found.metrics:
                out.print(terminal_table(found, metric))
        best = self.best()
        if len(self.card.objectives) == 1 and best:
            self.tracker.metrics(best[0].values)
            self.tracker.tags({"recap.best_run": str(best[0].run), "recap.best_command": self.command(best[0])})
        self.tracker.tags({"mlflow.note.content": self.notes(best, counts)})
        for job in best if self.card.objectives else []:
            out.print(f"best: job {job.number + 1}, run {job.run}: {values(job.values)}", highlight=False, soft_wrap=True)
            out.print(f"  {self.command(job)}", highlight=False, markup=False, soft_wrap=True)

    def notes(self, best: list[JobCard], counts: dict[str, int]) -> str:
        """The sweep's description in MLflow, in Markdown: its best jobs and their commands."""
        lines = [f"`recap-exp {self.card.command} -m {shlex.join(self.card.arguments)}`", ""]
        lines.append(", ".join(f"{count} {name}" for name, count in counts.items() if count) + ", in `sweep/results.json`")
        if self.card.objectives:
            for job in best:
                run = RunFolder(runs_dir() / str(job.run)).card
                link = f"[{job.run}]({run['url']})" if run.get("url") else str(job.run)
                lines += ["", f"**Best**: job {job.number + 1}, run {link}: {values(job.values)}", "", f"    {self.command(job)}"]
        return "\n".join(lines)

    def _pictures(self, runs: list[ComparedRun]) -> None:
        from recap_exp.comparison.importance import importance, importance_figure
        from recap_exp.comparison.parallel_coordinates import parallel_coordinates

        finished = [run for run in runs if run.finished]
        keys = [key for key in self.card.varied if len({str(run.settings.get(key)) for run in finished}) > 1]
        for metric in self.card.objectives if len(finished) > 1 and keys else []:
            name = metric.replace("/", "_")
            self.tracker.figure(parallel_coordinates(finished, keys, metric), f"sweep/{name}_parallel_coordinates.png")
            if len(finished) > 2:
                self.tracker.figure(importance_figure(importance(finished, keys, metric), metric), f"sweep/{name}_importance.png")


@contextmanager
def sweep_recording(cfg: TrainConfig | ScoreConfig, folder: RunFolder, card: SweepCard, jobs: Jobs) -> Iterator[SweepRecord]:
    """The sweep's own record, closed with the status that the block ends in, with whatever there is by then."""
    tracking = cfg.tracking
    info = RunInfo(
        id=folder.id,
        folder=folder.path,
        experiment=card.experiment,
        name=f"sweep {' '.join(card.arguments)}"[:120],
        tags={"recap.kind": "sweep", **tracking.tags},
        notes=tracking.notes,
        sweep=SweepView(varied=card.varied, objectives=card.objectives),
    )
    tracker = open_tracker(tracking, info)  # first: it refuses a sweep that another process works on
    card.write(folder.path)
    folder.note(varied=card.varied)
    record = SweepRecord(tracker, folder, card, jobs)
    status: Status = "FAILED"
    try:
        tracker.params({"sweep": cfg.sweep.kind, **{key: _spoken(card, key) for key in card.varied}})
        tracker.artifact(folder.path / SWEEP, "sweep")
        record_environment(tracker)
        yield record
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        record.close()
        tracker.finish(status, wait=False)
        unsent = drain(FINISH_S if status == "FINISHED" else STOPPED_S, also=[runs_dir() / c.run for c in jobs.all() if c.run])
        _last_words(tracker, folder, tracking.uri, unsent)


STOPPED_S = 20.0
"""Longest wait for the store after Ctrl-C."""


def _last_words(tracker: Tracker, folder: RunFolder, uri: str | None, unsent: list[str]) -> None:
    out = console()
    if unsent:
        out.print(f"not all of {len(unsent)} runs is in MLflow: `recap-exp send` sends the rest", soft_wrap=True, highlight=False)
    out.print(f"sweep {folder.id}: {folder.path}", soft_wrap=True, highlight=False)
    if tracker.url:
        opener = f"{command}, then " if (command := ui_command(resolve_uri(uri))) else ""
        out.print(f"see it in MLflow: {opener}{tracker.url}", soft_wrap=True)
        out.print(f"its jobs, the best first: {tracker.compare_url}", soft_wrap=True)


def _given(card: JobCard) -> dict[str, str]:
    return dict(o.lstrip("+").split("=", 1) for o in card.overrides if "=" in o)


def _spoken(card: SweepCard, key: str) -> str:
    """The values that a key takes, as they were asked for."""
    asked = [a.lstrip("+").split("=", 1)[1] for a in card.arguments if "=" in a and a.lstrip("+").split("=", 1)[0] == key]
    return asked[-1] if asked else "from conf/sweep"
