"""A run's stored configuration with overrides on top, typed and checked as if it had just been composed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import OmegaConf

from recap_exp.composition import compose_untyped, from_hydra
from recap_exp.config import CommandConfig
from recap_exp.config_errors import explain_composition
from recap_exp.errors import ConfigError
from recap_exp.help import GROUPS

COMPOSING = ("experiment", "sweep", "resume")
"""What says how runs come about, rather than what one is."""

BESIDE = ("overrides", "tracking", "sweep", "resume", "metric")
"""Keys of a configuration that no number follows from."""


def recompose(command: str, stored: Mapping[str, Any], overrides: Sequence[str] = ()) -> CommandConfig:
    """The configuration of a run of `command` that stored `stored`, with Hydra's overrides on it.

    GROUP=NAME takes conf/GROUP/NAME.yaml in place of the stored group; what that file looks up, it finds in this configuration. All
    other overrides change single keys: values that once followed from others (a ramp from the number of steps) stay as they were stored.

    Raises:
        ConfigError: as `compose` does; also for recipes and sweeps.
    """
    groups = [group for group in GROUPS[command] if group not in COMPOSING]
    kept = {key: value for key, value in stored.items() if key not in COMPOSING and not (key in groups and value is None)}
    root = OmegaConf.create(_escaped(kept))
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        for override in parsed:
            _check_single(override)
        choices = [o for o in parsed if o.type == OverrideType.CHANGE and not o.package and o.key_or_group in groups]
        choices = [o for o in choices if isinstance(o.value(), str)]
        if choices:
            composed = compose_untyped(command, [_line(o) for o in choices])
            for group in (o.key_or_group for o in choices):
                root[group] = OmegaConf.to_container(composed[group], resolve=False)
                if group == "scoring":
                    root.pop("compared", None)  # which were the former scoring's
        OmegaConf.set_struct(root, True)
        ConfigLoaderImpl._apply_overrides_to_config([o for o in parsed if o not in choices], root)  # what hydra.compose itself calls
    except Exception as error:
        raise explain_composition(error, command, overrides, root) from error
    return from_hydra(command, root, [*_still_true(stored.get("overrides") or (), parsed), *overrides])


def _check_single(override: Override) -> None:
    """That an override means one configuration, made of groups and keys."""
    key = override.key_or_group.split(".")[0]
    if key in COMPOSING or override.is_sweep_override():
        what = "several values" if key not in COMPOSING else f"{key}="
        raise ConfigError(
            f"{_line(override)}: a rerun is one new run of a configuration that is composed already; {what} belongs to `train`"
        )


def _still_true(before: Sequence[str], parsed: Sequence[Override]) -> list[str]:
    """The overrides that the run was composed with, but for those whose keys, or what they are part of, are given anew."""
    given = tuple(o.key_or_group for o in parsed)
    names = ((text, re.split(r"[=@]", text.lstrip("+~"))[0]) for text in before)
    return [text for text, name in names if not any(name == key or name.startswith(f"{key}.") for key in given)]


def _line(override: Override) -> str:
    return override.input_line or override.key_or_group


def _escaped(value: Any) -> Any:
    """Every text so that OmegaConf takes it as it is: a stored configuration looks nothing up."""
    if isinstance(value, Mapping):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value
