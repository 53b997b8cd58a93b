"""Whole runs on several processes, as a user starts them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from recap_exp.cli import main
from recap_exp.composition import compose
from recap_exp.errors import ConfigError
from recap_exp.resuming import on
from recap_exp.train_command import train_and_record
from recap_exp.training.checkpoint import Checkpoints

SMALL = [
    "data.source.rows={train: 600, val: 128, test: 128}",
    "trainer.steps=6",
    "trainer.batch_size=64",
    "trainer.evaluate_every=2",
    "trainer.log_every=1",
    "trainer.reduce_batch_norm=true",
    "evaluation.pictures=[]",
    "tracking=none",
    "tracking.log_model=false",
]


def run_cli(*arguments: str) -> int:
    """The command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def runs(outputs: Path) -> list[Path]:
    """Their folders, the oldest first."""
    return sorted(outputs.glob("runs/*"))


def card(folder: Path) -> dict:
    """run.json"""
    return json.loads((folder / "run.json").read_text())


def curve(folder: Path, metric: str) -> dict[int, float]:
    """A metric by step, each told once."""
    told = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    points = [(r["step"], r["v"][metric]) for r in told if r["k"] == "metrics" and metric in r["v"]]
    assert len(dict(points)) == len(points)
    return dict(points)


def test_a_run_whose_other_process_is_killed_fails_and_goes_on_in_one(outputs, monkeypatch, capfd):
    """Every number is that of a run in one process, dropout and early stopping among them."""
    assert run_cli("train", *SMALL) == 0
    whole = capfd.readouterr()

    others: list[subprocess.Popen] = []
    start, save = subprocess.Popen, Checkpoints.save

    def popen(command, **kwargs):
        process = start(command, **kwargs)
        if "recap_exp.training.companion" in command:
            others.append(process)
        return process

    def save_and_kill(self, *args):
        save(self, *args)
        if len(self.all()) == 2:
            others[0].kill()

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", popen)
        patch.setattr(Checkpoints, "save", save_and_kill)
        assert run_cli("train", *SMALL, "trainer.processes=2") == 1
    killed = capfd.readouterr()
    assert killed.err.splitlines()[-1] == "recap-exp: process of rank 1 was killed by SIGKILL"
    assert killed.out.splitlines()[0] == whole.out.splitlines()[0] and killed.out.count("parameters") == 1
    alone, together = runs(outputs)
    assert card(together)["status"] == "FAILED"
    assert json.loads((together / "dependencies.json").read_text())["processes"] == 2

    assert run_cli("train", "resume=latest", "trainer.processes=1") == 0
    assert "processes" in capfd.readouterr().out  # not what it began with
    assert card(together)["status"] == "FINISHED" and len(runs(outputs)) == 2
    for metric in ("train/loss", "train/loss/is_replied", "lr/backbone", "val/loss/mean"):
        assert curve(together, metric) == pytest.approx(curve(alone, metric), abs=2e-4 if metric.startswith("val") else 1e-5)


@pytest.fixture(scope="module")
def cfg():
    """The default training."""
    return compose("train")


@pytest.mark.parametrize(
    ("count", "rows", "said"),
    [
        (3, 64, "trainer.batch_size=64: must be a multiple of trainer.processes=3"),
        (4, 4, "trainer.batch_size=4: must be a multiple of trainer.processes=4, and twice as much at least"),
        (0, 64, "processes must be at least 1, not 0"),
    ],
)
def test_processes_that_do_not_fit(cfg, count, rows, said):
    with pytest.raises((ConfigError, ValueError), match=f"^{said}"):
        on(count, replace(cfg, trainer=replace(cfg.trainer, batch_size=rows)))


def test_baselines_are_of_one_process(capsys):
    assert run_cli("train", "trainer.processes=2", "model=logistic_regression") == 1
    assert "trainer.processes=2: model=logistic_regression is fitted by one process; set it to 1" in capsys.readouterr().err


def test_torchrun_counts_and_starts_no_more_than_one_training(cfg, monkeypatch, capsys):
    for name, value in {"RANK": "0", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert run_cli("score") == 1
    assert capsys.readouterr().err == "recap-exp: recap-exp score is the work of one process: start it without torchrun\n"
    assert run_cli("train", "-m", "seed=0,1") == 1
    assert "a sweep, which starts the processes of its jobs (trainer.processes), is the work of one process" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"^trainer.batch_size=1024: must be a multiple of trainer.processes=3"):
        train_and_record(cfg)
