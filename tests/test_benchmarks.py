"""The benchmarks work and say what they should; how fast anything is, no test asks."""

from __future__ import annotations

import json
import sys
from functools import partial

import pytest
import torch

from benchmarks import memory, parquet, scoring, sweep, training_step, twhin
from benchmarks.__main__ import main
from benchmarks.harness import Apart, Figure, Spread, alternate, ratios
from benchmarks.plain_ranker import plain_loss
from benchmarks.plain_twhin import PlainTwhin
from benchmarks.training_step import QUICK, composed, our_ranker, plain_ranker, random_batch
from recap_exp.model.loss import task_losses


def figure(**changes):
    """A figure of one round."""
    spread = Spread.of([2.0])
    made = {"name": "a", "ours": "b", "theirs": "c", "value": spread, "target": 2.0, "sides": {"b": spread}, "costs": "s", "rounds": 1}
    return Figure(**(made | changes))


def test_alternates_and_leaves_the_warm_up_out():
    calls = []
    costs = alternate({"a": lambda: calls.append("a") or len(calls), "b": lambda: calls.append("b") or len(calls)}, rounds=2)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert costs == {"a": [3, 5], "b": [4, 6]}


def test_ratios_are_made_round_by_round():
    assert ratios([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == Spread(median=2.0, min=1.0, max=3.0)
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def test_a_target_is_reached_from_its_own_side():
    assert figure().reached and figure(at_least=False).reached
    assert not figure(target=2.1).reached
    assert not figure(target=1.9, at_least=False).reached


def test_a_side_apart_answers_fails_and_ends():
    with Apart(partial, float, "2.5") as side:
        assert side() == side() == 2.5
    assert not side.process.is_alive()
    with Apart(partial, float, "x") as side, pytest.raises(ValueError, match="could not convert"):
        side()


def test_the_plain_ranker_is_the_same_network():
    cfg = composed(QUICK)
    cfg.model.towers.clear()  # no dropout: two models draw it differently
    torch.manual_seed(0)
    ours, plain, batch = our_ranker(cfg, QUICK).train(), plain_ranker(cfg, QUICK).train(), random_batch(QUICK, len(cfg.tasks))
    assert [p.shape for p in ours.parameters()] == [p.shape for p in plain.parameters()]
    with torch.no_grad():
        for a, b in zip(plain.parameters(), ours.parameters(), strict=True):
            a.copy_(b)
    our_loss = task_losses(ours(batch), batch.labels_BT).mean()
    their_loss = plain_loss(plain(batch.continuous_BC, batch.binary_BI, list(batch.embeddings.values())), batch.labels_BT)
    torch.testing.assert_close(our_loss, their_loss)
    our_loss.backward()
    their_loss.backward()
    for (name, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6, msg=name)
    assert [len(g["params"]) for g in plain.optimizer().param_groups] == [len(g) for g in ours.parameter_groups().values()]


def test_both_training_steps_run():
    assert training_step.our_side(QUICK)() > 0
    assert training_step.plain_side(QUICK)() > 0


def test_the_plain_embeddings_are_the_same_model():
    size = twhin.QUICK
    ours, plain = twhin.our_model(size, "cpu"), PlainTwhin(size.rows, size.relations, size.dim)
    bags, t = ours.tables.collection.embedding_bags, ours.operators.kinds["translation"].weight
    with torch.no_grad():
        for name, table, bias in (("left", plain.left, plain.left_bias), ("right", plain.right, plain.right_bias)):
            bags[name].weight += torch.randn_like(bags[name].weight)
            table.weight.copy_(bags[name].weight[:, : size.dim])
            bias.weight.copy_(bags[name].weight[:, [size.dim]])
        plain.forward_t.weight.copy_(t[: size.relations])
        plain.reverse_t.weight.copy_(t[size.relations :])
    (batch,) = twhin.batches(size)
    assert any(len(group.masked_row) for group in ours.plan(batch).groups)
    our_loss, their_loss = ours(batch), plain(batch.lhs_B, batch.rel_B, batch.rhs_B, *twhin.negatives_of(ours, batch))
    torch.testing.assert_close(our_loss, their_loss)
    our_loss.backward()
    their_loss.backward()
    torch.testing.assert_close(bags["left"].weight.grad[:, : size.dim], plain.left.weight.grad.to_dense())
    torch.testing.assert_close(bags["right"].weight.grad[:, [size.dim]], plain.right_bias.weight.grad.to_dense())
    torch.testing.assert_close(t.grad, torch.cat([plain.forward_t.weight.grad, plain.reverse_t.weight.grad]))


MEASURED = [
    (parquet, ["parquet", "tfrecord", "pyarrow"]),
    (scoring, ["batches", "one by one"]),
    (sweep, ["sweep", "jobs"]),
    (twhin, ["ours", "plain"]),
]


@pytest.mark.parametrize(("module", "sides"), MEASURED)
def test_measures(module, sides, outputs):
    (found,) = module.measure(quick=True)
    assert list(found.sides) == sides
    assert found.value.min <= found.value.median <= found.value.max
    assert found.value.median > 0


def test_command_prints_a_table_and_writes_json(outputs, capsys):
    main(["help", "tfrecord", "--quick"])
    shown = capsys.readouterr().out
    (path,) = (outputs / "benchmarks").glob("*.json")
    found = json.loads(path.read_text())
    assert "help" in shown and "tfrecord" in shown and path.name in shown.replace("\n", "")
    assert found["quick"] and {"cpu", "cores", "torch_threads", "versions"} <= set(found["machine"])
    assert [f["name"] for f in found["figures"]] == ["help", "tfrecord"]
    for f in found["figures"]:
        assert {"value", "target", "reached", "sides", "unit", "rounds"} <= set(f)
        assert set(f["value"]) == {"median", "min", "max"}
    assert not (outputs / "data").exists()


def test_an_unknown_figure_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["trainingstep"])
    assert "no figure 'trainingstep'" in capsys.readouterr().err


def test_peak_is_the_childs_own():
    held = b"1" * (300 * 2**20)  # a process starts with its parent's peak, unless something small stands between
    assert 0 < memory.peak([sys.executable, "-c", "pass"]) < len(held)
