"""The very tables that a ranker's configuration means, named once and for all."""

from __future__ import annotations

from dataclasses import replace

from recap_exp.data.config import OF_RUN, DataConfig, StoredEmbeddingConfig


def pinned_tables(data: DataConfig) -> DataConfig:
    """`data` with the tables of runs there as files, and each run named by its whole id: `latest` is another run tomorrow.

    Raises RecapError where there is no such run or entity.
    """
    return replace(data, embeddings={name: _pinned(cfg) for name, cfg in data.embeddings.items()}) if data.embeddings else data


def _pinned(cfg: StoredEmbeddingConfig) -> StoredEmbeddingConfig:
    if cfg.of_run is None:
        return cfg
    from recap_exp.twhin.finished import load_graph_run  # not for rankers that read none

    name, entity = cfg.of_run
    run = load_graph_run(name)
    run.table(entity)
    return replace(cfg, table=f"{OF_RUN}{run.folder.id}/{entity}")
