"""Checkpoints: complete or not there, kept in number, checked when read; and resuming from them bit for bit."""

from __future__ import annotations

import io
import itertools
import json
import os
import pickle
import random
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_training import Log, make_batches, make_optimizer, make_ranker, same, train, weights

from recap_exp.errors import CheckpointError
from recap_exp.training import seeds
from recap_exp.training.checkpoint import Checkpoints, TrainState, find_checkpoint, load_weights, read_meta, resume, warm_start
from recap_exp.training.config import EarlyStoppingConfig
from recap_exp.training.tensors import _SafeUnpickler, tensor_shapes


def saved(folder, steps=(1,), keep=2, ranker=None):
    """Checkpoints of an untrained ranker at the given steps."""
    ranker = ranker or make_ranker()
    checkpoints = Checkpoints(folder, keep, extra=lambda: {"run": "abc"})
    for step in steps:
        checkpoints.save(ranker, make_optimizer(ranker), TrainState(step=step, random=seeds.capture()))
    return checkpoints


def names(checkpoints):
    return [path.name for path in checkpoints.all()]


# Resuming


@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"precision": "bf16"}, {"precision": "fp16"}, {"log_every": 4}])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, options):
    whole, logs = make_ranker(), (Log(), Log())
    seeds.seed_everything(7)
    optimizer = make_optimizer(whole, ramp=12)
    train(whole, tmp_path / "whole", optimizer, log=logs[0], steps=20, **options)

    first = make_ranker()
    seeds.seed_everything(7)
    with pytest.raises(KeyboardInterrupt):
        cut = {"steps": 20, "checkpoint_every": 10, "batches": interrupted(12, options)}
        train(first, tmp_path / "cut", make_optimizer(first, ramp=12), log=logs[1], **cut, **options)
    seeds.seed_everything(99)
    second = make_ranker(seed=5)
    again = make_optimizer(second, ramp=12)
    state = resume(Checkpoints(tmp_path / "cut").newest(), second, again)
    assert (state.step, state.micro_batches) == (10, 10 * options.get("accumulate", 1))
    result = train(second, tmp_path / "cut", again, make_batches(start=state.micro_batches), logs[1], steps=20, start=state, **options)

    assert result.step == 20
    assert same(weights(whole), weights(second))
    moments = [o.tensors({p: n for n, p in r.named_parameters()}) for o, r in ((optimizer, whole), (again, second))]
    assert same(*moments)
    for step, values in logs[0].steps.items():
        assert {**values, "perf/examples_per_s": 0} == {**logs[1].steps[step], "perf/examples_per_s": 0}


def interrupted(steps, options):
    """Batches for so many steps; then somebody ends the run."""
    yield from itertools.islice(make_batches(), steps * options.get("accumulate", 1))
    raise KeyboardInterrupt


def test_no_work_where_the_newest_is_past_the_last_step(tmp_path):
    ranker = make_ranker()
    train(ranker, tmp_path, steps=5)
    again = make_ranker(seed=1)
    optimizer = make_optimizer(again)
    state = resume(Checkpoints(tmp_path).newest(), again, optimizer)
    result = train(again, tmp_path, optimizer, iter(()), steps=5, start=state)
    assert (result.step, result.examples) == (5, 0)
    assert same(weights(ranker), weights(again))


def test_a_run_that_stopped_early_stays_stopped_and_keeps_its_best(tmp_path):
    stopping = {"evaluate_every": 1, "early_stopping": EarlyStoppingConfig(patience=2), "steps": 50}
    ranker = make_ranker()
    first = train(ranker, tmp_path, evaluate=lambda step: {"val/auroc/mean": 1 / step}, **stopping)
    again = make_ranker(seed=1)
    optimizer = make_optimizer(again)
    state = resume(Checkpoints(tmp_path).newest(), again, optimizer)
    result = train(again, tmp_path, optimizer, iter(()), evaluate=None, start=state, **stopping)
    assert (first.step, result.step, result.best_step, result.examples, result.stopped_early) == (3, 3, 1, 0, True)
    assert same(weights(ranker), weights(again))


def test_random_states_come_back(tmp_path):
    state = json.loads(json.dumps(seeds.capture()))
    draws = [(random.random(), random.gauss(0, 1), np.random.normal(), torch.rand(1).item()) for _ in range(3)]
    seeds.restore(state)
    assert draws == [(random.random(), random.gauss(0, 1), np.random.normal(), torch.rand(1).item()) for _ in range(3)]


