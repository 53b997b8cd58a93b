"""YAML as plain data: mappings, lists, texts, numbers, true, false and null; nothing that a reader would have to carry out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import yaml

from recap_exp.errors import ConfigError

ADMITTED = ("null", "bool", "int", "float")
"""What an unquoted word can mean beside a text. Dates stay texts."""


class _Reader(yaml.SafeLoader):
    """The kinds of JSON only."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in found if tag.rsplit(":", 1)[-1] in ADMITTED]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Writer(yaml.SafeDumper):
    """Writes a value out wherever it stands: no references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_plain(data: dict[str, Any]) -> str:
    """`data` as YAML that `read_plain` reads back equal, keys in their order."""
    return yaml.dump(data, Dumper=_Writer, sort_keys=False, allow_unicode=True)


def read_plain(file: Path) -> dict[str, Any]:
    """The mapping that a file holds. `${...}` in it is text like any other.

    Raises ConfigError, with file and line, for tags (`!!python/object`), references, keys given twice, and what is no YAML mapping.
    """
    try:
        text = file.read_text(encoding="utf-8")
        for event in yaml.parse(text, Loader=_Reader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _refusal(file, event.start_mark, "holds a reference")
            if tag := getattr(event, "tag", None):
                raise _refusal(file, event.start_mark, f"holds the tag '{tag}'")
        node = yaml.compose(text, Loader=_Reader)
        _check_keys(file, node)
        data = yaml.load(text, Loader=_Reader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: holds no mapping of keys to values")
    return data


def _check_keys(file: Path, node: yaml.Node | None) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
                raise _refusal(file, key.start_mark, "holds a key that is no text")
            if key.value in seen:
                raise _refusal(file, key.start_mark, f"holds the key '{key.value}' twice")
            seen.add(key.value)
            _check_keys(file, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(file, value)


def _refusal(file: Path, mark: yaml.Mark, what: str) -> ConfigError:
    return ConfigError(f"{file}, line {mark.line + 1}: {what}; a stored configuration is plain data")
