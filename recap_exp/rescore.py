"""`recap-exp score`: a finished run scored anew, on its own or any other data, without training."""

from __future__ import annotations

from dataclasses import replace

from recap_exp.checks import check_scoring
from recap_exp.composition import compared_scorings, to_yaml
from recap_exp.config import ScoreConfig
from recap_exp.data.dataset import Dataset
from recap_exp.data.prepare import prepare
from recap_exp.dependencies import Dependencies, dependencies
from recap_exp.errors import ConfigError, nearest
from recap_exp.finished import FinishedRun, load_run
from recap_exp.model.predictions import Predictions
from recap_exp.ranker_record import RankerRecord
from recap_exp.record import recording
from recap_exp.runs import RunFolder, new_run
from recap_exp.scoring.report import ScoreReport, report
from recap_exp.sweep.job import SweepJob
from recap_exp.training.checkpoint import Checkpoints
from recap_exp.twhin.pin import pinned_tables


def rescore(cfg: ScoreConfig) -> list[ScoreReport]:
    """Scores the chosen splits, and records that as a child of the run in MLflow."""
    return score_and_record(cfg)[1]


def score_and_record(cfg: ScoreConfig, rerun_of: RunFolder | None = None) -> tuple[RunFolder, list[ScoreReport]]:
    """`recap-exp score`: the new run's folder, and one report a split."""
    run = load_run(cfg.run)
    cfg = replace(cfg, run=run.folder.id, data=pinned_tables(cfg.data) if cfg.data else None)
    trained = run.config
    scoring = cfg.scoring or trained.scoring
    check_scoring(scoring, trained.tasks)
    others = compared_scorings(scoring, cfg.compared if cfg.scoring else trained.compared)
    for other in others.values():
        check_scoring(other, trained.tasks)
    dataset = data_of(cfg, run)

    if cfg.splits is not None:
        splits = {name: name for name in cfg.splits}
    elif cfg.data is None:
        splits = {name: trained.evaluation.partitions[name].split for name in trained.scoring.partitions}
    else:
        splits = {name: name for name in dataset.splits}
    for split in splits.values():
        if split not in dataset.splits:
            raise ConfigError(
                f"splits: '{split}' is no split of data '{dataset.name}': {', '.join(dataset.splits)}{nearest(split, dataset.splits)}"
            )
    scoring = replace(scoring, partitions=list(splits))

    depends = depends_on(cfg, run, dataset)
    job = SweepJob.of(cfg.sweep)
    folder = new_run("score", trained.name, to_yaml(cfg), job)
    tags = {"recap.scored_run": run.folder.id}
    with recording(RankerRecord, cfg, folder, recipe=trained.name, tags=tags, parent=run.folder.id, job=job, rerun_of=rerun_of) as record:
        record.depends(depends)
        record.dataset(dataset)
        ranker = run.ranker(cfg.checkpoint)
        reports = []
        for name, split in splits.items():
            partition = trained.evaluation.partitions.get(name)
            rates = partition.rates if partition and cfg.data is None else {}
            predictions = Predictions.concatenate(list(run.predict(ranker, dataset, split, rates, cfg.batch_size)))
            own_rows = cfg.data is None and split == "train"
            reports.append(report(predictions, scoring, partition=name, task_list=trained.tasks, others=others, trained_on=own_rows))
        record.scores(reports)
    return folder, reports


def data_of(cfg: ScoreConfig, run: FinishedRun) -> Dataset:
    """What is scored: other data, or the run's own."""
    return prepare(cfg.data or run.config.data, [t.label for t in run.config.tasks.values()], require_labels=False)


def depends_on(cfg: ScoreConfig, run: FinishedRun, dataset: Dataset, fresh: bool = False) -> Dependencies:
    """What a scoring of `run` that begins now depends on; see `dependencies`."""
    stored = run.folder.checkpoints
    weights = Checkpoints(stored).newest() if cfg.checkpoint == "newest" else stored
    return dependencies(cfg.data or run.config.data, dataset, weights=weights, fresh=fresh)
