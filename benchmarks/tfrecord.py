"""The original's GZIP TFRecords to training batches, against gunzip alone: how much decoding costs beside inflating."""

from __future__ import annotations

import zlib
from pathlib import Path

from benchmarks.harness import Figure, Spread, alternate, cpu_seconds, ratios
from benchmarks.rows import epoch, recipe, stored
from recap_exp.training.seeds import prepare_torch

PIECE = 256 * 1024


def gunzip(file: Path) -> int:
    """Inflates a file by Python's zlib, piece by piece, and drops what comes out; its length."""
    inflater, size = zlib.decompressobj(wbits=31), 0
    with open(file, "rb") as compressed:
        while piece := compressed.read(PIECE):
            size += len(inflater.decompress(piece))
    return size


def measure(quick: bool) -> list[Figure]:
    """Processor time of one pass over a file that lies in the system's cache."""
    rows, rounds = (256, 1) if quick else (4096, 11)
    cfg = recipe(rows)
    prepare_torch(cfg.seed, cfg.trainer)
    dataset = stored(cfg)
    (file,) = dataset.split("train").files
    inflated = gunzip(file)
    costs = alternate(
        {
            "batches": lambda: cpu_seconds(lambda: sum(map(len, epoch(cfg, dataset, rows)))),
            "gunzip": lambda: cpu_seconds(lambda: gunzip(file)),
        },
        rounds,
    )
    return [
        Figure(
            name="tfrecord",
            ours=f"{rows:,} of the original's records, GZIP, checksums verified, shuffled, to batches",
            theirs="gunzip alone (zlib)",
            value=ratios(costs["gunzip"], costs["batches"]),
            target=0.45,
            sides={name: Spread.of([1e6 * c / rows for c in cs]) for name, cs in costs.items()},
            costs="CPU µs a row",
            rounds=rounds,
            details={"inflated_mb_per_row": inflated / rows / 1e6},
        )
    ]
