"""The choices in conf/optimizer and conf/trainer."""

from __future__ import annotations

import dataclasses

import pytest
from omegaconf import OmegaConf

from recap_exp.composition import compose, load_choice
from recap_exp.errors import ConfigError
from recap_exp.paths import conf_dir
from recap_exp.training.config import Constant, LinearRamp, LinearRampCosine, OptimizerConfig, TrainerConfig
from recap_exp.training.schedules import rate
from recap_exp.training.sparse.config import SparseOptimizerConfig

FILES = [
    (cls, path)
    for cls, group in ((OptimizerConfig, "optimizer"), (TrainerConfig, "trainer"))
    for path in (conf_dir() / group).glob("*.yaml")
    if not path.stem.startswith("twhin")
] + [(SparseOptimizerConfig, path) for path in (conf_dir() / "optimizer").glob("twhin*.yaml")]


@pytest.mark.parametrize(("cls", "path"), FILES, ids=lambda x: getattr(x, "stem", ""))
def test_every_file_states_every_field_and_says_what_it_is(cls, path):
    stated = OmegaConf.load(path)
    assert list(stated) == [field.name for field in dataclasses.fields(cls)]
    assert path.read_text().startswith("# ")
    assert stated.get("name", path.stem) == path.stem


def test_the_original_s_rates():
    cfg = load_choice("optimizer", "heavy_ranker", OptimizerConfig)
    assert (cfg.betas, cfg.eps, cfg.tower, cfg.backbone) == ([0.95, 0.999], 1e-7, None, LinearRamp(rate=1e-4, ramp=1000))
    table = {name: (s.rate, s.ramp) for name, s in cfg.towers.items()}
    assert table == {
        "is_favorited": (8e-4, 5000),
        "is_good_clicked_convo_desc_favorited_or_replied": (1e-4, 2000),
        "is_good_clicked_convo_desc_v2": (2e-4, 1000),
        "is_negative_feedback_v2": (5e-4, 5000),
        "is_profile_clicked_and_profile_engaged": (3e-4, 1000),
        "is_replied": (1e-3, 1000),
        "is_replied_reply_engaged_by_author": (1e-4, 1000),
        "is_report_tweet_clicked": (1e-4, 3000),
        "is_retweeted": (1e-4, 1000),
        "is_video_playback_50": (3e-3, 1000),
    }


def test_towers_follow_the_backbone_unless_told_otherwise():
    both = compose("train", ["optimizer=adam", "optimizer.backbone.rate=0.5"]).optimizer
    assert both.tower == both.backbone and both.backbone.rate == 0.5
    apart = compose("train", ["optimizer=adam", "optimizer.tower.rate=0.5"]).optimizer
    assert apart.tower.rate == 0.5 != apart.backbone.rate
    one = compose("train", ["+optimizer.towers.is_replied={kind: constant, rate: 0.1}"]).optimizer
    assert one.towers == {"is_replied": Constant(rate=0.1)}


def test_the_cosine_ends_with_training():
    cfg = compose("train", ["optimizer=adam_cosine", "trainer.steps=400"]).optimizer
    assert isinstance(cfg.backbone, LinearRampCosine) and cfg.backbone.end == 400
    assert rate(cfg.tower, 400) == 0
    assert compose("train", ["optimizer=adam_cosine", "trainer.steps=50"]).optimizer.backbone.ramp == 3
    with pytest.raises(ConfigError, match=r"end must be a step after the ramp's last \(50\), not 50"):
        compose("train", ["optimizer=adam_cosine", "trainer.steps=50", "optimizer.backbone.ramp=50"])


def test_the_local_runs():
    original, fork = (load_choice("trainer", name, TrainerConfig) for name in ("original_local", "fork"))
    assert (original.steps, original.batch_size, original.checkpoint_every, original.log_every) == (10, 128, 5, 1)
    assert dataclasses.replace(fork, steps=10) == original and fork.steps == 100
