"""Processes that train together: the same numbers as one, and the same end for all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import trials

from recap_exp.errors import ConfigError, RecapError
from recap_exp.training import processes, torchrun
from recap_exp.training.config import TrainerConfig
from recap_exp.training.seeds import threads

TWO = TrainerConfig(steps=1, batch_size=16, processes=2, device="cpu")


@pytest.fixture(autouse=True)
def trials_are_found(monkeypatch):
    """By the other processes."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What one process found, and what two did; each goes on with a checkpoint of the other's beside its own."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    alone = trials.trials(str(one))
    (two / "other").symlink_to(one)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        with processes.joined(TWO, trials.trials, str(two)):
            together = trials.trials(str(two))
    alone["gone on"] = trials.trained(two / "half", go_on=True)
    return alone, together


@pytest.mark.parametrize("case", [*trials.CASES, "stopped"])
def test_losses_are_the_same_in_any_number_of_processes(both, case):
    alone, together = (found[case] for found in both)
    assert alone["log"].keys() == together["log"].keys()
    for step, values in alone["log"].items():
        told = together["log"][step]
        assert told.keys() == values.keys()
        assert told == pytest.approx(values | {"perf/examples_per_s": told.get("perf/examples_per_s")}, abs=1e-5)
    assert alone["fitted"].examples == together["fitted"].examples


def test_weights_are_the_same_too(both):
    """Where none is without effect, as those before a BatchNorm are: their gradients are rounding errors, which Adam magnifies."""
    alone, together = (found["plain"]["weights"] for found in both)
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_losses_tell_of_the_whole_batch_and_are_not_those_of_nothing(both):
    curve = [values["train/loss"] for values in both[1]["mean"]["log"].values()]
    assert len(set(curve)) == trials.STEPS and max(curve) < 3


def test_early_stopping_is_one_decision(both):
    fitted = both[1]["stopped"]["fitted"]
    assert (fitted.step, fitted.best_step, fitted.restored, fitted.stopped_early) == (4, 2, True, True)


def test_batch_norm_has_the_statistics_of_the_whole_batch(both):
    alone, together = (dict(found["batch_norm"]) for found in both)
    for name in ("out", "x"):
        alone[name] = alone[name][:6]  # the first process's rows
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value.float(), atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_batch_norm_of_each_process_has_its_own_rows_and_the_first_is_kept(both):
    alone, together = (found["local"]["weights"] for found in both)
    name = next(n for n in alone if n.endswith("running_mean"))
    assert not torch.allclose(alone[name], together[name])


def test_dropout_is_that_of_the_whole_batch(both):
    alone, together = (found["dropout"] for found in both)
    assert torch.equal(alone[:8], together)
    assert 0 < (alone == 0).sum() < alone.numel()


def test_a_loss_that_is_not_finite_anywhere_ends_all(both):
    alone, together = (found["not finite"] for found in both)
    assert together == alone
    assert together.startswith("step 3: the loss of like inf, reply inf, report inf is not finite")


def test_a_checkpoint_goes_on_in_another_number_of_processes(both):
    uninterrupted = both[0]["mean"]
    for found in both:
        assert list(found["gone on"]["log"]) == [4, 5, 6]
        for step, values in found["gone on"]["log"].items():
            assert values["train/loss"] == pytest.approx(uninterrupted["log"][step]["train/loss"], abs=1e-5)


def test_the_first_error_is_told_with_its_rank(capfd):
    with pytest.raises(RecapError) as raised, processes.joined(TWO, trials.failing):
        trials.failing()
    assert str(raised.value) == "process of rank 1: ZeroDivisionError: a bug"
    assert capfd.readouterr().err.count("Traceback") == 1
    assert not dist.is_initialized() and processes.count() == 1


def test_another_process_ends_with_the_first_however_that_ends(tmp_path):
    command = [sys.executable, "-m", "recap_exp.training.companion", str(tmp_path / "store"), "1", "2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as other:
        assert other.stdin
        other.stdin.close()  # what the system does to a process that is killed
        assert other.wait(120) == 1


def test_one_process_needs_no_group():
    with processes.joined(TrainerConfig(steps=1, batch_size=2), trials.failing):
        assert not dist.is_initialized()
        assert (processes.rank(), processes.count(), processes.first(), processes.broadcast(7)) == (0, 1, True, 7)


def test_a_group_of_one_for_those_who_ask_for_it():
    with processes.group(torch.device("cpu")):
        value = torch.ones(2)
        dist.all_reduce(value)
        assert dist.get_world_size() == 1 and value.tolist() == [1, 1]
        with processes.group(torch.device("cpu")):
            assert dist.is_initialized()
        assert dist.is_initialized()
    assert not dist.is_initialized()


def test_a_gpu_each(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    cuda = TrainerConfig(steps=1, batch_size=16, processes=2, device="cuda")
    said = r"^trainer.processes=2: each needs a GPU, and there are 1"
    with pytest.raises(ConfigError, match=said), processes.joined(cuda, trials.failing):
        pass


def test_processes_share_the_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(9)))
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads(TWO) == 4
    assert threads(TrainerConfig(steps=1, batch_size=16, processes=2, threads=3)) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads(TWO) == torch.get_num_threads()


def test_torchrun_is_known_by_all_of_its_variables(monkeypatch):
    assert (torchrun.rank(), torchrun.world_size()) == (0, 1)
    monkeypatch.setenv("RANK", "3")  # of something else
    assert (torchrun.rank(), torchrun.world_size()) == (0, 1)
    torchrun.require_alone("this")
    here = {"WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    assert (torchrun.rank(), torchrun.world_size(), torchrun.local_rank(), torchrun.local_world_size()) == (3, 4, 1, 2)
    with pytest.raises(ConfigError, match=r"^this is the work of one process: start it without torchrun$"):
        torchrun.require_alone("this")
