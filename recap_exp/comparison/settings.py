"""What differs between runs, in as few settings as say it all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from recap_exp.comparison.read import NAMED, UNNAMED, ComparedRun, Value
from recap_exp.paths import conf_dir


@dataclass(kw_only=True)
class Setting:
    """Runs that differ in the seed alone."""

    values: dict[str, Value]
    """What tells it from the other settings, by key."""
    shown: dict[str, str] = field(default_factory=dict)
    """The same as short texts."""
    runs: list[ComparedRun] = field(default_factory=list)
    """One a seed: those that its statistics are made of."""

    @property
    def label(self) -> str:
        """`mlp rate=0.001`: a group's choice says by itself what it is."""
        said = [v if k in (*NAMED, *UNNAMED) else f"{k.rsplit('.', 1)[-1]}={v}" for k, v in self.shown.items()]
        return " ".join(said) or (self.runs[0].name if self.runs else "")

    def by_seed(self, metric: str) -> dict[int, float]:
        """The metric's value of each seed that has one."""
        found = {run.seed: run.metrics.get(metric, float("nan")) for run in self.runs}
        return {seed: value for seed, value in found.items() if value == value}


def settings(runs: Sequence[ComparedRun], keys: Sequence[str]) -> tuple[list[Setting], list[ComparedRun]]:
    """The settings that `keys` tell apart, and the runs that count in none: unfinished ones, and of several runs of one setting and seed
    all but the newest, since repeating a run is no second measurement."""
    found: dict[tuple[Value, ...], Setting] = {}
    for run in runs:
        values = {key: run.settings.get(key) for key in keys}
        setting = found.setdefault(tuple(values.values()), Setting(values=values))
        if run.finished:
            setting.runs = sorted([r for r in setting.runs if r.seed != run.seed] + [run], key=lambda r: r.seed)
    for key in keys:
        texts = apart([show(setting.values[key]) for setting in found.values()])
        for setting, text in zip(found.values(), texts, strict=True):
            setting.shown[key] = text
    counted = {run.id for setting in found.values() for run in setting.runs}
    return list(found.values()), [run for run in runs if run.id not in counted]


def varied(runs: Sequence[ComparedRun]) -> list[str]:
    """The settings but the seed that tell the runs apart, in the order in which overrides name them.

    A setting that differs and that an override names is always listed. Another is left out where it follows from what is listed: it is
    the same in all runs that agree in the recipe, in the choice of its group, and in the settings that conf/ computes it from
    (optimizer.backbone.ramp from trainer.steps).
    """
    keys = dict.fromkeys(key for run in runs for key in run.settings if key != "seed")
    differing = [key for key in keys if len({run.settings.get(key) for run in runs}) > 1]
    named = list(dict.fromkeys(o.lstrip("+~").split("=", 1)[0] for run in runs for o in run.overrides))
    named = [name.removesuffix(".name") if name.split(".")[0] in NAMED else name for name in named]

    def place(key: str) -> int:
        """Which override names the key, or what holds it."""
        return next(
            (i for i, name in enumerate(named) if key == name or (key.startswith(f"{name}.") and name not in NAMED + UNNAMED)), len(named)
        )

    listed = [key for key in differing if place(key) < len(named) or not _follows(key, runs)]
    return sorted(listed, key=place)


def _follows(key: str, runs: Sequence[ComparedRun]) -> bool:
    """Whether the key's value is the same wherever the values of what it comes from are."""
    sources = ["name", key.split(".")[0], *computed().get(key, ())]
    seen: dict[tuple[Value, ...], Value] = {}
    for run in runs:
        value = run.settings.get(key)
        if seen.setdefault(tuple(run.settings.get(s) for s in sources if s != key), value) != value:
            return False
    return True


@cache
def computed() -> Mapping[str, tuple[str, ...]]:
    """Key -> the keys that conf/ computes it from: its ${...}."""
    found: dict[str, tuple[str, ...]] = {}
    for group in (*NAMED, *UNNAMED):
        for file in (conf_dir() / group).glob("*.yaml"):
            _references(found, group, yaml.safe_load(file.read_text()))
    return found


def _references(found: dict[str, tuple[str, ...]], key: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _references(found, f"{key}.{name}", inner)
    elif isinstance(value, str) and (names := re.findall(r"\$\{([a-z_][\w.]*)\}", value)):
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), *names)))


def show(value: Value) -> str:
    """A setting as an override would say it; – where the run has none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def apart(texts: Sequence[str], most: int = 36) -> list[str]:
    """The texts; where some are long, without the words that all begin with."""
    if max(map(len, texts), default=0) <= most:
        return list(texts)
    same = next((i for i, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1), 0)
    begin = texts[0].rfind(" ", 0, same) + 1 or same
    return [short("…" * (begin > 0) + text[begin:], most) for text in texts]


def short(text: str, most: int = 36) -> str:
    """The text, cut where it is long."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