# Storing


def test_the_newest_and_the_best_stay(tmp_path):
    checkpoints = saved(tmp_path, [1, 2, 3], keep=2)
    assert names(checkpoints) == ["step_00000002", "step_00000003"]
    checkpoints.mark_best(2)
    ranker = make_ranker()
    for step in (4, 5, 6):
        checkpoints.save(ranker, make_optimizer(ranker), TrainState(step=step))
    assert names(checkpoints) == ["step_00000002", "step_00000005", "step_00000006"]
    checkpoints.mark_best(6)
    assert names(checkpoints) == ["step_00000005", "step_00000006"]
    assert checkpoints.best() == checkpoints.newest() == tmp_path / "step_00000006"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best", "step_00000005", "step_00000006"]


def test_meta_tells_where_a_run_stands(tmp_path):
    meta = read_meta(saved(tmp_path, [3]).newest())
    assert (meta["step"], meta["micro_batches"], meta["extra"]) == (3, 0, {"run": "abc"})


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    saved(tmp_path, [1], ranker=make_ranker(seed=1))
    newer, read = make_ranker(seed=2), make_ranker(seed=3)
    load_weights(saved(tmp_path, [1], ranker=newer).newest(), read)
    assert same(weights(newer), weights(read))


def save_and_die(folder, ranker, step, at):
    """In a process of its own: stores a checkpoint and is killed at the at-th change to the disk. True if it got that far."""
    pid = os.fork()
    if pid == 0:
        left = itertools.count(at - 1, -1)

        def deadly(change):
            def wrapped(*args, **kwargs):
                if next(left) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*args, **kwargs)

            return wrapped

        os.fsync = lambda handle: None  # a killed process loses nothing that it has written
        for name in ("mkdir", "fsync", "rename", "replace", "unlink", "rmdir"):
            setattr(os, name, deadly(getattr(os, name)))
        checkpoints = Checkpoints(folder, keep=2)
        checkpoints.save(ranker, make_optimizer(ranker), TrainState(step=step, random=seeds.capture()))
        checkpoints.mark_best(step)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_of_storing_only_complete_checkpoints_remain(tmp_path):
    ranker = make_ranker()
    saved(tmp_path, [1, 2], ranker=ranker)
    moments = 0
    while save_and_die(tmp_path, ranker, step=3 + moments, at=1 + moments):
        moments += 1
        checkpoints = Checkpoints(tmp_path)
        assert len(checkpoints.all()) >= 2
        assert all(tensor_shapes(path / "state") for path in checkpoints.all())
        newest, read = checkpoints.newest(), make_ranker(seed=1)
        assert resume(newest, read, make_optimizer(read)).step == int(newest.name[5:])
        assert same(weights(ranker), weights(read))
    assert moments > 8
    assert not any(tmp_path.glob(".unfinished_*"))


