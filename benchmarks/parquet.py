"""Parquet to training batches, against the original's GZIP TFRecords to the same batches."""

from __future__ import annotations

import pyarrow.parquet as pq

from benchmarks.harness import Figure, Spread, alternate, cpu_seconds, ratios
from benchmarks.rows import epoch, recipe, stored, table
from recap_exp.data.dataset import Dataset
from recap_exp.data.parquet import stored_columns
from recap_exp.experiment import read_for
from recap_exp.training.seeds import prepare_torch


def measure(quick: bool) -> list[Figure]:
    """Processor time of one pass over each; and of pyarrow alone, decoding the same columns."""
    rows, rounds = (256, 1) if quick else (4096, 11)
    cfg = recipe(rows)
    prepare_torch(cfg.seed, cfg.trainer)
    original, converted = stored(cfg), table(cfg)
    columns = stored_columns(read_for(cfg, converted, training=True).schema)
    (file,) = converted.split("train").files

    def batches(dataset: Dataset) -> float:
        return cpu_seconds(lambda: sum(map(len, epoch(cfg, dataset, rows))))

    def arrow() -> None:
        with pq.ParquetFile(file) as opened:
            for _ in opened.iter_batches(columns=columns, use_threads=False):
                pass

    costs = alternate(
        {"parquet": lambda: batches(converted), "tfrecord": lambda: batches(original), "pyarrow": lambda: cpu_seconds(arrow)}, rounds
    )
    return [
        Figure(
            name="parquet",
            ours=f"{rows:,} rows of Parquet (2117 + 59 + 600 features, ten labels), shuffled, to batches",
            theirs="the same rows out of the original's GZIP TFRecords",
            value=ratios(costs["tfrecord"], costs["parquet"]),
            target=5,
            sides={name: Spread.of([1e6 * c / rows for c in cs]) for name, cs in costs.items()},
            costs="CPU µs a row",
            rounds=rounds,
            details={"of_pyarrow_alone": ratios(costs["pyarrow"], costs["parquet"]).median},
        )
    ]
