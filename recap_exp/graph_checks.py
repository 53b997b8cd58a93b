"""What no room can check alone of a training of a graph's embeddings. Free of torch; in milliseconds."""

from __future__ import annotations

from importlib.util import find_spec

from recap_exp.config import GraphExperimentConfig
from recap_exp.data.graph.config import EventEdgesSource, GraphConfig, PlantedGraphSource, entity_types
from recap_exp.errors import ConfigError, known


def check_graph(cfg: GraphExperimentConfig) -> None:
    """Raises ConfigError at the first part that does not fit."""
    for rule in (_names, _splits, _trainer, _stopping, _objective):
        rule(cfg)
    if find_spec("torchrec") is None:
        raise ConfigError(
            f"model={cfg.model.name} needs the package torchrec, which is not installed: pip install 'recap-exp[cpu]', or [cuda]"
        )


def _names(cfg: GraphExperimentConfig) -> None:
    if relations := relations_of(cfg.data):
        for name in cfg.model.operators:
            known(name, relations, "model.operators")
    if entities := entity_types(cfg.data):
        for name in cfg.optimizer.tables:
            known(name, entities, "optimizer.tables")


def _splits(cfg: GraphExperimentConfig) -> None:
    if (splits := splits_of(cfg.data)) is None:
        return
    known("train", splits, "splits of data (training reads split 'train')")
    for name, partition in cfg.evaluation.partitions.items():
        known(partition.split, splits, f"evaluation.partitions.{name}.split")


def _trainer(cfg: GraphExperimentConfig) -> None:
    trainer = cfg.trainer
    allowed = {"accumulate": 1, "precision": "fp32", "warm_start": None, "reduce_batch_norm": False, "log_norms": False}
    why = {"accumulate": "tables learn in the backward pass of every batch", "precision": "model.dtype is the tables' own"}
    for key, value in allowed.items():
        if (given := getattr(trainer, key)) != value:
            said = "null" if value is None else str(value).lower()
            reason = why.get(key, "it is of rankers")
            raise ConfigError(f"trainer.{key}={given}: must be {said} for model={cfg.model.name} ({reason})")


def _stopping(cfg: GraphExperimentConfig) -> None:
    trainer = cfg.trainer
    if trainer.early_stopping is None:
        return
    during = [n for n, p in cfg.evaluation.partitions.items() if p.during_training]
    if trainer.evaluate_every is None or trainer.evaluate_every > trainer.steps:
        raise ConfigError(
            f"trainer.early_stopping watches {trainer.early_stopping.metric}, but trainer.evaluate_every={trainer.evaluate_every} never "
            f"evaluates before step {trainer.steps}: set trainer.evaluate_every to at most {trainer.steps}, or trainer.early_stopping=null"
        )
    known(trainer.early_stopping.metric.split("/")[0], during, "the partition in trainer.early_stopping.metric")
    _metric(trainer.early_stopping.metric, cfg, "trainer.early_stopping.metric")


def _objective(cfg: GraphExperimentConfig) -> None:
    if not cfg.metric.startswith(("train/", "perf/", "model/")):
        _metric(cfg.metric, cfg, "metric")


def _metric(metric: str, cfg: GraphExperimentConfig, key: str) -> None:
    """That PARTITION/METRIC[/RELATION] is something that an evaluation gives."""
    words = metric.split("/")
    if len(words) not in (2, 3):
        raise ConfigError(f"{key}='{metric}': must be PARTITION/METRIC, such as val/mrr, or PARTITION/mrr/RELATION")
    known(words[0], cfg.evaluation.partitions, f"the partition in {key}")
    known(words[1], cfg.evaluation.metrics if len(words) == 2 else ["mrr"], f"the metric in {key}")
    if len(words) == 3 and (relations := relations_of(cfg.data)):
        known(words[2], relations, f"the relation in {key}")


def relations_of(data: GraphConfig) -> list[str]:
    """The relations' names as far as the configuration knows them; empty where only the files do."""
    if data.relations:
        return list(data.relations)
    return list(data.source.events) if isinstance(data.source, EventEdgesSource) else []


def splits_of(data: GraphConfig) -> list[str] | None:
    """The splits' names as far as the configuration knows them; None where only the files do."""
    source = data.source
    if isinstance(source, PlantedGraphSource):
        return list(source.edges)
    by_time = getattr(source, "by_time", None)
    splits = by_time or getattr(source, "splits", None)
    return list(splits) if splits else None
