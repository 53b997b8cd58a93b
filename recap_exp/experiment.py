"""One run, top to bottom: prepare data, build, fit, evaluate, score, record."""

from __future__ import annotations

import json
import warnings
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from recap_exp.composition import compared_scorings, to_yaml
from recap_exp.config import ExperimentConfig
from recap_exp.data.assemble import Assembler, assembler, is_stratum
from recap_exp.data.dataset import Dataset
from recap_exp.data.loader import TrainStream, eval_batches, train_batches
from recap_exp.data.prepare import prepare
from recap_exp.data.schema import Schema
from recap_exp.dependencies import Dependencies, dependencies
from recap_exp.errors import ConfigError, nearest
from recap_exp.evaluation.evaluate import Evaluation, evaluate
from recap_exp.metrics.metric import OneClassWarning
from recap_exp.model.base import Model
from recap_exp.model.baseline import Baseline
from recap_exp.model.blocks import used_blocks
from recap_exp.model.build import build
from recap_exp.model.calibration import rates_ratio
from recap_exp.model.norm import reduce_batch_norm
from recap_exp.model.predict import predict
from recap_exp.model.predictions import Predictions
from recap_exp.model.ranker import Ranker
from recap_exp.ranker_record import RankerRecord
from recap_exp.record import Result, recording
from recap_exp.runs import RunFolder, find_run, new_run
from recap_exp.scoring.report import ScoreReport, report
from recap_exp.sweep.job import SweepJob
from recap_exp.training import processes
from recap_exp.training.baseline import fit_baseline
from recap_exp.training.checkpoint import Checkpoints, resume, warm_start
from recap_exp.training.loop import FitResult, fit
from recap_exp.training.objective import TaskObjective
from recap_exp.training.optimizer import build_optimizer
from recap_exp.training.seeds import prepare_torch
from recap_exp.twhin.pin import pinned_tables
from recap_exp.whole import whole

# The evaluation's tables say it, once a partition.
warnings.filterwarnings("ignore", category=OneClassWarning)


def run(cfg: ExperimentConfig, folder: RunFolder | None = None, job: SweepJob | None = None, rerun_of: RunFolder | None = None) -> Result:
    """The story of a ranker. folder: of a run that goes on; None: a new one."""
    cfg = replace(cfg, data=pinned_tables(cfg.data, cfg.tracking))
    dataset = prepare(cfg.data, [task.label for task in cfg.tasks.values()])
    check_columns(cfg, dataset.schema)
    depends = depends_on(cfg, dataset)
    folder = folder or new_run("train", cfg.name, to_yaml(cfg), job)
    with recording(RankerRecord, cfg, folder, recipe=cfg.name, job=job, rerun_of=rerun_of) as record:
        record.depends(depends)
        record.dataset(dataset)
        device = prepare_torch(cfg.seed, cfg.trainer)
        ranker = build_model(cfg, dataset.schema).to(device)
        record.built(ranker)
        with whole(folder.schema, alone=True) as draft:
            draft.write_text(json.dumps(dataset.schema.to_json()))
        with processes.joined(cfg.trainer, accompany, cfg, dataset, folder):
            fitted = train(cfg, dataset, ranker, record, job)
        evaluations, scored = evaluate_partitions(cfg, dataset, ranker)
        record.fitted(fitted)
        record.evaluations(evaluations, fitted, logged=watched(cfg), pictures=cfg.evaluation.pictures)
        reports = score_partitions(cfg, scored)
        record.scores(reports)
        record.checkpoint(Checkpoints(folder.checkpoints).best() or Checkpoints(folder.checkpoints).newest())
        if cfg.tracking.log_model:
            record.model(ranker, dataset.schema, cfg, reports[0])
    return record.result(cfg.metric)


def accompany(cfg: ExperimentConfig, dataset: Dataset, folder: RunFolder) -> None:
    """What every other process of a run does: it trains beside the first one, which evaluates alone, and leaves."""
    device = prepare_torch(cfg.seed, cfg.trainer)
    ranker = build_model(cfg, dataset.schema).to(device)
    train(cfg, dataset, ranker, RankerRecord.beside(folder))


def check_columns(cfg: ExperimentConfig, schema: Schema) -> None:
    """That the data has every column that the configuration names, before anything is trained."""
    used_blocks(cfg.model, schema)
    has = f"it has {', '.join(schema.extras)}" if schema.extras else "it has none"
    named = {"scoring.groups.name": cfg.scoring.groups.name if cfg.scoring.groups.by == "extra" else None, "data.weight": cfg.data.weight}
    for key, column in named.items():
        if column is not None and column not in schema.extras:
            raise ConfigError(f"{key}: '{column}' is no extra column of data '{cfg.data.name}': {has}{nearest(column, schema.extras)}")
    for name in cfg.evaluation.strata:
        if not is_stratum(schema, name):
            known = [*schema.extras, *schema.ids, *(f"{n}.INDEX" for n, b in schema.blocks.items() if b.kind == "discrete")]
            lacks = f"evaluation.strata: data '{cfg.data.name}' has no '{name}'"
            raise ConfigError(f"{lacks}: allowed are {', '.join(known)}{nearest(name, known)}")


def build_model(cfg: ExperimentConfig, schema: Schema | None = None) -> Model:
    """A model of `cfg` that has learned nothing; without `schema`, of the data that `cfg` names, which is made where it has to be."""
    schema = schema or prepare(cfg.data, [task.label for task in cfg.tasks.values()]).schema
    return build(cfg.model, schema, list(cfg.tasks))


