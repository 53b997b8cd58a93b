"""What no room can check alone: that the parts of a configuration fit each other. Free of torch; in milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from recap_exp.config import CommandConfig, ExperimentConfig, GraphExperimentConfig
from recap_exp.data.config import DataConfig
from recap_exp.data.graph.config import GraphConfig
from recap_exp.errors import ConfigError, known, nearest, require_package
from recap_exp.evaluation.config import AGAINST_TRUTH, CALIBRATED, METRICS
from recap_exp.graph_checks import check_graph
from recap_exp.model.config import LightGBMConfig, RankerConfig
from recap_exp.model.twhin.config import TwhinConfig
from recap_exp.scoring.config import ScoringConfig


def check(cfg: CommandConfig) -> None:
    """Raises ConfigError at the first part that does not fit."""
    if isinstance(cfg, ExperimentConfig):
        for rule in (_tasks, _blocks, _partitions, _scoring, _objective):
            rule(cfg)
        if isinstance(cfg.model, RankerConfig):
            _towers(cfg, cfg.model)
            for rule in (_optimizer, _stopping, _rows, _processes):  # baselines read nothing of what these look at
                rule(cfg)
        elif cfg.trainer.processes > 1:
            raise ConfigError(f"trainer.processes={cfg.trainer.processes}: model={cfg.model.name} is fitted by one process; set it to 1")
        if isinstance(cfg.model, LightGBMConfig):
            require_package("lightgbm", f"model={cfg.model.name}")
    elif isinstance(cfg, GraphExperimentConfig):
        check_graph(cfg)


def check_parts(command: str, container: Any) -> None:
    """That a training's data and model are of the same system, before either is looked at: their mistakes would hide this one."""
    if command != "train":
        return
    parts = {key: (container.get(key) or {}) for key in ("data", "model")}
    graph_data = parts["data"].get("kind") == GraphConfig.kind
    graph_model = parts["model"].get("kind") == TwhinConfig.kind
    if graph_data == graph_model:
        return
    names = {key: part.get("name") for key, part in parts.items()}
    if graph_data:
        raise ConfigError(
            f"data={names['data']} is a graph, and model={names['model']} is none of a graph's: begin from a recipe such as "
            "experiment=twhin_planted"
        )
    raise ConfigError(
        f"model={names['model']} is trained on a graph, and data={names['data']} is none: begin from a recipe such as "
        "experiment=twhin_planted"
    )


def check_scoring(scoring: ScoringConfig, tasks: Iterable[str]) -> None:
    """Every engagement has a task of the run, and every task a weight, unless `unmatched: list` admits what is left over."""
    tasks = list(tasks)
    if scoring.groups.by == "label":
        known(scoring.groups.name or "", tasks, "scoring.groups.name")
    if scoring.unmatched == "list":
        return
    used = {e.task or name: f"scoring.engagements.{name}.task" for name, e in scoring.engagements.items()}
    for task, key in used.items():
        known(task, tasks, key)
    for task in tasks:
        if task not in used:
            raise ConfigError(
                f"task '{task}' has no weight in scoring={scoring.name}: add scoring.engagements "
                f"(+scoring.engagements.{task}={{weight: 0}} leaves it out) or set scoring.unmatched=list"
            )


def splits_of(data: DataConfig) -> list[str] | None:
    """The names of the splits as far as the configuration knows them; None where only the files do."""
    source = data.source
    if source.kind in ("random", "planted", "null"):
        return list(source.rows)
    if source.kind in ("halves", "files"):
        return list(source.splits)
    return None


def _tasks(cfg: ExperimentConfig) -> None:
    if not cfg.tasks:
        raise ConfigError("tasks is empty: name at least one task")
    seen: dict[str, str] = {}
    for name, task in cfg.tasks.items():
        if "/" in name:
            raise ConfigError(f"tasks.{name}: a task's name is part of metric names and may not hold '/'")
        if task.label in seen:
            raise ConfigError(f"tasks.{name}.label='{task.label}': tasks.{seen[task.label]} has the same label column")
        seen[task.label] = name
    stored = _label_columns(cfg.data)
    if stored is not None:
        for name, task in cfg.tasks.items():
            known(task.label, stored, f"tasks.{name}.label")
    for name in cfg.data.sampling_rates:
        known(name, cfg.tasks, "data.sampling_rates")


def _label_columns(data: DataConfig) -> list[str] | None:
    source = data.source
    if source.kind in ("planted", "null"):
        return list(source.rates)
    if source.kind in ("random", "halves"):
        return list(source.label_columns)
    return None


