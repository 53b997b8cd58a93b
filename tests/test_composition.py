"""Configurations: every choice composes, every mistake is one line that names key, value, what is allowed and the nearest spelling."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from recap_exp.checks import check
from recap_exp.composition import compose, from_yaml, to_yaml
from recap_exp.config import ExperimentConfig, TrainConfig
from recap_exp.errors import ConfigError
from recap_exp.paths import conf_dir
from recap_exp.plain_yaml import read_plain, write_plain

GROUPS = ("data", "tasks", "model", "optimizer", "trainer", "evaluation", "scoring", "tracking")
RECIPES = sorted(p.stem for p in (conf_dir() / "experiment").glob("*.yaml"))

# Choices that only fit together with others.
COMPANIONS = {
    ("data", "deskdrop"): ["experiment=deskdrop"],
    ("data", "deskdrop_mtl"): ["tasks=deskdrop", "scoring=deskdrop"],
    ("tasks", "deskdrop"): ["experiment=deskdrop"],
    ("scoring", "deskdrop"): ["experiment=deskdrop"],
    ("data", "halves"): ["experiment=fork_study"],
    ("evaluation", "fork"): ["experiment=fork_study"],
    ("data", "dataset"): ["data.source.path=somewhere"],
    ("evaluation", "original"): ["scoring.partitions=[val]"],
    ("data", "deskdrop_past"): ["experiment=deskdrop"],
    ("data", "graph_folder"): ["experiment=twhin_planted", "data.source.path=somewhere"],
    **{
        key: ["experiment=twhin_planted"]
        for key in [
            ("data", name) for name in ("codex_s", "deskdrop_graph", "edges", "higgs", "nations", "original_graph", "planted_graph")
        ]
        + [("model", name) for name in ("twhin", "twhin_all", "twhin_complex", "twhin_original")]
        + [("optimizer", name) for name in ("twhin", "twhin_cosine", "twhin_original")]
        + [("evaluation", name) for name in ("links", "links_sampled")]
    },
}


@pytest.mark.parametrize(("group", "name"), [(g, p.stem) for g in GROUPS for p in sorted((conf_dir() / g).glob("*.yaml"))])
def test_every_choice_composes(group, name):
    cfg = compose("train", [*COMPANIONS.get((group, name), []), f"{group}={name}"])
    assert isinstance(cfg, TrainConfig)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes_and_is_named_as_its_file(recipe):
    assert compose("train", [f"experiment={recipe}"]).name == recipe


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_begins_with_question_command_and_figures(recipe):
    lines = (conf_dir() / "experiment" / f"{recipe}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# Question")
    assert any(line.startswith("# Run ") and f"experiment={recipe}" in line for line in lines)
    assert any(line.startswith("# Expect") for line in lines)


def _missing_keys(config, plain, path=""):
    for field in dataclasses.fields(config):
        if field.name in ("overrides", "compared"):  # composing fills them in
            continue
        key = f"{path}{field.name}"
        if field.name not in plain:
            yield key
        elif dataclasses.is_dataclass(value := getattr(config, field.name)):
            yield from _missing_keys(value, plain[field.name], f"{key}.")


def test_the_composed_yaml_shows_every_key():
    from recap_exp.composition import compose_untyped, from_hydra

    composed = compose_untyped("train", [])
    cfg = from_hydra("train", composed, [])
    assert list(_missing_keys(cfg, OmegaConf.to_container(composed, resolve=True))) == []


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("trainer.stps=3", ["'trainer.stps'", "batch_size", "did you mean 'steps'"]),
        ("trainer.steps=abc", ["trainer.steps='abc'", "an integer"]),
        ("trainer.steps=1.5", ["trainer.steps=1.5", "an integer"]),
        ("trainer.steps=0", ["steps", "0", "at least 1"]),
        ("trainer.batch_size=1", ["batch_size", "1", "at least 2"]),
        ("trainer.precision=fp8", ["trainer.precision='fp8'", "fp32", "bf16"]),
        ("model=maskent_serial", ["model=maskent_serial", "masknet_parallel", "did you mean 'masknet_serial'"]),
        ("modle=mlp", ["'modle'", "did you mean 'model'"]),
        ("model.sharing=share_some", ["model.sharing='share_some'", "share_none", "did you mean"]),
        ("model.tower.layers=[64,2]", ["model.tower", "last layer must be 1", "[64, 2]"]),
        ("model.backbone=null", ["model", "backbone must be given", "share_none"]),
        ("data=random model.blocks=[contnuous]", ["model.blocks='contnuous'", "did you mean 'continuous'"]),
        (
            "tasks.is_favorited.label=recap.engagement.is_faved",
            ["tasks.is_favorited.label", "is_faved", "did you mean 'recap.engagement.is_favorited'"],
        ),
        ("tasks.is_favorited.label=recap.engagement.is_replied", ["tasks.is_replied", "same label column"]),
        ("~optimizer.tower", ["optimizer.tower"]),
        ("optimizer.tower=null", ["'is_favorited' has no learning rate", "optimizer.towers.is_favorited"]),
        ("+optimizer.towers.is_favorite={kind: constant, rate: 1e-3}", ["is_favorite", "did you mean 'is_favorited'"]),
        ("scoring.engagements.fav.task=is_favorite", ["scoring.engagements.fav.task='is_favorite'", "did you mean 'is_favorited'"]),
        ("~scoring.engagements.fav", ["'is_favorited' has no weight"]),
        ("evaluation.partitions.val.split=vall", ["evaluation.partitions.val.split='vall'", "did you mean 'val'"]),
        ("scoring.partitions=[tset]", ["scoring.partitions='tset'", "did you mean 'test'"]),
        ("data.source.rows.train=10", ["data.source.rows.train=10", "trainer.batch_size"]),
        ("data.source.kind=plantd", ["data.source.kind='plantd'", "did you mean 'planted'"]),
        ("tracking.uri=file:///tmp/x", ["tracking.uri", "file:///tmp/x"]),
        ("seed", ["'seed' is no override"]),
        ("metric=val/auc/mean", ["the metric in metric='auc'", "auroc"]),
        ("metric=val/auroc/is_favorite", ["the task in metric", "did you mean 'is_favorited'"]),
        ("trainer.early_stopping.metric=val/aurocc/mean", ["trainer.early_stopping.metric", "did you mean 'auroc'"]),
        ("trainer.warm_start=20260101", ["trainer.warm_start=20260101", "must be a string", "quote it"]),
        ("evaluation.pictures=[tset]", ["pictures", "tset"]),
        ("seed=-1", ["seed", "-1"]),
        ("tracking.tags={why: try}", ["'tracking.tags.why'", "+tracking.tags.why=VALUE"]),
        ("seed=-1", ["seed=-1: must be at least 0"]),
        ("experiment=deskdorp", ["experiment=deskdorp", "did you mean 'deskdrop'"]),
    ],
)
def test_a_mistake_is_one_line_that_teaches(override, parts):
    with pytest.raises(ConfigError) as caught:
        compose("train", override.split(" ") if override.startswith("data=") else [override])
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("command", "override", "words"),
    [
        ("data", "output.files=0", r"files=0: must be at least 1"),
        ("data", "output.splits=[]", r"splits=\[\]: must name at least one split"),
        ("score", "splits=[test,test]", r"splits=\['test', 'test'\]: must name .* none twice"),
        ("score", "batch_size=0", r"batch_size=0: must be at least 1"),
    ],
)
def test_mistakes_of_the_other_commands(command, override, words):
    with pytest.raises(ConfigError, match=words):
        compose(command, [override])


def test_an_unknown_command_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        compose("trian", [])


def test_composing_imports_neither_torch_nor_mlflow():
    code = """
