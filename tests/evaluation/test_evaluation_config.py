from __future__ import annotations

import json
from dataclasses import fields

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from recap_exp.evaluation.config import EvaluationConfig, PartitionConfig
from recap_exp.paths import conf_dir
from recap_exp.tasks import Rates

FILES = sorted(f for f in (conf_dir() / "evaluation").glob("*.yaml") if not f.stem.startswith("links"))  # those are of graphs


def read(stored) -> EvaluationConfig:
    return TypeAdapter(EvaluationConfig).validate_json(json.dumps(stored))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_group_files_state_every_field(file):
    stored = yaml.safe_load(file.read_text())
    read(stored)
    assert file.read_text().startswith("# ")
    assert list(stored) == [f.name for f in fields(EvaluationConfig)]
    for partition in stored["partitions"].values():
        assert list(partition) == [f.name for f in fields(PartitionConfig)]


def test_the_originals_partitions_have_its_rates():
    cfg = read(yaml.safe_load((conf_dir() / "evaluation" / "original.yaml").read_text()))
    home = yaml.safe_load((conf_dir() / "tasks" / "home.yaml").read_text())
    assert list(cfg.partitions) == ["val", "train", *home]
    for task in home:
        assert cfg.partitions[task].tasks == list(cfg.partitions[task].rates) == [task]
    assert cfg.partitions["is_report_tweet_clicked"].rates["is_report_tweet_clicked"] == Rates(positive=1.0, negative=1.4e-5)
    assert cfg.partitions["is_favorited"].rates["is_favorited"] == Rates(positive=0.8387, negative=0.01)
    assert not cfg.partitions["val"].rates


PARTITION = {"split": "val", "rates": {}, "tasks": None, "steps": -1, "during_training": True}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"partitions": {}}, "at least one partition"),
        ({"partitions": {"a/b": PARTITION}}, "'a/b' can't be a name"),
        ({"partitions": {"val": PARTITION | {"steps": 0}}}, "steps must be at least 1"),
        ({"partitions": {"val": PARTITION | {"tasks": []}}}, "tasks must name at least one"),
        ({"partitions": {"val": PARTITION | {"tasks": ["a", "a"]}}}, "none twice"),
        ({"partitions": {"val": PARTITION | {"splitt": "val"}}}, "splitt"),
        ({"strata": ["a", "a"]}, "strata must name no column twice"),
    ],
)
def test_wrong_values_are_named(change, message):
    with pytest.raises(ValidationError, match=message):
        read({"batch_size": 4096, "partitions": {"val": PARTITION}, "strata": []} | change)
