"""From conf/ and overrides to a typed, checked configuration. Imports neither torch nor mlflow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from recap_exp.checks import check, check_parts, check_scoring
from recap_exp.config import COMMANDS, CommandConfig, ExperimentConfig, ScoreConfig, TrainConfig, config_class
from recap_exp.config_errors import explain_composition, explain_validation, one_line
from recap_exp.errors import ConfigError, nearest
from recap_exp.paths import conf_dir
from recap_exp.plain_yaml import read_plain, write_plain
from recap_exp.scoring.config import ScoringConfig

T = TypeVar("T")
C = TypeVar("C", bound=CommandConfig)

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
    running = GlobalHydra.instance()
    outer = running.hydra  # of a sweep that asks for its jobs' configurations; Hydra knows one at a time
    running.clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra_compose(command, list(overrides))
    except Exception as error:
        raise explain_composition(error, command, overrides) from error
    finally:
        running.hydra = outer


def from_hydra(command: str, composed: DictConfig, overrides: Sequence[str]) -> CommandConfig:
    """A composed configuration, typed and checked; the overrides are kept, since they name the run."""
    try:
        container = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} must be given: {error.full_key}=VALUE") from error
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from error
    check_parts(command, container)
    config = typed(config_class(command, container), container, overrides=overrides)
    config.overrides = list(overrides)
    return checked(config)


def checked(config: C) -> C:
    """`config`, with the weight sets that its scoring is compared with, once it is known that all parts fit each other."""
    check(config)
    if isinstance(config, ExperimentConfig | ScoreConfig) and config.scoring:
        config.compared = compared_scorings(config.scoring, config.compared)
    if isinstance(config, ExperimentConfig):
        for other in config.compared.values():
            check_scoring(other, config.tasks)
    return config


def compared_scorings(scoring: ScoringConfig, known: Mapping[str, ScoringConfig]) -> dict[str, ScoringConfig]:
    """The weight sets that `scoring.compare` names: the `known` ones as they are, others from conf/scoring."""
    return {name: known.get(name) or load_choice("scoring", name, ScoringConfig) for name in scoring.compare}


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


def from_yaml(cls: type[C], file: Path) -> C:
    """A configuration stored by a run, typed and checked like one that was just composed. It is data: nothing in it is looked up or run."""
    try:
        return checked(typed(cls, read_plain(file)))
    except ConfigError as error:
        raise ConfigError(str(error) if str(file) in str(error) else f"{file}: {error}") from error


def stored_command(command: str, file: Path) -> CommandConfig:
    """The configuration that a run of `command` stored, of whatever class it is."""
    return from_yaml(config_class(command, read_plain(file)), file)


def stored_training(file: Path) -> TrainConfig:
    """The configuration that a training stored."""
    config = stored_command("train", file)
    assert isinstance(config, TrainConfig)
    return config


def plain(config: Any) -> dict[str, Any]:
    """A typed configuration as dicts, lists, numbers and strings."""
    return adapter(type(config)).dump_python(config, mode="json", warnings=False)


def to_yaml(config: Any) -> str:
    """Every key of a typed configuration, as YAML that `from_yaml` reads."""
    return write_plain(plain(config))


def adapter(cls: type) -> TypeAdapter[Any]:
    """The reader and writer of a configuration class; made once, which takes a fifth of a second for the largest."""
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}
