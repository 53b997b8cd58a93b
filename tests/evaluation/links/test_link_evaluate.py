"""Whole link evaluations: which edges are asked about, which numbers come out, what the terminal shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from graphs_made import Translations, config, drawn_graph, drawn_model, evaluated, made_graph
from rich.console import Console
from sklearn.metrics import roc_auc_score

from recap_exp.errors import ConfigError, DataError
from recap_exp.evaluation.config import higher_is_better
from recap_exp.evaluation.links.config import LinkPartitionConfig
from recap_exp.evaluation.links.evaluate import LinkPartition, metric_words
from recap_exp.evaluation.links.questions import edges_asked, questions
from recap_exp.evaluation.links.report import link_table
from recap_exp.evaluation.links.sampled import sampled

ENTITIES = {"user": 30, "post": 40}
RELATIONS = [("follows", "user", "user"), ("likes", "user", "post"), ("replies", "user", "post")]


@pytest.fixture(scope="module")
def graph():
    return drawn_graph(np.random.default_rng(0), ENTITIES, RELATIONS, train=300, val=40, test=60)


@pytest.fixture(scope="module")
def model(graph):
    return drawn_model(np.random.default_rng(1), graph, whole=False)


@pytest.fixture(scope="module")
def evaluation(graph, model):
    return evaluated(model, graph, config(sampled_pairs=20))


def shown(evaluation, width=140):
    console = Console(width=width, file=io.StringIO())
    console.print(link_table(evaluation))
    return console.file.getvalue()


def test_metrics_are_means_of_sides_and_relations(evaluation):
    m = evaluation.metrics
    assert m["test/edges"] == 60
    assert m["test/mrr"] == pytest.approx((m["test/mrr_left"] + m["test/mrr_right"]) / 2)
    count_R = np.bincount(evaluation.rel_E)
    by_relation = [m[f"test/mrr/{name}"] for name, _, _ in RELATIONS]
    assert m["test/mrr"] == pytest.approx(np.average(by_relation, weights=count_R))
    assert m["test/hits_at_1"] <= m["test/hits_at_3"] <= m["test/hits_at_10"] <= 1
    for baseline in ("degree", "relation_degree", "random"):
        assert 0 < m[f"test/baseline_mrr/{baseline}"] < 1
        assert {f"test/baseline_{name}/{baseline}" for name in evaluation.measures} < set(m)
    assert {"test/sampled_auc", "test/sampled_hit_at_10", "test/mrr_error", "test/hits_at_10_error", "test/mean_rank_error"} < set(m)
    assert not [name for name in m if name.endswith(("_low", "_high"))]
    assert all(np.isfinite(list(m.values())))


def test_a_model_without_knowledge_is_as_good_as_chance(graph):
    found = [evaluated(drawn_model(np.random.default_rng(i), graph, 8, False), graph, config()).metrics for i in range(20)]
    for name in ("mrr", "hits_at_10", "mean_rank"):
        values = [m[f"test/{name}"] for m in found]
        assert np.mean(values) == pytest.approx(found[0][f"test/baseline_{name}/random"], abs=4 * np.std(values) / len(found) ** 0.5)


def test_a_model_that_knows_ranks_first():
    cycle = [(i, 0, (i + 1) % 12) for i in range(12)]
    graph = made_graph({"node": 12}, [("next", "node", "node")], train=cycle[:6], test=cycle[6:])
    angle = np.arange(12) * np.pi / 6
    table = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1).astype(np.float32)

    class Turns(Translations):
        def query(self, x_BW, rel_B, side):
            turn = (1 if side == "right" else -1) * np.pi / 6
            x, y = x_BW[:, 0], x_BW[:, 1]
            return np.cos(turn) * x[:, None] * x_BW.new_tensor([1, 0]) + _rest(x, y, turn)

    def _rest(x, y, turn):
        import torch

        return torch.stack([-np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y], 1)

    m = evaluated(Turns({"node": table}, table[:1, :2], table[:1, :2]), graph, config(sampled_pairs=64)).metrics
    assert m["test/mrr"] == m["test/hits_at_1"] == m["test/mean_rank"] == m["test/mrr_left"] == 1
    assert m["test/mrr_error"] == 0
    assert m["test/sampled_auc"] > 0.95 and m["test/sampled_hit_at_1"] == 1


def test_the_baselines_and_questions_are_made_once(graph, model):
    partition = LinkPartition(graph, "test", config())
    first, second = partition.evaluate(model), partition.evaluate(model)
    assert first.metrics == second.metrics == evaluated(model, graph, config()).metrics


def test_a_sample_is_fixed_and_has_an_interval(graph, model):
    whole = edges_asked(graph, "test", LinkPartitionConfig(split="test"))
    some = edges_asked(graph, "test", LinkPartitionConfig(split="test", edges=25))
    pairs = list(zip(whole.lhs, whole.rel, whole.rhs, strict=True))
    taken = list(zip(some.lhs, some.rel, some.rhs, strict=True))
    assert len(taken) == 25 and set(taken) <= set(pairs)
    at = iter(pairs)
    assert all(edge in at for edge in taken), "in the split's order"
    again = evaluated(model, graph, config(edges=25))
    assert again.metrics == evaluated(model, graph, config(edges=25)).metrics
    assert again.metrics != evaluated(model, graph, config(edges=25), seed=1).metrics
    assert again.metrics["test/mrr_low"] < again.metrics["test/mrr"] < again.metrics["test/mrr_high"]
    assert "a fixed sample of 25 of 60 edges" in shown(again) and "95 % interval of MRR" in shown(again)
    more = evaluated(model, graph, config(edges=1000))
    assert more.edges == 60 and not more.intervals


def test_the_mean_over_samples_is_the_whole(graph, model):
    whole = evaluated(model, graph, config()).metrics["test/mrr"]
    some = [evaluated(model, graph, config(edges=20), seed=i).metrics for i in range(25)]
    mrr = np.array([m["test/mrr"] for m in some])
    assert mrr.mean() == pytest.approx(whole, abs=4 * mrr.std() / 5)
    covered = [m["test/mrr_low"] <= whole <= m["test/mrr_high"] for m in some]
    assert np.mean(covered) > 0.8


def test_one_side_alone(graph, model, evaluation):
    right = evaluated(model, graph, config(sides="right"))
    assert right.metrics["test/mrr"] == pytest.approx(evaluation.metrics["test/mrr_right"])
    assert "test/mrr_left" not in right.metrics


@pytest.mark.parametrize("side", ["left", "right"])
def test_sampled_auc_is_that_of_all_pairs_of_a_batch(side):
    rng = np.random.default_rng(2)
    graph = drawn_graph(rng, {"user": 30}, [("follows", "user", "user"), ("blocks", "user", "user")], train=9, test=50)
    model = drawn_model(rng, graph, 4, whole=False)
    asked = questions(graph, edges_asked(graph, "test", LinkPartitionConfig(split="test")), config(sides=side))[side]
    table = model.tables["user"].numpy()
    moved = table[asked.query_E, :-1] + model.moves[side].numpy()[asked.rel_E]
    scores_EE = moved @ table[asked.true_E, :-1].T + table[asked.true_E, -1]
    negative_EE = (asked.true_E != asked.true_E[:, None]) & (asked.true_E != asked.query_E[:, None])
    true_E, negative_X = np.diagonal(scores_EE), scores_EE[negative_EE]
    labels = np.repeat([1, 0], [len(true_E), len(negative_X)])
    found = sampled(model, [asked], 100_000, [1, 10], batch_size=10**6)
    assert found["sampled_auc"] == pytest.approx(roc_auc_score(labels, np.concatenate([true_E, negative_X])), abs=0.01)
    few = [sampled(model, [asked], 16, [1, 10], batch_size=10**6, seed=i) for i in range(200)]
    assert np.mean([f["sampled_auc"] for f in few]) == pytest.approx(found["sampled_auc"], abs=0.04)
    assert all(0 <= f["sampled_hit_at_1"] <= f["sampled_hit_at_10"] <= 1 for f in few)


def test_sampled_hits_of_chance_and_without_any_negative():
    graph = made_graph({"user": 9}, [("r", "user", "user")], train=[(0, 0, 1)], test=[(i, 0, 0) for i in range(1, 9)])
    model = drawn_model(np.random.default_rng(0), graph)
    found = evaluated(model, graph, config(sides="right", sampled_pairs=8)).metrics
    assert np.isnan(found["test/sampled_auc"]) and np.isnan(found["test/sampled_hit_at_1"])


def test_table_has_a_row_a_relation_and_all_beside_the_baselines(evaluation):
    table = evaluation.table()
    assert sorted(table["relation"][:-1]) == sorted(name for name, _, _ in RELATIONS) and table["relation"][-1] == "all"
    assert table["edges"][:-1] == sorted(table["edges"][:-1], reverse=True) and table["edges"][-1] == 60
    assert table["mrr"][-1] == evaluation.metrics["test/mrr"]
    assert table["mrr_degree"][-1] == evaluation.metrics["test/baseline_mrr/degree"]
    assert {len(column) for column in table.values()} == {4}


def test_the_terminal_shows_model_and_baselines(evaluation):
    text = shown(evaluation)
    assert text.startswith("test: 60 edges among")
    for word in ("all", "left ends", "right ends", "follows", "degree", "relation degree", "random", "hits@10", "mean", "rank", "AUC"):
        assert word in text
    narrow = shown(evaluation, 80)
    assert max(len(line) for line in narrow.splitlines()) <= 80 and "…" not in narrow
    assert f"{evaluation.metrics['test/mrr']:.3f}±{evaluation.metrics['test/mrr_error']:.3f}" in narrow


def test_many_relations_are_shown_in_part(model):
    relations = [(f"P{i}", "user", "post") for i in range(30)]
    graph = drawn_graph(np.random.default_rng(3), ENTITIES, relations, train=200, test=300)
    found = evaluated(drawn_model(np.random.default_rng(4), graph), graph, config())
    assert "the 12 most frequent of 30 relations" in shown(found)
    assert len(found.table()["relation"]) == 31


def test_unseen_ends_are_noted(model):
    graph = made_graph({"user": 30}, [("follows", "user", "user")], train=[(0, 0, 1)], test=[(0, 0, 2), (0, 0, 3)])
    found = evaluated(drawn_model(np.random.default_rng(4), graph), graph, config())
    assert "2 of 4 true ends have no training edge" in shown(found)


def test_wrong_splits_are_errors(graph, model):
    with pytest.raises(ConfigError, match=r"partitions\.test\.split='tset': made has train, val, test \(did you mean 'test'\?\)"):
        evaluated(model, graph, config(split="tset"))
    empty = made_graph({"user": 3}, [("r", "user", "user")], train=[(0, 0, 1)], test=[])
    with pytest.raises(DataError, match="split 'test' of made is empty"):
        evaluated(model, empty, config())


def test_relations_become_words_of_metrics():
    assert metric_words(["likes", "/film/actor", "_film_actor", "a+b", "père"]) == ["likes", "_film_actor", "_film_actor_2", "a_b", "père"]


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("test/mrr", True),
        ("test/hits_at_10", True),
        ("test/mrr_left", True),
        ("test/sampled_auc", True),
        ("test/sampled_hit_at_10", True),
        ("test/mrr/P17", True),
        ("test/mean_rank", False),
        ("test/baseline_mrr/degree", None),
        ("test/mrr_error", None),
        ("test/candidates", None),
    ],
)
def test_which_end_of_a_metric_is_better(metric, higher):
    assert higher_is_better(metric) is higher


@pytest.mark.parametrize("settings", [{"sampled_pairs": 8}, {"sides": "left"}, {"sides": "right", "hits": [2]}])
def test_the_configuration_knows_the_metrics(graph, model, settings):
    cfg = config(**settings)
    found = {name.removeprefix("test/") for name in evaluated(model, graph, cfg).metrics}
    extra = {name for name in found if "/" in name or name.endswith("_error")} | {"edges", "candidates"}
    assert found - extra == set(cfg.metrics) and len(cfg.metrics) == len(set(cfg.metrics))
