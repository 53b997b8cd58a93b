"""One run of a graph's embeddings, top to bottom: prepare edges, build, fit, evaluate, record."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from typing import Literal

from recap_exp.composition import to_yaml
from recap_exp.config import GraphExperimentConfig
from recap_exp.data.graph.batches import edge_batches
from recap_exp.data.graph.graph import Graph
from recap_exp.data.graph.prepare import prepare_graph
from recap_exp.dependencies import Dependencies, dependencies
from recap_exp.errors import known
from recap_exp.evaluation.links.evaluate import LinkEvaluation, LinkPartition
from recap_exp.evaluation.links.maps import entity_maps
from recap_exp.graph_record import GraphRecord
from recap_exp.model.twhin.twhin import Twhin
from recap_exp.record import Result, recording
from recap_exp.runs import GRAPH, RunFolder, new_run
from recap_exp.sweep.job import SweepJob
from recap_exp.training import processes
from recap_exp.training.checkpoint import Checkpoints, resume
from recap_exp.training.loop import FitResult, fit
from recap_exp.training.objective import LinkObjective
from recap_exp.training.seeds import prepare_torch
from recap_exp.training.sparse.optimizer import build_sparse_optimizer
from recap_exp.whole import whole


def run(
    cfg: GraphExperimentConfig, folder: RunFolder | None = None, job: SweepJob | None = None, rerun_of: RunFolder | None = None
) -> Result:
    """The story of a graph's embeddings. folder: of a run that goes on; None: a new one."""
    graph = prepare_graph(cfg.data)
    check_graph_names(cfg, graph)
    depends = depends_on(cfg, graph)
    folder = folder or new_run("train", cfg.name, to_yaml(cfg), job, system=GRAPH)
    with recording(GraphRecord, cfg, folder, recipe=cfg.name, job=job, rerun_of=rerun_of) as record:
        record.depends(depends)
        record.graph(graph)
        with whole(folder.schema, alone=True) as draft:
            draft.write_text(json.dumps(graph.schema.to_json()))
        device = prepare_torch(cfg.seed, cfg.trainer)
        with processes.joined(cfg.trainer, accompany, cfg, graph, folder), processes.group(device):
            model = build_graph_model(cfg, graph, "meta")
            record.built(model, graph)
            fitted, evaluations = train_and_evaluate(cfg, graph, model, record, job)
            maps = entity_maps(model, graph, cfg.seed) if cfg.evaluation.pictures else {}
        record.fitted(fitted)
        record.links(evaluations, fitted, logged=watched(cfg), pictures=cfg.evaluation.pictures)
        record.maps(maps)
        record.checkpoint(Checkpoints(folder.checkpoints).best() or Checkpoints(folder.checkpoints).newest())
    return record.result(cfg.metric)


def accompany(cfg: GraphExperimentConfig, graph: Graph, folder: RunFolder) -> None:
    """What every other process of a run does: all that the first one does, with its share of every batch and its part of the tables,
    but for telling."""
    prepare_torch(cfg.seed, cfg.trainer)
    model = build_graph_model(cfg, graph, "meta")
    train_and_evaluate(cfg, graph, model, GraphRecord.beside(folder))
    if cfg.evaluation.pictures:
        entity_maps(model, graph, cfg.seed)


def check_graph_names(cfg: GraphExperimentConfig, graph: Graph) -> None:
    """That the graph has every name that the configuration uses, before anything is trained."""
    relations = [relation.name for relation in graph.schema.relations]
    for name in cfg.model.operators:
        known(name, relations, "model.operators")
    for name in cfg.optimizer.tables:
        known(name, graph.schema.entities, "optimizer.tables")
    known("train", graph.splits, "splits of data (training reads split 'train')")
    for name, partition in cfg.evaluation.partitions.items():
        known(partition.split, graph.splits, f"evaluation.partitions.{name}.split")


def build_graph_model(cfg: GraphExperimentConfig, graph: Graph, device: Literal["cpu", "meta"] = "cpu") -> Twhin:
    """A model of `cfg` that has learned nothing. device: meta where its tables are about to be sharded."""
    degrees = graph.degrees() if cfg.model.negatives.by_degree else None
    return Twhin(cfg.model, graph.schema, seed=cfg.seed, degrees=degrees, device=device)


def train_and_evaluate(
    cfg: GraphExperimentConfig, graph: Graph, model: Twhin, record: GraphRecord, job: SweepJob | None = None
) -> tuple[FitResult, list[LinkEvaluation]]:
    """Fits the model on split `train` and evaluates every partition; the model ends with the weights of the best checkpoint, where a
    metric is watched. Of several processes all come by here."""
    partitions = {name: LinkPartition(graph, name, cfg.evaluation) for name in cfg.evaluation.partitions}
    during = [partitions[name] for name in watched(cfg)]
    checkpoints = Checkpoints(record.folder.checkpoints, cfg.trainer.keep_checkpoints, extra=partial(record.identity, cfg))
    optimizer = build_sparse_optimizer(cfg.optimizer, model, cfg.trainer)
    newest = checkpoints.newest()
    start = resume(newest, model, optimizer) if newest else None
    consumed = start.micro_batches if start else 0
    with closing(edge_batches(graph, "train", cfg.trainer.batch_size, cfg.seed, consumed)) as batches:
        fitted = fit(
            model,
            batches,
            LinkObjective(model),
            optimizer,
            cfg.trainer,
            tracker=record.tracker,
            checkpoints=checkpoints,
            start=start,
            evaluate=lambda step: processes.broadcast(metrics_of([partition.evaluate(model) for partition in during])),
            evaluated=job.evaluated if job else None,
            progress=processes.first() and (job is None or job.alone),
        )
    return fitted, [partition.evaluate(model) for partition in partitions.values()]


def watched(cfg: GraphExperimentConfig) -> list[str]:
    """The partitions that are evaluated during training."""
    return [name for name, partition in cfg.evaluation.partitions.items() if partition.during_training]


def depends_on(cfg: GraphExperimentConfig, graph: Graph, fresh: bool = False) -> Dependencies:
    """What a training of `cfg` that begins now depends on; see `dependencies`."""
    return dependencies(cfg.data, graph, cfg.trainer, None, fresh)


def metrics_of(evaluations: list[LinkEvaluation]) -> dict[str, float]:
    """All of them by name."""
    return {name: value for evaluation in evaluations for name, value in evaluation.metrics.items()}
