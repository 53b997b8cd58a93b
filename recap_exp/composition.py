"""From conf/ and overrides to a typed, checked configuration. Imports neither torch nor mlflow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from recap_exp.checks import check, check_scoring
from recap_exp.config import COMMANDS, CommandConfig, ExperimentConfig
from recap_exp.config_errors import explain_composition, explain_validation, one_line
from recap_exp.errors import ConfigError, nearest
from recap_exp.paths import conf_dir
from recap_exp.scoring.config import ScoringConfig

T = TypeVar("T")

# ${share:0.06,${trainer.steps}} in a configuration: a number of steps that follows the length of the run.
# Where the length is no number its own check says so.
OmegaConf.register_new_resolver(
    "share", lambda share, whole, least=0: max(least, int(share * whole)) if isinstance(whole, int) else least, replace=True
)


def compose(command: str = "train", overrides: Sequence[str] = ()) -> CommandConfig:
    """The configuration of `recap-exp COMMAND OVERRIDES...`, typed and checked.

    Raises ConfigError naming the key, the value, what is allowed, and the nearest right spelling.
    """
    if command not in COMMANDS:
        raise ConfigError(f"unknown command '{command}': allowed are {', '.join(COMMANDS)}{nearest(command, COMMANDS)}")
    return from_hydra(command, compose_untyped(command, overrides), overrides)


def compose_untyped(command: str, overrides: Sequence[str]) -> DictConfig:
    """What Hydra composes, before types and checks."""
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra_compose(command, list(overrides))
    except Exception as error:
        raise explain_composition(error, command, overrides) from error


def from_hydra(command: str, composed: DictConfig, overrides: Sequence[str]) -> CommandConfig:
    """A composed configuration, typed and checked; the overrides are kept, since they name the run."""
    try:
        container = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} must be given: {error.full_key}=VALUE") from error
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from error
    config = typed(COMMANDS[command], container, overrides=overrides)
    config.overrides = list(overrides)
    check(config)
    if isinstance(config, ExperimentConfig):
        for other in compared_scorings(config.scoring).values():
            check_scoring(other, config.tasks)
    return config


def compared_scorings(scoring: ScoringConfig) -> dict[str, ScoringConfig]:
    """The weight sets that `scoring.compare` names."""
    return {name: load_choice("scoring", name, ScoringConfig) for name in scoring.compare}


def typed(cls: type[T], container: Any, where: str = "", overrides: Sequence[str] = ()) -> T:
    """Plain dicts and lists as the dataclass `cls`. For error messages: the key they stand under, and what was asked for."""
    try:
        # Strict JSON: lists, dicts and numbers mean just what they say; no "3" becomes a 3.
        return adapter(cls).validate_json(json.dumps(container))
    except ValidationError as error:
        raise explain_validation(error, cls, container, where, overrides) from error


def load_choice(group: str, name: str, cls: type[T]) -> T:
    """conf/GROUP/NAME.yaml as a dataclass, for configurations that name another choice of a group."""
    file = conf_dir() / group / f"{name}.yaml"
    if not file.is_file():
        options = sorted(p.stem for p in file.parent.glob("*.yaml"))
        raise ConfigError(f"no {group} named '{name}': allowed are {', '.join(options)}{nearest(name, options)}")
    return typed(cls, OmegaConf.to_container(OmegaConf.load(file), resolve=True), group)


def from_yaml(cls: type[T], file: Path) -> T:
    """A configuration stored by a run. It is data: nothing in it is executed."""
    return typed(cls, OmegaConf.to_container(OmegaConf.load(file), resolve=True))


def plain(config: Any) -> dict[str, Any]:
    """A typed configuration as dicts, lists, numbers and strings."""
    return adapter(type(config)).dump_python(config, mode="json", warnings=False)


def to_yaml(config: Any) -> str:
    """Every key of a typed configuration, as YAML that `from_yaml` reads."""
    return OmegaConf.to_yaml(OmegaConf.create(plain(config)))


def adapter(cls: type) -> TypeAdapter[Any]:
    """The reader and writer of a configuration class; made once, which takes a fifth of a second for the largest."""
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}
