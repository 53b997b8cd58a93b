"""TwHIN on one and on two processes: the same losses from the same start, and checkpoints of one opened in the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from made_twhin import alone, made_batch, made_model, made_optimizer, step

from recap_exp.training import processes
from recap_exp.training.checkpoint import Checkpoints, TrainState, load_weights, resume

STEPS = 4
STORED = "step_00000002"
CASES = {
    "sampled": {"dropout": 0.2, "regularisation": {"weight": 0.1}, "negatives": {"in_batch": 5, "uniform": 4, "by_degree": 3}},
    "chunks": {"operator": "complex", "negatives": {"in_batch": 5, "uniform": 4, "chunk": 10}, "loss": {"kind": "self_adversarial"}},
    "everything": {"dropout": 0.2, "operators": {"likes": "linear"}, "negatives": {"everything": True, "in_batch": 0, "uniform": 0}},
    "original": {
        "reciprocal": False,
        "moves": "right",
        "bias": False,
        "loss": {"kind": "bce", "mean_over": "logits"},
        "negatives": {"in_batch": 3, "uniform": 0, "group": "relation", "mask_true": False},
    },
}
RUNS = [
    ("sampled", "adagrad", "table_wise"),
    ("sampled", "adagrad", "row_wise"),
    ("sampled", "rowwise_adagrad", "row_wise"),
    ("sampled", "adam", "table_wise"),
    ("sampled", "adam", "row_wise"),
    ("sampled", "sgd", "table_wise"),
    ("chunks", "adagrad", "row_wise"),
    ("everything", "adagrad", "table_wise"),
    ("everything", "adagrad", "row_wise"),
    ("original", "adagrad", "table_wise"),
]
RESUMED = [run for run in RUNS if run[0] == "sampled"]


def train(case, rule, sharding, folder, start=None, steps=STEPS):
    """The losses of a few steps, the mean over the processes, and the tables after them; a checkpoint in `folder` before the last two."""
    model = made_model(device="meta", **CASES[case])
    optimizer = made_optimizer(model, rule, sharding, user=0.05)
    first = resume(start, model, optimizer).step if start else 0
    losses = []
    for number in range(first, steps):
        if number == steps - 2 and not start:
            Checkpoints(folder).save(model, optimizer, TrainState(step=number))
        loss = torch.tensor(step(model, optimizer, made_batch(number)))
        dist.all_reduce(loss)
        losses.append(float(loss) / dist.get_world_size())
    return losses, {name: model.vectors(name).tolist() for name in model.tables.sizes}


def one_of_two(rank, folder):
    """Every run, and those that go on from what one process has stored."""
    torch.set_num_threads(1)
    results = {}
    with processes._connected(dist.FileStore(f"{folder}/store", 2), rank, 2, torch.device("cpu")):
        for case, rule, sharding in RUNS:
            key = f"{case}-{rule}-{sharding}"
            results[key] = train(case, rule, sharding, Path(folder, "two", key))
        for case, rule, sharding in RESUMED:
            results[f"{case}-{rule}-{sharding}-resumed"] = train(case, rule, sharding, None, Path(folder, "one", f"{case}-{rule}", STORED))
    Path(folder, f"{rank}.json").write_text(json.dumps(results))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def one(folder):
    with alone():
        found = {(case, rule) for case, rule, _ in RUNS}
        return {f"{case}-{rule}": train(case, rule, "table_wise", folder / "one" / f"{case}-{rule}") for case, rule in found}


@pytest.fixture(scope="module")
def two(folder, one):
    torch.multiprocessing.spawn(one_of_two, (str(folder),), nprocs=2)
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    return first


def close(one, two):
    assert two[0] == pytest.approx(one[0], abs=1e-5)
    for name, rows in one[1].items():
        torch.testing.assert_close(torch.tensor(two[1][name]), torch.tensor(rows), rtol=0, atol=2e-4)


@pytest.mark.parametrize("case, rule, sharding", RUNS)
def test_two_processes_learn_what_one_does(one, two, case, rule, sharding):
    assert len(set(one[f"{case}-{rule}"][0])) == STEPS
    close(one[f"{case}-{rule}"], two[f"{case}-{rule}-{sharding}"])


@pytest.mark.parametrize("case, rule, sharding", RESUMED)
def test_two_processes_go_on_from_a_checkpoint_of_one(one, two, case, rule, sharding):
    losses, tables = one[f"{case}-{rule}"]
    close((losses[-2:], tables), two[f"{case}-{rule}-{sharding}-resumed"])


@pytest.mark.parametrize("case, rule, sharding", RESUMED)
def test_one_process_goes_on_from_a_checkpoint_of_two(folder, one, two, case, rule, sharding):
    losses, tables = one[f"{case}-{rule}"]
    with alone():
        close((losses[-2:], tables), train(case, rule, "row_wise", None, folder / "two" / f"{case}-{rule}-{sharding}" / STORED))


def test_tables_that_are_not_sharded_read_a_checkpoint_of_two(folder, one, two):
    model = made_model(seed=1, **CASES["sampled"])
    load_weights(folder / "two" / "sampled-adagrad-row_wise" / STORED, model)
    with alone():
        sharded = made_model(device="meta", **CASES["sampled"])
        resume(folder / "one" / "sampled-adagrad" / STORED, sharded, made_optimizer(sharded))
        for name in model.tables.sizes:
            torch.testing.assert_close(model.vectors(name), sharded.vectors(name), rtol=0, atol=2e-4)
            torch.testing.assert_close(model.biases(name), sharded.biases(name), rtol=0, atol=2e-4)
