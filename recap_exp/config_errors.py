"""One line for everything that can be wrong with a configuration: the key, the value, what is allowed, the nearest right spelling."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import ValidationError

from recap_exp.errors import ConfigError, nearest
from recap_exp.help import GROUPS
from recap_exp.paths import conf_dir

_WANTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
    "dataclass_exact_type": "a mapping",
}


def one_line(error: BaseException) -> str:
    """The message of an error of a library, its lines joined."""
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__


def options(group: str) -> list[str]:
    """The choices in conf/GROUP."""
    return sorted(p.stem for p in (conf_dir() / group).glob("*.yaml"))


def explain_composition(error: Exception, command: str, overrides: Sequence[str], known: Any = None) -> ConfigError:
    """Finds the override that Hydra could not apply, and says what would have been right.

    known: the configuration that they were to change; None: the one that the choices among them compose.
    """
    if isinstance(error, ConfigError):
        return error
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from recap_exp.composition import compose_untyped

    parser = OverridesParser.create()
    choices: list[str] = []
    keys: list[str] = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except Exception:
            return ConfigError(f"'{text}' is no override: write key=value, ~key, or +key=value")
        group = (override.key_or_group or "").split("@")[0]
        if (conf_dir() / group).is_dir() and isinstance(override.value(), str | None):
            found = options(group)
            value = override.value()
            if value is not None and value not in found:
                return ConfigError(f"{group}={value}: no such {group}; allowed are {', '.join(found)}{nearest(str(value), found)}")
            choices.append(text)
        elif override.is_add():
            continue
        else:
            keys.append(override.key_or_group)
            if isinstance(inside := override.value(), dict):
                keys += [f"{override.key_or_group}.{name}" for name in inside]
    if keys:
        try:
            composed: Any = known if known is not None else compose_untyped(command, choices) if len(choices) < len(overrides) else {}
        except ConfigError:
            composed = {}
        for key in keys:
            if problem := _unknown_key(key, composed, command):
                return problem
    return ConfigError(one_line(error))


def _unknown_key(key: str, composed: Any, command: str) -> ConfigError | None:
    node: Any = composed
    path: list[str] = []
    top = key.split(".")[0]
    if top not in composed and top in GROUPS[command]:
        return ConfigError(f"'{key}' changes a {top} that was not chosen: add {top}=NAME, one of {', '.join(options(top))}")
    for part in key.split("."):
        if not hasattr(node, "keys"):
            return None
        names = [str(k) for k in node]
        if part not in names:
            place = f"'{'.'.join(path)}' has" if path else "allowed are"
            known = sorted({*names, *(GROUPS[command] if not path else [])})
            add = "" if nearest(part, known) or not path else f"; +{key}=VALUE adds one where entries are free"
            return ConfigError(f"unknown key '{key}': {place} {', '.join(known) or 'no keys'}{nearest(part, known)}{add}")
        path.append(part)
        node = node._get_node(part) if hasattr(node, "_get_node") else node[part]
    return None


def explain_validation(error: ValidationError, cls: type, container: Any, where: str = "", overrides: Sequence[str] = ()) -> ConfigError:
    """pydantic's findings, one clause each; where an override itself is wrong, not what was interpolated from it."""
    clauses = []
    asked = [o.lstrip("+").split("=", 1)[0] for o in overrides]
    for found in error.errors(include_url=False):
        path, owner = _locate(found["loc"], cls, container)
        key = ".".join([*([where] if where else []), *path])
        kind, value = found["type"], found.get("input")
        if kind == "unexpected_keyword_argument":
            names = [f.name for f in fields(owner)] if owner is not None else []
            clauses.append(f"unknown key '{key}': allowed are {', '.join(names)}{nearest(path[-1], names)}")
        elif kind in ("missing", "missing_argument", "missing_keyword_only_argument", "union_tag_not_found"):
            clauses.append(f"{key} is missing" + (f": allowed kinds are {found['ctx'].get('expected_tags', '')}" if "ctx" in found else ""))
        elif kind == "union_tag_invalid":
            tags = [t.strip().strip("'") for t in found["ctx"]["expected_tags"].split(",")]
            clauses.append(f"{key}.kind='{found['ctx']['tag']}': allowed are {', '.join(tags)}{nearest(found['ctx']['tag'], tags)}")
        elif kind == "literal_error":
            allowed = found["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            clauses.append(f"{key}={value!r}: allowed are {', '.join(allowed)}{nearest(str(value), allowed)}")
        elif kind == "value_error":
            clauses.append(f"{key}: {found['ctx']['error']}" if key else str(found["ctx"]["error"]))
        else:
            quoted = f"; quote it: '{key}=\"{value}\"'" if kind == "string_type" and isinstance(value, int | float) else ""
            clauses.append(f"{key}={value!r}: must be {_WANTED.get(kind, found['msg'])}{quoted}")
    clauses = [c for c in clauses if c.startswith(tuple(f"{key}=" for key in asked))] or clauses
    shown = "; ".join(dict.fromkeys(clauses[:3]))
    return ConfigError(shown + (f" (and {len(clauses) - 3} more)" if len(clauses) > 3 else ""))


def _locate(loc: Sequence[int | str], cls: type, container: Any) -> tuple[list[str], type | None]:
    """The key path of a finding, without the tags that pydantic puts into it for unions, and the dataclass that owns its last part."""
    path: list[str] = []
    node: Any = container
    hints: list[Any] = [cls]
    owner: Any = cls
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        inside = part in node if isinstance(node, dict) else isinstance(node, list)
        named = [h for h in hints if is_dataclass(h) and part in {f.name for f in fields(h)}]
        tagged = [h for h in hints if is_dataclass(h) and (part == getattr(h, "__name__", None) or getattr(h, "kind", None) == part)]
        if not inside and not named and (tagged or not last):  # the tag of a union
            hints = tagged or hints
            continue
        path.append(str(part))
        owner = next((h for h in hints if is_dataclass(h)), None)
        if named:
            hints = _unfold(get_type_hints(named[0], include_extras=True)[str(part)])
        elif inside:
            hints = [a for h in hints for a in _unfold(h)]
        if isinstance(node, dict):
            node = node.get(str(part))
        elif isinstance(node, list):
            node = node[int(part)]
    return path, owner


def _unfold(hint: Any) -> list[Any]:
    """The dataclasses (and plain types) that a type hint admits, through unions, lists and dict values."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _unfold(args[0])
    if origin in (Union, types.UnionType):
        return [u for a in args for u in _unfold(a)]
    if origin is list:
        return _unfold(args[0])
    if origin is dict:
        return _unfold(args[1])
    return [hint]