def train(cfg: ExperimentConfig, dataset: Dataset, ranker: Model, record: RankerRecord, job: SweepJob | None = None) -> FitResult:
    """Fits the model on split `train`; a ranker ends with the weights of the best checkpoint, where a metric is watched."""
    checkpoints = Checkpoints(record.folder.checkpoints, cfg.trainer.keep_checkpoints, extra=partial(record.identity, cfg))
    pos_weights = {name: task.pos_weight for name, task in cfg.tasks.items()}
    shown = processes.first() and (job is None or job.alone)
    if isinstance(ranker, Baseline):
        rows = partial(eval_batches, dataset, "train", read_for(cfg, dataset, training=True), cfg.evaluation.batch_size)
        return fit_baseline(
            ranker,
            rows,
            cfg.trainer,
            pos_weights=pos_weights,
            seed=cfg.seed,
            tracker=record.tracker,
            checkpoints=checkpoints,
            progress=shown,
        )
    assert isinstance(ranker, Ranker)
    if cfg.trainer.reduce_batch_norm:
        reduce_batch_norm(ranker)
    optimizer = build_optimizer(cfg.optimizer, ranker.parameter_groups())
    start = None
    if newest := checkpoints.newest():
        start = resume(newest, ranker, optimizer)
    elif cfg.trainer.warm_start:
        warm_start(weights_of(cfg.trainer.warm_start), ranker, optimizer)
    stream = training_stream(cfg, dataset, start.micro_batches if start else 0)
    with closing(train_batches(stream, cfg.data.workers)) as batches:
        return fit(
            ranker,
            batches,
            TaskObjective(ranker, cfg.trainer, pos_weights),
            optimizer,
            cfg.trainer,
            tracker=record.tracker,
            checkpoints=checkpoints,
            start=start,
            evaluate=lambda step: processes.broadcast(watched_metrics(cfg, dataset, ranker) if processes.first() else None),
            evaluated=job.evaluated if job else None,
            progress=shown,
        )


def training_stream(cfg: ExperimentConfig, dataset: Dataset, start: int = 0) -> TrainStream:
    """The endless batches of split `train`, from the one after `start` consumed ones on."""
    return TrainStream(
        dataset=dataset,
        split="train",
        assembler=read_for(cfg, dataset, training=True),
        batch_size=cfg.trainer.batch_size,
        shuffle_rows=cfg.data.shuffle_rows,
        seed=cfg.seed,
        start=start,
        share=(processes.rank(), processes.count()),
    )


def watched(cfg: ExperimentConfig) -> list[str]:
    """The partitions that are evaluated during training."""
    return [name for name, partition in cfg.evaluation.partitions.items() if partition.during_training]


def watched_metrics(cfg: ExperimentConfig, dataset: Dataset, ranker: Model) -> dict[str, float]:
    """The metrics of those partitions."""
    evaluations, _ = evaluate_partitions(cfg, dataset, ranker, watched(cfg))
    return {name: value for evaluation in evaluations for name, value in evaluation.metrics.items()}


def depends_on(cfg: ExperimentConfig, dataset: Dataset, fresh: bool = False) -> Dependencies:
    """What a training of `cfg` that begins now depends on; see `dependencies`."""
    weights = weights_of(cfg.trainer.warm_start) if cfg.trainer.warm_start else None
    return dependencies(cfg.data, dataset, cfg.trainer, weights, fresh)


def weights_of(source: str) -> Path:
    """What `trainer.warm_start` names: a checkpoint, a weights file, or a run, whose best checkpoint is meant."""
    path = Path(source).expanduser()
    return path if path.exists() else find_run(source, of_graph=False).checkpoints


def evaluate_partitions(
    cfg: ExperimentConfig, dataset: Dataset, ranker: Model, names: list[str] | None = None
) -> tuple[list[Evaluation], dict[str, Predictions]]:
    """Metrics of the named partitions (None: all), and then also the predictions of those that are scored."""
    evaluations, scored = [], {}
    for name in cfg.evaluation.partitions if names is None else names:
        partition = cfg.evaluation.partitions[name]
        batches = eval_batches(dataset, partition.split, read_for(cfg, dataset), cfg.evaluation.batch_size, partition.steps)
        chunks = predict(ranker, batches, rates_ratio(ranker.tasks, partition.rates))
        if names is None and name in cfg.scoring.partitions:
            scored[name] = Predictions.concatenate(list(chunks))
            chunks = iter([scored[name]])
        evaluations.append(evaluate(chunks, name, partition, strata=cfg.evaluation.strata))
    return evaluations, scored


def score_partitions(cfg: ExperimentConfig, scored: dict[str, Predictions]) -> list[ScoreReport]:
    """One report a scored partition, in the order of the configuration."""
    return [
        report(
            scored[name],
            cfg.scoring,
            partition=name,
            task_list=cfg.tasks,
            others=compared_scorings(cfg.scoring, cfg.compared),
            trained_on=cfg.evaluation.partitions[name].split == "train",
        )
        for name in cfg.scoring.partitions
    ]


def read_for(cfg: ExperimentConfig, dataset: Dataset, training: bool = False) -> Assembler:
    """What is read of the data: blocks that the model uses and labels; in training sampling weights, else ids, extras and truths."""
    return assembler(
        dataset.schema,
        cfg.tasks,
        blocks=used_blocks(cfg.model, dataset.schema),
        binarize=cfg.data.binarize,
        rates=cfg.data.sampling_rates if training else None,
        carry=not training,
        weight=cfg.data.weight,
        strata=() if training else cfg.evaluation.strata,
    )
