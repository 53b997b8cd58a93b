"""The original's random rows at its full widths, as files of both formats, and one pass over them as a training run makes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from recap_exp.composition import compose
from recap_exp.config import ExperimentConfig
from recap_exp.data.batch import Batch
from recap_exp.data.convert import convert
from recap_exp.data.dataset import Dataset
from recap_exp.data.prepare import prepare
from recap_exp.experiment import training_stream
from recap_exp.paths import made_data_dir


def recipe(rows: int, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """The original's local run, with so many training rows."""
    cfg = compose("train", ["experiment=original_local", f"data.source.rows={{train: {rows}, val: 1, test: 1}}", *overrides])
    assert isinstance(cfg, ExperimentConfig)
    return cfg


def stored(cfg: ExperimentConfig) -> Dataset:
    """The recipe's rows; by default GZIP TFRecords of all features: 6000 floats, 832 integers, 600 embedding values."""
    return prepare(cfg.data, [task.label for task in cfg.tasks.values()])


def table(cfg: ExperimentConfig) -> Dataset:
    """The same rows in Parquet, with the features in use: 2117 floats, 59 binary, 320 discrete, 600 embedding values."""
    return convert(stored(cfg), made_data_dir() / "table", "parquet")


def epoch(cfg: ExperimentConfig, dataset: Dataset, rows: int) -> Iterator[Batch]:
    """The training batches of one pass, shuffled, in this thread."""
    return islice(training_stream(cfg, dataset), rows // cfg.trainer.batch_size)
