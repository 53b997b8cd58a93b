"""Candidates of a file scored in batches, with everything that scoring shows, against one candidate a batch."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.harness import Figure, Spread, alternate, ratios, wall_seconds
from benchmarks.rows import recipe, table
from recap_exp.data.dataset import Dataset
from recap_exp.data.loader import eval_batches
from recap_exp.experiment import read_for
from recap_exp.model.predict import predict
from recap_exp.model.predictions import Predictions
from recap_exp.model.ranker import Ranker, build_ranker
from recap_exp.paths import outputs_dir
from recap_exp.scoring.report import report
from recap_exp.scoring.score import score_predictions

SPLIT = "train"
BATCH = 4096
"""What `recap-exp score` takes unless it is told otherwise."""


def measure(quick: bool) -> list[Figure]:
    """Time a candidate. One by one, only the score is made: no table, no picture."""
    rows, alone, rounds = (64, 2, 1) if quick else (8192, 40, 3)
    cfg = recipe(rows)
    torch.manual_seed(cfg.seed)
    dataset = table(cfg)
    model = cfg.model if not quick else recipe_small(cfg.model)
    ranker = build_ranker(model, dataset.schema, list(cfg.tasks)).eval()
    reader = read_for(cfg, dataset)

    def predictions(batch_size: int):  # type: ignore[no-untyped-def]
        return predict(ranker, eval_batches(dataset, SPLIT, reader, batch_size))

    return []