import sys
from recap_exp.composition import compose
compose("train", [])
print([m for m in ("torch", "mlflow", "pandas") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_stored_configuration_reads_back_equal(tmp_path: Path):
    cfg = compose("train", ["model=masknet_serial", "seed=7"])
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(cfg))
    again = from_yaml(ExperimentConfig, file)
    check(again)
    assert again == cfg


HOSTILE = {
    "name: !!python/object/apply:os.system ['touch {mark}']": "holds the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
    "name: !!python/object/apply:pathlib.Path ['{mark}']": "holds the tag",
    "name: !!python/name:os.system": "holds the tag",
    "name: !mine planted": "holds the tag '!mine'",
    "name: !!timestamp 2026-01-01": "holds the tag",
    "compared: !!set {{a, b}}": "holds the tag",
    "name: &a x\nmetric: *a": "holds a reference",
    "name: x\nname: y": "holds the key 'name' twice",
    "1: x": "a key that is no text",
    "seed: {{": "is no YAML",
    "seed: ${{oc.env:SEED}}": "seed='${{oc.env:SEED}}': must be an integer",
    "seed: 1e3": "seed='1e3': must be an integer",
    "metric: val/auc/mean": "the metric in metric='auc'",
    "_target_: os.system": "unknown key '_target_'",
    "defaults: [/model: mlp]": "unknown key 'defaults'",
    "hydra: {{run: {{dir: /}}}}": "unknown key 'hydra'",
}
"""What somebody could have written into a run's folder, and what is said of it."""


@pytest.mark.parametrize("text", HOSTILE)
def test_a_stored_configuration_is_data(text, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SEED", "3")
    mark, file = tmp_path / "mark", tmp_path / "config.yaml"
    keys = tuple(line.split(":")[0] + ":" for line in text.splitlines())
    own = [line for line in to_yaml(compose("train", [])).splitlines() if not line.startswith(keys)]
    file.write_text("\n".join([*own, text.format(mark=mark)]))
    with pytest.raises(ConfigError) as caught:
        from_yaml(ExperimentConfig, file)
    said = str(caught.value)
    assert said.startswith(str(file)) and HOSTILE[text].format() in said and "\n" not in said
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"- seed", b"\xff", b"[" * 1000, b"seed: 1"])
def test_a_file_that_is_no_configuration_is_said_in_one_line(content, tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        from_yaml(ExperimentConfig, file)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


def test_nothing_in_a_stored_configuration_is_looked_up(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SECRET", "hidden")
    cfg = compose("train", ["+tracking.tags.why='\\${oc.env:SECRET}'"])
    cfg.tracking.notes = "${oc.env:SECRET} ${seed} ${"
    cfg.tracking.run_name = "1e5"
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(cfg))
    again = from_yaml(ExperimentConfig, file)
    assert again == cfg
    assert again.tracking.tags["why"] == "${oc.env:SECRET}"


def test_compared_weight_sets_are_stored_and_older_runs_find_theirs(tmp_path: Path):
    cfg = compose("train", ["scoring.compare=[home_2026]", "scoring.unmatched=list"])
    assert cfg.compared["home_2026"].engagements
    cfg.compared["home_2026"].engagements["favorite"].weight = 7.0
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(cfg))
    assert from_yaml(ExperimentConfig, file).compared["home_2026"].engagements["favorite"].weight == 7.0
    stored = read_plain(file)
    del stored["compared"]
    file.write_text(write_plain(stored))
    assert from_yaml(ExperimentConfig, file).compared["home_2026"].engagements["favorite"].weight == 0.5


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("scoring=home_2027", ["scoring=home_2027", "did you mean 'home_2026'"]),
        ("data=plantd", ["data=plantd", "did you mean 'planted'"]),
        ("scoring.groups.by=label", ["a scoring that was not chosen", "scoring=NAME"]),
        ("splitz=[val]", ["'splitz'", "did you mean 'splits'"]),
    ],
)
def test_a_mistake_in_scoring_anew_is_never_passed_over(override, parts):
    with pytest.raises(ConfigError) as caught:
        compose("score", [override])
    for part in parts:
        assert part in str(caught.value)


def test_a_value_that_must_be_given_is_named():
    with pytest.raises(ConfigError, match=r"data\.source\.path must be given: data\.source\.path=VALUE"):
        compose("train", ["data=dataset"])


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["1e5", "017", "1:30", "2026-01-01", "<<", "=", "null", "~", "yes", "!!x", "&a", "*a", "\x85", "a\u2028b"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_plain_data_is_read_back_as_it_was_written(data):
    shared = [1, {"a": "b"}]
    written = {"a": shared, "b": shared} | data
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(write_plain(written), encoding="utf-8", newline="")
        assert read_plain(file) == written
