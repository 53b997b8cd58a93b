"""What a link evaluation's configuration admits, and that its files say all of it."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from recap_exp.evaluation.links.config import LinkEvaluationConfig, LinkPartitionConfig
from recap_exp.paths import conf_dir

FILES = sorted((conf_dir() / "evaluation").glob("links*.yaml"))


def read(plain):
    return TypeAdapter(LinkEvaluationConfig).validate_json(json.dumps(plain))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_choice_says_what_it_is_and_every_field(file):
    assert file.read_text().startswith("# ")
    plain = yaml.safe_load(file.read_text())
    cfg = read(plain)
    assert list(plain) == [f.name for f in dataclasses.fields(cfg)]
    for partition in plain["partitions"].values():
        assert list(partition) == [f.name for f in dataclasses.fields(LinkPartitionConfig)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"partitions": {}}, "at least one partition"),
        ({"partitions": {"a/b": {"split": "test"}}}, "'a/b' can't be a name"),
        ({"partitions": {"test": {"split": "test", "edges": 0}}}, "edges must be at least 1, not 0"),
        ({"hits": [0]}, "hits must be different numbers of at least 1"),
        ({"hits": [3, 3]}, "hits must be different numbers of at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"sampled_pairs": 0}, "sampled_pairs must be at least 1, not 0"),
        ({"candidates": "some"}, "'type' or 'all'"),
        ({"sides": "top"}, "'both', 'right' or 'left'"),
    ],
)
def test_wrong_values_say_what_is_allowed(wrong, said):
    with pytest.raises(ValidationError, match=said):
        read({"partitions": {"test": {"split": "test"}}, **wrong})
