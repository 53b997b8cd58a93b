"""Runs as a comparison reads them: settings, metrics and curves of run folders, without the libraries that made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recap_exp.evaluation.config import higher_is_better
from recap_exp.paths import runs_dir
from recap_exp.runs import RunFolder
from recap_exp.tracking.journal import is_being_written, records

Value = bool | int | float | str | None
"""A setting. What is no scalar is the YAML that an override would take."""

NEVER = ("tracking", "overrides", "resume", "sweep", "metric", "run", "batch_size", "compared")
"""Keys of a configuration that say where a run is recorded, what is looked at, or how fast, not what comes out."""

CANDIDATES = "candidates.parquet"

NAMED, UNNAMED = ("data", "model", "optimizer", "scoring"), ("tasks", "trainer", "evaluation")
"""Groups whose choices say their own name, and those of which only the override knows it."""


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """What one run's folder says of it."""

    id: str
    folder: Path
    command: str
    """train or score."""
    name: str
    """The recipe's name."""
    status: str
    """RUNNING, FINISHED, FAILED, KILLED, or whatever else its card says; a run whose process is gone is KILLED."""
    sweep: str | None
    settings: dict[str, Value]
    """By dotted key, and by group what was chosen of it (`model`: masknet_serial). A score run's are those of the run that it
    scored, and its own on top."""
    overrides: tuple[str, ...]
    splits: dict[str, str]
    """Partition -> the split of the data that it is."""
    metrics: dict[str, float]
    """By name, the last value told."""
    curves: dict[str, list[tuple[int, float]]]
    """By name, (step, value) for what was told by step. The results of a restored checkpoint, which the journal has one step behind the
    last, are no point of a curve."""
    digests: dict[str, str]
    """Split -> digest of its data."""
    commit: str | None
    """The code's git commit, with a + where it was changed."""
    objectives: dict[str, bool | None]
    """The metrics that its sweep was to raise (True) or lower (False), else the one that its configuration names."""
    scored: dict[str, str]
    """Folder with the candidates' scores -> the split of the data that was scored."""

    @property
    def finished(self) -> bool:
        """Only such runs are in the statistics."""
        return self.status == "FINISHED"

    @property
    def seed(self) -> int:
        """Pairs the runs of different settings."""
        seed = self.settings.get("seed")
        return seed if isinstance(seed, int) else 0


def read_runs(folders: Iterable[Path]) -> list[ComparedRun]:
    """The runs in `folders`, in the order given. What a folder lacks is empty: a run that failed at its start can be looked at too."""
    return [read_run(RunFolder(folder)) for folder in folders]


def read_run(folder: RunFolder) -> ComparedRun:
    """One run."""
    card, config = folder.card, configuration(folder)
    metrics: dict[str, float] = {}
    points: dict[str, dict[int, float]] = {}
    digests: dict[str, str] = {}
    tags: dict[str, str] = {}
    for record in records(folder.path):
        kind = record["k"]
        if kind == "metrics":
            metrics |= record["v"]
            if (step := record["step"]) is not None:
                for name, value in record["v"].items():
                    points.setdefault(name, {})[step] = value
        elif kind in ("tags", "start"):
            tags |= record.get("tags") or record.get("v") or {}
        elif kind == "dataset":
            digests[record["context"]] = record["digest"]
    overrides, objectives = tuple(config.get("overrides") or ()), _objectives(config)
    if scored := tags.get("recap.scored_run"):
        below = configuration(RunFolder(runs_dir() / scored))
        overrides = (*(below.get("overrides") or ()), *overrides)
        config = below | {key: value for key, value in config.items() if value is not None}
    status = card.get("status", "unknown")
    if status == "RUNNING" and not is_being_written(folder.path):
        status = "KILLED"
    last = metrics.get("train/steps", float("inf"))
    splits = {name: part.get("split", name) for name, part in _mapping(config, "evaluation", "partitions").items()}
    commit = tags.get("mlflow.source.git.commit")
    return ComparedRun(
        id=folder.id,
        folder=folder.path,
        command=card.get("command", "train"),
        name=card.get("name", ""),
        status=status,
        sweep=card.get("sweep"),
        settings=settings_of(config, overrides),
        overrides=overrides,
        splits=splits,
        metrics=metrics,
        curves={name: sorted((s, v) for s, v in by_step.items() if s <= last) for name, by_step in points.items()},
        digests=digests,
        commit=commit and commit + "+" * (tags.get("recap.git.dirty") == "true"),
        objectives=objectives,
        scored={path.parent.name: _scored_split(config, splits, path.parent.name) for path in folder.path.glob(f"score*/{CANDIDATES}")},
    )


def configuration(folder: RunFolder) -> dict[str, Any]:
    """config.yaml as plain data, {} where there is none yet."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
    try:
        read = yaml.load(folder.config.read_bytes(), loader)
    except (OSError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}


def settings_of(config: Mapping[str, Any], overrides: Iterable[str] = ()) -> dict[str, Value]:
    """A configuration's leaves by dotted key, and what was chosen of each group by the group's name."""
    found: dict[str, Value] = {}
    for key, value in config.items():
        if key not in NEVER:
            _flatten(found, key, value)
    for group in NAMED:
        if (name := found.pop(f"{group}.name", None)) is not None:
            found[group] = name
    chosen = dict(o.lstrip("+").split("=", 1) for o in overrides if "=" in o)
    return found | {group: chosen[group] for group in UNNAMED if group in chosen}


def _flatten(found: dict[str, Value], key: str, value: Any) -> None:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            _flatten(found, f"{key}.{name}", inner)
    elif value is None or isinstance(value, bool | int | float | str):
        found[key] = value
    else:
        found[key] = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False).strip()


def _objectives(config: Mapping[str, Any]) -> dict[str, bool | None]:
    sweep = _mapping(config, "sweep")
    asked: dict[str, bool | None] = {
        **dict.fromkeys(sweep.get("maximize") or (), True),
        **dict.fromkeys(sweep.get("minimize") or (), False),
    }
    named = config.get("metric")
    return asked or ({named: higher_is_better(named)} if named else {})


def _scored_split(config: Mapping[str, Any], splits: Mapping[str, str], stage: str) -> str:
    """Of what split the candidates in folder `score` (one partition) or `score_PARTITION` are."""
    partitions = config.get("splits") or _mapping(config, "scoring").get("partitions") or ["test"]
    partition = stage.removeprefix("score_") if stage != "score" else partitions[0]
    return splits.get(partition, partition)


def _mapping(config: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        config = config.get(key) or {}
    return dict(config)