# Reading what is damaged or foreign


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("file", ["meta.json", "random.json", "state/.metadata", "state/__0_0.distcp"])
@pytest.mark.parametrize("damage", ["truncated", "overwritten", "gone"])
def test_a_damaged_checkpoint_is_one_line_that_names_it(tmp_path, file, damage):
    path = saved(tmp_path).newest()
    victim = path / file
    if damage == "truncated":
        os.truncate(victim, victim.stat().st_size // 2)
    elif damage == "overwritten":
        victim.write_bytes(b"\x00garbage" * 500)
    else:
        victim.unlink()
    ranker = make_ranker()
    with pytest.raises(CheckpointError) as error:
        resume(path, ranker, make_optimizer(ranker))
    assert str(path) in one_line(error)


def test_stored_code_never_runs(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = saved(tmp_path / "c").newest()
    (path / "state/.metadata").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match=r"refers to posix\.mkdir"):
        load_weights(path, make_ranker())
    assert not (tmp_path / "ran").exists()


def test_a_foreign_folder(tmp_path):
    (tmp_path / "meta.json").write_text('{"step": 3}')
    with pytest.raises(CheckpointError, match="not a checkpoint of this program"):
        load_weights(tmp_path, make_ranker())


def test_a_folder_without_checkpoints(tmp_path):
    with pytest.raises(CheckpointError, match="holds no complete checkpoint"):
        find_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        find_checkpoint(tmp_path / "nowhere")


def test_of_another_model_lists_everything_at_once_and_changes_nothing(tmp_path):
    path = saved(tmp_path).newest()
    other = make_ranker(tasks=("like", "reply", "click"), hidden=9)
    before = weights(other)
    with pytest.raises(CheckpointError) as error:
        load_weights(path, other)
    text = one_line(error)
    assert "lacks towers.click" in text and "has unknown towers.report" in text and "more" in text
    assert "backbone.linears.0.weight [8, 10] for [9, 10]" in text
    assert same(before, weights(other))


# Starting from another run


def test_warm_start_takes_weights_and_moments_and_begins_at_step_0(tmp_path):
    ranker = make_ranker()
    optimizer = make_optimizer(ranker)
    train(ranker, tmp_path, optimizer, steps=6)
    warm = make_ranker(seed=9)
    warm_optimizer = make_optimizer(warm)
    warm_start(tmp_path, warm, warm_optimizer)
    assert same(weights(ranker), weights(warm))
    assert warm_optimizer.updates == 0
    assert same(*(o.tensors({p: n for n, p in r.named_parameters()}) for o, r in ((optimizer, ranker), (warm_optimizer, warm))))


def test_a_folder_of_checkpoints_means_its_best(tmp_path):
    checkpoints = saved(tmp_path, [1, 2])
    assert find_checkpoint(tmp_path).name == "step_00000002"
    checkpoints.mark_best(1)
    assert find_checkpoint(tmp_path).name == "step_00000001"
    assert find_checkpoint(tmp_path / "step_00000002").name == "step_00000002"


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_weights_file_starts_the_weights_alone(tmp_path, suffix):
    ranker, warm = make_ranker(seed=1), make_ranker(seed=2)
    file = tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(file, **{n: t.numpy() for n, t in ranker.state_dict().items()})
    else:
        save_file(ranker.state_dict(), file)
    optimizer = make_optimizer(warm)
    warm_start(file, warm, optimizer)
    assert same(weights(ranker), weights(warm))
    assert all(not t.any() for t in optimizer.tensors({p: n for n, p in warm.named_parameters()}).values())


def test_a_weights_file_that_does_not_fit(tmp_path):
    tensors = make_ranker().state_dict()
    tensors.pop("towers.like.affine.scale", None)
    first = next(iter(tensors))
    tensors["nonsense"] = tensors.pop(first)
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError) as error:
        warm_start(tmp_path / "w.safetensors", make_ranker(), None)
    assert f"lacks {first}" in one_line(error) and "has unknown nonsense" in one_line(error)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_an_unreadable_weights_file(tmp_path, suffix):
    file = tmp_path / f"w{suffix}"
    file.write_bytes(b"not weights")
    with pytest.raises(CheckpointError) as error:
        load_weights(file, make_ranker())
    assert str(file) in one_line(error)
    with pytest.raises(CheckpointError):
        load_weights(tmp_path / f"absent{suffix}", make_ranker())


def test_ctrl_c_while_tensors_are_written_is_ctrl_c(tmp_path, monkeypatch):
    """torch wraps whatever happens in a save into an exception of its own."""
    import torch.distributed.checkpoint as dcp

    from recap_exp.training.tensors import write_tensors

    def interrupted(*_):
        raise KeyboardInterrupt

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dcp.FileSystemWriter, "write_data", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_tensors(tmp_path / "a", {"x": torch.zeros(2)})
    monkeypatch.setattr(dcp.FileSystemWriter, "write_data", full)
    with pytest.raises(CheckpointError, match=r"b: can't be written \(\[Errno 28\] No space left on device\)"):
        write_tensors(tmp_path / "b", {"x": torch.zeros(2)})


class Stored:
    """Pickles as a call of getattr: what Python before 3.11.4 does with a member of an enumeration."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return getattr, self.arguments


def test_an_index_may_name_members_of_its_enumerations_the_older_way_and_nothing_else_by_it():
    from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING

    def read(stored):
        return _SafeUnpickler(io.BytesIO(pickle.dumps(stored))).load()

    assert read(Stored(_MEM_FORMAT_ENCODING, "TORCH_PRESERVE_FORMAT")) is _MEM_FORMAT_ENCODING.TORCH_PRESERVE_FORMAT
    for hostile in (Stored(torch.Size, "__init__"), Stored(_MEM_FORMAT_ENCODING, "__class__"), Stored(_MEM_FORMAT_ENCODING, "mro")):
        with pytest.raises(pickle.UnpicklingError, match="refers to"):
            read(hostile)
