"""The very tables that a ranker's configuration means, named once and for all."""

from __future__ import annotations

from dataclasses import replace

from recap_exp.data.config import OF_RUN, DataConfig, StoredEmbeddingConfig
from recap_exp.tracking.config import TrackingConfig


def pinned_tables(data: DataConfig, tracking: TrackingConfig | None = None) -> DataConfig:
    """`data` with the tables of runs there as files, and each run named by its whole id: `latest` is another run tomorrow.

    tracking: where a recipe's run is recorded that has to be trained first; None: none may be.

    Raises RecapError where there is no such run or entity.
    """
    return replace(data, embeddings={name: _pinned(cfg, tracking) for name, cfg in data.embeddings.items()}) if data.embeddings else data


def _pinned(cfg: StoredEmbeddingConfig, tracking: TrackingConfig | None) -> StoredEmbeddingConfig:
    if cfg.of_run is None and cfg.of_recipe is None:
        return cfg
    # not for rankers that read none
    from recap_exp.twhin.finished import load_graph_run
    from recap_exp.twhin.recipe import run_of_recipe

    if cfg.of_recipe:
        name, entity = cfg.of_recipe
        run = run_of_recipe(name, tracking)
    else:
        assert cfg.of_run
        name, entity = cfg.of_run
        run = load_graph_run(name)
    run.table(entity)
    return replace(cfg, table=f"{OF_RUN}{run.folder.id}/{entity}")
