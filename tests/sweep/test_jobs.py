"""The cards of jobs, which is best, and who runs at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from recap_exp.sweep.best import front
from recap_exp.sweep.jobs import JobCard, Jobs
from recap_exp.sweep.parallel import Parallel, parallel
from recap_exp.sweep.stop import is_alive, stop_jobs

CPUS = len(os.sched_getaffinity(0))


def test_a_card_is_read_as_it_was_written(tmp_path):
    jobs = Jobs(tmp_path)
    first, second = jobs.add([("a=1", "b={c:2}"), ("a=2",)], trials=[4, 5])
    assert jobs.read(1) == second == JobCard(number=1, overrides=("a=2",), trial=5)
    changed = jobs.change(0, status="FINISHED", values={"v": 0.25}, seconds=1.5, run="r")
    assert jobs.read(0) == changed
    assert changed.ended and not second.ended
    assert [card.number for card in jobs.add([("a=3",)])] == [2]
    assert first.overrides == ("a=1", "b={c:2}")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_nobody_beats_the_front_and_the_front_beats_everybody_else(points):
    cards = [JobCard(number=i, overrides=(), status="FINISHED", values={"up": a, "down": b}) for i, (a, b) in enumerate(points)]
    best = front(cards, {"up": "maximize", "down": "minimize"})

    def beats(a, b):
        return a["up"] >= b["up"] and a["down"] <= b["down"] and a != b

    assert best
    for card in cards:
        assert (card in best) == (not any(beats(other.values, card.values) for other in cards))
    assert front(cards, {"up": "maximize"}) == [max(cards, key=lambda c: (c.values["up"], -c.number))]
    assert front(cards, {}) == []


def test_what_is_no_number_is_not_the_best():
    cards = [JobCard(number=i, overrides=(), values={"v": v}) for i, v in enumerate((float("nan"), 0.1, float("inf")))]
    assert [card.number for card in front(cards, {"v": "maximize"})] == [1]


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [
        ({"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}, Parallel(1, 1, True)),
        ({"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher", "n_jobs": -1}, Parallel(CPUS, CPUS, False)),
        ({"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher", "n_jobs": 3}, Parallel(3, 3, False)),
        (
            {"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher", "cpus_per_task": 1},
            Parallel(CPUS, CPUS, False),
        ),
        (
            {"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher", "array_parallelism": 8},
            Parallel(8, 1, False),
        ),
        ({"_target_": "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"}, Parallel(CPUS, 1, False)),
    ],
)
def test_launchers_share_the_machine(launcher, expected):
    assert parallel(OmegaConf.create(launcher)) == expected


def test_jobs_that_don_t_end_by_themselves_are_ended_and_marked(tmp_path, monkeypatch):
    import socket

    import recap_exp.sweep.stop as stop

    monkeypatch.setattr(stop, "BY_THEMSELVES_S", 0.2)
    monkeypatch.setattr(stop, "PATIENCE_S", 1.0)
    jobs = Jobs(tmp_path)
    stubborn = "import signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    jobs.add([("a=1",), ("a=2",), ("a=3",)])
    jobs.change(0, status="RUNNING", place={"host": socket.gethostname(), "pid": process.pid})
    jobs.change(1, status="RUNNING", place={"host": "elsewhere", "pid": os.getppid()})
    assert is_alive(jobs.read(0)) and not is_alive(jobs.read(1))
    stop_jobs(jobs)
    assert process.wait(10) == -signal.SIGKILL
    process.stdout.close()
    assert [card.status for card in jobs.all()] == ["KILLED", "KILLED", "WAITING"]
