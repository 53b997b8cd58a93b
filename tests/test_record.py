"""How a run is called, and what it is told apart by."""

from __future__ import annotations

import pytest

from recap_exp.composition import compose
from recap_exp.record import params, run_name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "planted"),
        (["experiment=deskdrop"], "planted"),
        (["model=masknet_serial", "seed=1", "tracking=none"], "masknet_serial seed=1"),
        (["optimizer.backbone.rate=1e-3", "~tasks.is_replied"], "optimizer.backbone.rate=1e-3 ~tasks.is_replied"),
    ],
)
def test_a_run_is_named_by_what_differs(overrides, name):
    assert run_name("planted", overrides) == name


def test_params_are_few_and_include_what_was_asked_for():
    found = params(compose("train", ["model.tower.dropout=0.1", "trainer.steps=50"]), also=["model.input.clip"])
    assert found["model.tower.dropout"] == 0.1
    assert found["trainer.steps"] == 50
    assert found["model.input.clip"] == 5.0
    assert found["model.name"] == "masknet_parallel"
    assert len(found) < 15