def _blocks(cfg: ExperimentConfig) -> None:
    blocks = cfg.data.blocks
    if not blocks:
        return
    for name in cfg.model.blocks or []:
        known(name, [*blocks, *cfg.data.embeddings], "model.blocks")
    owner: dict[str, str] = {}
    for name, block in blocks.items():
        for column in block.columns:
            if column in owner:
                raise ConfigError(
                    f"data.blocks.{name}.columns='{column}': block '{owner[column]}' reads the same column; one source for each"
                )
            owner[column] = name


def _optimizer(cfg: ExperimentConfig) -> None:
    for name in cfg.optimizer.towers:
        known(name, cfg.tasks, "optimizer.towers")
    if cfg.optimizer.tower is None:
        for name in cfg.tasks:
            if name not in cfg.optimizer.towers:
                raise ConfigError(f"task '{name}' has no learning rate: add optimizer.towers.{name} or a common optimizer.tower")


def _towers(cfg: ExperimentConfig, model: RankerConfig) -> None:
    for name in model.towers:
        known(name, cfg.tasks, "model.towers")


def _partitions(cfg: ExperimentConfig) -> None:
    splits = splits_of(cfg.data)
    if splits is not None:
        known("train", splits, "splits of data (training reads split 'train')")
    for name, partition in cfg.evaluation.partitions.items():
        key = f"evaluation.partitions.{name}"
        if splits is not None:
            known(partition.split, splits, f"{key}.split")
        for task in partition.tasks or []:
            known(task, cfg.tasks, f"{key}.tasks")
        for task in partition.rates:
            known(task, cfg.tasks, f"{key}.rates")


def _scoring(cfg: ExperimentConfig) -> None:
    for name in cfg.scoring.partitions:
        known(name, cfg.evaluation.partitions, "scoring.partitions")
    check_scoring(cfg.scoring, cfg.tasks)


def _stopping(cfg: ExperimentConfig) -> None:
    trainer, during = cfg.trainer, [n for n, p in cfg.evaluation.partitions.items() if p.during_training]
    if trainer.early_stopping is None:
        return
    if trainer.evaluate_every is None or trainer.evaluate_every > trainer.steps:
        raise ConfigError(
            f"trainer.early_stopping watches {trainer.early_stopping.metric}, but trainer.evaluate_every={trainer.evaluate_every} never "
            f"evaluates before step {trainer.steps}: set trainer.evaluate_every to at most {trainer.steps}, or trainer.early_stopping=null"
        )
    stage = trainer.early_stopping.metric.split("/")[0]
    if stage not in during:
        raise ConfigError(
            f"trainer.early_stopping.metric='{trainer.early_stopping.metric}': partition '{stage}' is not evaluated during training; "
            f"such partitions are {', '.join(during) or 'none'}{nearest(stage, during)}"
        )
    _metric(trainer.early_stopping.metric, cfg, "trainer.early_stopping.metric")


def _objective(cfg: ExperimentConfig) -> None:
    if not cfg.metric.startswith(("score", "train/", "perf/", "model/")):
        _metric(cfg.metric, cfg, "metric")


def _metric(metric: str, cfg: ExperimentConfig, key: str) -> None:
    """That PARTITION/METRIC/TASK is something that an evaluation gives."""
    words = metric.split("/")
    if len(words) != 3:
        raise ConfigError(f"{key}='{metric}': must be PARTITION/METRIC/TASK, such as val/auroc/mean")
    known(words[0], cfg.evaluation.partitions, f"the partition in {key}")
    known(words[1], [*METRICS, *CALIBRATED, *AGAINST_TRUTH], f"the metric in {key}")
    known(words[2], [*cfg.tasks, "mean"], f"the task in {key}")


def _rows(cfg: ExperimentConfig) -> None:
    source = cfg.data.source
    if source.kind in ("random", "planted", "null"):
        rows = source.rows["train"]
        if rows < cfg.trainer.batch_size:
            raise ConfigError(f"data.source.rows.train={rows} is less than one batch: trainer.batch_size={cfg.trainer.batch_size}")


def _processes(cfg: ExperimentConfig) -> None:
    rows, processes = cfg.trainer.batch_size, cfg.trainer.processes
    if rows % processes or rows < 2 * processes:
        raise ConfigError(
            f"trainer.batch_size={rows}: must be a multiple of trainer.processes={processes}, and twice as much at least: each process "
            "takes an equal share of a batch"
        )
