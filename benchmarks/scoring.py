"""Candidates of a file scored as `recap-exp score` does, tables and pictures included, against one candidate a batch."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console

from benchmarks.harness import Figure, Spread, alternate, ratios, wall_seconds
from benchmarks.rows import recipe, stored
from recap_exp.composition import compared_scorings
from recap_exp.data.loader import eval_batches
from recap_exp.experiment import read_for
from recap_exp.model.predict import predict
from recap_exp.model.predictions import Predictions
from recap_exp.model.ranker import build_ranker
from recap_exp.scoring.report import ScoreReport, report
from recap_exp.scoring.score import score_predictions

SPLIT = "train"
BATCH = 4096
"""Rows a batch of `recap-exp score`."""

SMALL = [
    "model.backbone={kind: masknet, parallel: true, mlp: null, blocks: "
    "[{output: 16, aggregation: 16, reduction_factor: null, input_layer_norm: false, activation: false}]}"
]


def show(made: ScoreReport, folder: Path) -> None:
    """Table, pictures, formula lines and all candidates, where the run's folder and terminal would have them."""
    console = Console(file=io.StringIO())
    console.print(made.table(), *made.lines, made.words)
    for path, figure in made.figures.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / path)
    made.write(folder)


def measure(quick: bool) -> list[Figure]:
    """Time a candidate. One by one, a candidate is read, predicted and scored: no table, no picture, no printing."""
    rows, alone, rounds = (128, 4, 1) if quick else (16384, 64, 3)
    cfg = recipe(rows, ["data=random", *(SMALL if quick else ())])
    torch.manual_seed(cfg.seed)
    dataset = stored(cfg)
    reader = read_for(cfg, dataset)
    ranker = build_ranker(cfg.model, dataset.schema, list(cfg.tasks))
    parameters = sum(p.numel() for p in ranker.parameters())
    others = compared_scorings(cfg.scoring, cfg.compared)

    def in_batches() -> None:
        predictions = Predictions.concatenate(list(predict(ranker, eval_batches(dataset, SPLIT, reader, BATCH))))
        made = report(predictions, cfg.scoring, partition="candidates", task_list=cfg.tasks, others=others)
        with TemporaryDirectory() as folder:
            show(made, Path(folder))

    def one_by_one() -> None:
        for predictions in islice(predict(ranker, eval_batches(dataset, SPLIT, reader, 1)), alone):
            score_predictions(predictions, cfg.scoring)

    sides = {
        "batches": lambda: wall_seconds(in_batches) / rows,
        "one by one": lambda: wall_seconds(one_by_one) / alone,
    }
    costs = alternate(sides, rounds)
    return [
        Figure(
            name="scoring",
            ours=f"{rows:,} candidates of a Parquet file to scores, table, plots, files; {parameters:,} parameters",
            theirs=f"one candidate a batch, scores only ({alone} of them)",
            value=ratios(costs["one by one"], costs["batches"]),
            target=20,
            sides={name: Spread.of([1000 * c for c in cs]) for name, cs in costs.items()},
            costs="ms a candidate",
            rounds=rounds,
            details={"candidates_per_s": 1 / Spread.of(costs["batches"]).median},
        )
    ]
