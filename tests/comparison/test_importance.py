"""How much of a metric's variance a setting explains: exact for a grid, near the truth for a search, and never an error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from made_runs import make_run

from recap_exp.comparison.importance import importance, importance_figure
from recap_exp.comparison.parallel_coordinates import parallel_coordinates
from recap_exp.comparison.read import read_runs
from recap_exp.comparison.style import Axis

METRIC = "val/auroc/mean"


def test_of_a_grid_it_is_the_analysis_of_variance(outputs):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(3, 2, 4)) + np.array([0, 3, 5])[:, None, None] + np.array([0, 2])[None, :, None]
    folders = [
        make_run(outputs, f"r{i}{j}{s}", {"model.name": m, "trainer.steps": n, "seed": s}, metrics={METRIC: y[i, j, s]})
        for (i, m), (j, n), s in itertools.product(enumerate(("mlp", "masknet", "dcn")), enumerate((100, 300)), range(4))
    ]
    shares = importance(read_runs(folders), ["model", "trainer.steps", "seed"], METRIC)
    assert shares["model"] == pytest.approx(y.mean((1, 2)).var() / y.var())
    assert shares["trainer.steps"] == pytest.approx(y.mean((0, 2)).var() / y.var())
    assert shares["seed"] == pytest.approx(y.var(axis=2).mean() / y.var())
    assert list(shares) == sorted(shares, key=shares.get, reverse=True)
    assert sum(shares.values()) <= 1 + 1e-9


def test_of_a_search_it_finds_what_matters(outputs):
    rng = np.random.default_rng(1)
    folders = []
    for i in range(80):
        rate, dropout, noise = 10 ** rng.uniform(-4, -1), rng.uniform(0, 0.5), rng.normal()
        values = {"optimizer.backbone.rate": rate, "model.tower.dropout": dropout}
        folders.append(make_run(outputs, f"r{i:02}", values, metrics={METRIC: -((np.log10(rate) + 2.5) ** 2) + 0.05 * noise}))
    shares = importance(read_runs(folders), ["optimizer.backbone.rate", "model.tower.dropout"], METRIC)
    assert shares["optimizer.backbone.rate"] > 0.8
    assert shares["model.tower.dropout"] < 0.1
    assert "seed" not in shares


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.6], [0.5, 0.5, 0.5], [float("nan")] * 4])
def test_too_little_to_say_is_nothing_said(outputs, values):
    folders = [make_run(outputs, f"r{i}", {"trainer.steps": i}, metrics={METRIC: v}) for i, v in enumerate(values)]
    assert importance(read_runs(folders), ["trainer.steps"], METRIC) == {}


def test_pictures_of_anything(outputs, tmp_path):
    """Settings of every kind, some missing; runs without the metric; one run alone."""
    each = [
        {"trainer.steps": 100, "model.tower.layers": [8, 1], "data.note": None},
        {"trainer.steps": 100_000, "model.tower.layers": [8] * 40},
        {"trainer.steps": "many", "data.note": True},
    ]
    folders = [make_run(outputs, f"r{i}", v, metrics={METRIC: 0.1 * i}) for i, v in enumerate(each)]
    folders.append(make_run(outputs, "none", metrics={METRIC: float("nan")}))
    runs = read_runs(folders)
    keys = ["trainer.steps", "model.tower.layers", "data.note", "nowhere"]
    for some in (runs, runs[:1]):
        parallel_coordinates(some, keys, METRIC).savefig(tmp_path / "x.svg")
    importance_figure(importance(runs, keys, METRIC), METRIC).savefig(tmp_path / "x.svg")


def test_parallel_lines_end_at_the_metric(outputs):
    folders = [make_run(outputs, f"r{i}", {"trainer.steps": 10 * i}, metrics={METRIC: v}) for i, v in enumerate((0.2, 0.8, 0.5))]
    (lines,) = parallel_coordinates(read_runs(folders), ["trainer.steps"], METRIC).axes[0].collections
    ends = [path.vertices[-1, 1] for path in lines.get_paths()]
    assert ends == pytest.approx([0, 0.5, 1])  # the best is drawn last
    assert list(lines.get_linewidths()) == [1.1, 1.1, 3.0]


def test_numbers_stand_on_a_line_and_names_side_by_side():
    names, few, rates, shares = (Axis(v) for v in (["b", "a"], [1, 2, 4], [1e-4, 1e-3, 1e-2], list(np.linspace(0.01, 0.5, 9))))
    assert [names.place(v) for v in ("a", "b")] == [0.25, 0.75]
    assert few.place(2) == pytest.approx(1 / 3)
    assert rates.log
    assert rates.place(1e-3) == pytest.approx(0.5)
    assert not shares.log
    assert [text for _, text in rates.ticks()] == ["0.0001", "0.001", "0.01"]
