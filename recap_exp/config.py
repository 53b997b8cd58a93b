"""The root configurations: they gather the rooms' dataclasses. Free of torch. What no room can check alone is checked in checks.py."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from recap_exp.configclass import configclass
from recap_exp.data.config import DataConfig, Format, Layout
from recap_exp.data.graph.config import GraphConfig
from recap_exp.evaluation.config import EvaluationConfig
from recap_exp.evaluation.links.config import LinkEvaluationConfig
from recap_exp.model.config import ModelConfig
from recap_exp.model.twhin.config import TwhinConfig
from recap_exp.scoring.config import ScoringConfig
from recap_exp.sweep.config import GridConfig, SweepConfig
from recap_exp.tasks import Task
from recap_exp.tracking.config import TrackingConfig
from recap_exp.training.config import OptimizerConfig, TrainerConfig
from recap_exp.training.sparse.config import SparseOptimizerConfig


def _check_splits(splits: list[str] | None) -> None:
    if splits is not None and (not splits or len(set(splits)) < len(splits)):
        raise ValueError(f"splits={splits}: must name at least one split and none twice, or be null")


@configclass
class ExperimentConfig:
    """One run of `recap-exp train`: data, fit, evaluate, score, record."""

    name: str
    """The recipe's name: the MLflow experiment, unless tracking.experiment says otherwise."""
    seed: int
    """Of initialisation, shuffling, dropout. Made data has a seed of its own, so that seeds can be compared on one data set."""
    metric: str
    """The metric that a run returns: what a sweep optimises."""
    resume: str | None = None
    """A run id, or `latest`: that run goes on from its newest checkpoint, with its own configuration, in its own records."""
    tasks: dict[str, Task]
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    evaluation: EvaluationConfig
    scoring: ScoringConfig
    tracking: TrackingConfig
    sweep: SweepConfig = field(default_factory=GridConfig)
    """Which runs `-m` makes. A single run reads nothing of it."""
    overrides: list[str] = field(default_factory=list)
    """Filled in by composing: what differs from the defaults."""
    compared: dict[str, ScoringConfig] = field(default_factory=dict)
    """Filled in by composing: the weight sets that scoring.compare names, so that a later change of conf/ does not change the run."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: must be at least 0")


@configclass
class GraphExperimentConfig:
    """One run of `recap-exp train` of a graph's embeddings: edges, fit, evaluate, record."""

    name: str
    """The recipe's name: the MLflow experiment, unless tracking.experiment says otherwise."""
    seed: int
    """Of initialisation, order of edges, negatives, dropout."""
    metric: str
    """The metric that a run returns: what a sweep optimises."""
    resume: str | None = None
    """A run id, or `latest`: that run goes on from its newest checkpoint, with its own configuration, in its own records."""
    data: GraphConfig
    model: TwhinConfig
    optimizer: SparseOptimizerConfig
    trainer: TrainerConfig
    evaluation: LinkEvaluationConfig
    tracking: TrackingConfig
    sweep: SweepConfig = field(default_factory=GridConfig)
    """Which runs `-m` makes. A single run reads nothing of it."""
    overrides: list[str] = field(default_factory=list)
    """Filled in by composing: what differs from the defaults."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: must be at least 0")


@configclass
class ScoreConfig:
    """One run of `recap-exp score`: a finished run scored anew, without training."""

    run: str
    """A run id, the beginning of one, or `latest`."""
    checkpoint: Literal["best", "newest"] = "best"
    splits: list[str] | None = None
    """Splits to score; null: the run's scored partitions, or with other data all of its splits."""
    data: DataConfig | None = None
    """Other data than the run's own; labels are optional."""
    scoring: ScoringConfig | None = None
    """Another scoring than the run's own."""
    batch_size: int = 4096
    metric: str | None = None
    """A metric such as score/auc_between_groups by which `-m` calls one of several scorings the best; null: by none."""
    tracking: TrackingConfig
    sweep: SweepConfig = field(default_factory=GridConfig)
    """Which scorings `-m` makes."""
    overrides: list[str] = field(default_factory=list)
    compared: dict[str, ScoringConfig] = field(default_factory=dict)
    """Filled in by composing, as in ExperimentConfig."""

    def __post_init__(self) -> None:
        _check_splits(self.splits)
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size}: must be at least 1")


@configclass
class OutputConfig:
    """Where a data set is written, and how."""

    path: str | None = None
    """Folder of the new data set; null: made data stays where it is made, under outputs/data."""
    format: Format = "parquet"
    layout: Layout = "packed"
    splits: list[str] | None = None
    """null: all."""
    files: int = 1
    """Files per split."""

    def __post_init__(self) -> None:
        _check_splits(self.splits)
        if self.files < 1:
            raise ValueError(f"files={self.files}: must be at least 1")


def _data_class(data: Any) -> str:
    """Graphs say that they are: data sets name no kind of their own."""
    graph = data.get("kind") == "graph" if isinstance(data, dict) else isinstance(data, GraphConfig)
    return "GraphConfig" if graph else "DataConfig"


@configclass
class DataCommandConfig:
    """One run of `recap-exp data`: make a data set or a graph, or convert one."""

    tasks: dict[str, Task]
    """Of a data set; a graph has none."""
    data: Annotated[Annotated[DataConfig, Tag("DataConfig")] | Annotated[GraphConfig, Tag("GraphConfig")], Discriminator(_data_class)]
    output: OutputConfig
    overrides: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        out = self.output
        if isinstance(self.data, GraphConfig):
            for key, value, only in (("format", out.format, "parquet"), ("layout", out.layout, "packed"), ("files", out.files, 1)):
                if value != only:
                    raise ValueError(f"output.{key}={value}: a graph is written with {key}={only} alone")


TrainConfig = ExperimentConfig | GraphExperimentConfig
"""What `recap-exp train` runs."""
CommandConfig = TrainConfig | ScoreConfig | DataCommandConfig

COMMANDS: dict[str, type[CommandConfig]] = {"train": ExperimentConfig, "score": ScoreConfig, "data": DataCommandConfig}
"""The commands that Hydra composes, each from conf/COMMAND.yaml."""


def config_class(command: str, container: Any) -> type[CommandConfig]:
    """The class of a composed or stored configuration: a training of a graph's embeddings says so by its model's kind."""
    model = container.get("model") if command == "train" and isinstance(container, dict) else None
    return GraphExperimentConfig if isinstance(model, dict) and model.get("kind") == TwhinConfig.kind else COMMANDS[command]
