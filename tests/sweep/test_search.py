"""Grids and studies hand out jobs, through real files and a real SQLite study."""

from __future__ import annotations

import math

import pytest

from recap_exp.sweep.config import PrunerConfig, SearchConfig
from recap_exp.sweep.grid import Grid
from recap_exp.sweep.job import STUDY
from recap_exp.sweep.jobs import Jobs
from recap_exp.sweep.space import read_space
from recap_exp.sweep.study import Pruning, Study

SPACE = read_space({}, ["x=tag(log,interval(1e-4,1e-1))", "m=a,b", "k=range(1,6)"])
BEST = {"v": "maximize"}


def goodness(overrides):
    """Highest at x = 0.01, m = b, k = 3."""
    o = dict(text.split("=") for text in overrides)
    return -((math.log10(float(o["x"])) + 2) ** 2) - (o["m"] == "a") - abs(int(o["k"]) - 3)


def run(study, jobs, at_once=2):
    drawn = []
    while cards := study.draw(at_once):
        for card in cards:
            jobs.change(card.number, status="FINISHED", values={"v": goodness(card.overrides)})
            drawn.append(card.overrides)
        study.tell(jobs.all())
    return drawn


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_every_trial_is_a_job_in_the_space_and_the_same_for_the_same_seed(tmp_path, sampler):
    cfg = SearchConfig(sampler=sampler, trials=12, seed=3)
    drawn = []
    for name in "ab":
        (tmp_path / name).mkdir()
        jobs = Jobs(tmp_path / name)
        drawn.append(run(Study(cfg, SPACE, BEST, jobs, tmp_path / name / STUDY), jobs))
        assert [card.trial for card in jobs.all()] == list(range(12))
    assert drawn[0] == drawn[1]
    for overrides in drawn[0]:
        o = dict(text.split("=") for text in overrides)
        assert 1e-4 <= float(o["x"]) <= 1e-1
        assert o["m"] in "ab"
        assert o["k"] in "12345"
    assert len(set(drawn[0])) > 6


def test_a_bayesian_search_finds_more_than_chance(tmp_path):
    found = {}
    for sampler in ("random", "tpe"):
        (tmp_path / sampler).mkdir()
        jobs = Jobs(tmp_path / sampler)
        run(Study(SearchConfig(sampler=sampler, trials=40), SPACE, BEST, jobs, tmp_path / sampler / STUDY), jobs)
        late = [card.values["v"] for card in jobs.all()[20:]]
        found[sampler] = sum(late) / len(late)
    assert found["tpe"] > found["random"] + 1  # a whole choice better


def test_a_study_goes_on_where_it_stopped(tmp_path):
    jobs, file = Jobs(tmp_path), tmp_path / STUDY
    study = Study(SearchConfig(trials=3), SPACE, BEST, jobs, file)
    first, second = study.draw(2)
    jobs.change(first.number, status="FINISHED", values={"v": 1.0})  # and here the sweep dies: nothing is told
    again = Study(SearchConfig(trials=5), SPACE, BEST, jobs, file)
    assert again.left == 3
    states = [t.state.name for t in again._study.get_trials()]
    assert states == ["COMPLETE", "RUNNING"]  # the second job is still to be finished, by the same trial
    jobs.change(second.number, status="FAILED", error="no")
    again.tell(jobs.all())
    assert [t.state.name for t in again._study.get_trials()] == ["COMPLETE", "FAIL"]
    assert [card.trial for card in again.draw(None)] == [2, 3, 4]
    assert again.draw(None) == []


def test_trials_drawn_by_a_sweep_that_died_before_it_made_jobs_of_them_are_given_up(tmp_path):
    jobs, file = Jobs(tmp_path), tmp_path / STUDY
    study = Study(SearchConfig(trials=2), SPACE, BEST, jobs, file)
    study.draw(1)
    study._study.ask()
    again = Study(SearchConfig(trials=2), SPACE, BEST, jobs, file)
    assert [t.state.name for t in again._study.get_trials()] == ["RUNNING", "FAIL"]
    assert again.left == 1


def test_a_value_that_is_not_finite_teaches_nothing(tmp_path):
    jobs = Jobs(tmp_path)
    study = Study(SearchConfig(trials=1), SPACE, BEST, jobs, tmp_path / STUDY)
    (card,) = study.draw(None)
    jobs.change(card.number, status="FINISHED", values={"v": float("nan")})
    study.tell(jobs.all())
    assert study._study.get_trials()[0].state.name == "FAIL"


def test_several_objectives(tmp_path):
    jobs = Jobs(tmp_path)
    cfg = SearchConfig(trials=6, maximize=["a"], minimize=["b"])
    study = Study(cfg, SPACE, {"a": "maximize", "b": "minimize"}, jobs, tmp_path / STUDY)
    for card in study.draw(None):
        jobs.change(card.number, status="FINISHED", values={"a": float(card.number), "b": float(card.number)})
    study.tell(jobs.all())
    assert len(study._study.best_trials) == 6  # each is better than the other in one of the two


def test_a_trial_behind_the_median_is_pruned_and_a_good_one_is_not(tmp_path):
    jobs, file = Jobs(tmp_path), tmp_path / STUDY
    study = Study(SearchConfig(trials=4), SPACE, BEST, jobs, file)
    pruner = PrunerConfig(startup_trials=2)
    for card, value in zip(study.draw(2), (0.7, 0.8), strict=True):
        assert not Pruning(file, card.trial, pruner).is_behind(10, value)
        jobs.change(card.number, status="FINISHED", values={"v": value})
    study.tell(jobs.all())
    bad, good = study.draw(2)
    assert not Pruning(file, good.trial, pruner).is_behind(10, 0.9)
    assert Pruning(file, bad.trial, pruner).is_behind(10, 0.5)
    assert Pruning(file, bad.trial, pruner).is_behind(10, 0.5)  # a job that comes by the same step once more
    jobs.change(bad.number, status="PRUNED")
    study.tell(jobs.all())
    assert study._study.get_trials()[bad.trial].state.name == "PRUNED"


def test_a_grid_hands_out_what_is_not_there_yet(tmp_path):
    jobs, space = Jobs(tmp_path), read_space({}, ["m=a,b,c"])
    grid = Grid(space, jobs)
    assert [card.overrides for card in grid.draw(2)] == [("m=a",), ("m=b",)]
    more = Grid(read_space({}, ["m=b,c,d"]), jobs)
    assert more.left == 2
    assert [(card.number, card.overrides) for card in more.draw(None)] == [(2, ("m=c",)), (3, ("m=d",))]
    assert more.draw(None) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"trials": 0}, "trials must be at least 1"),
        ({"trials": 3, "at_once": 0}, "at_once must be at least 1"),
        ({"trials": 3, "seed": -1}, "seed must be at least 0"),
        ({"trials": 3, "maximize": ["a"], "minimize": ["a"]}, "no metric twice"),
        ({"trials": 3, "maximize": ["a", "b"], "pruner": PrunerConfig()}, "several objectives"),
    ],
)
def test_what_a_search_can_t_be(fields, said):
    with pytest.raises(ValueError, match=said):
        SearchConfig(**fields)
