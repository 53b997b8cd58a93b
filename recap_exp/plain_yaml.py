"""YAML as plain data: mappings, lists, texts, numbers, true, false and null; nothing that a reader would have to carry out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import yaml

from recap_exp.errors import ConfigError

SCALARS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str"))
"""What a word can be. Dates stay texts."""


class _Reader(yaml.SafeLoader):
    """The kinds of JSON only."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in found if tag in SCALARS]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Writer(yaml.SafeDumper):
    """Writes a value out wherever it stands: no references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """In double quotes where YAML would take a character for a line's end or a byte order mark: there it is escaped."""
        odd = any(character in data for character in "\x85\u2028\u2029\ufeff")
        return self.represent_scalar(SCALARS[-1], data, style='"' if odd else None)


_Writer.add_representer(str, _Writer.represent_str)


def write_plain(data: dict[str, Any]) -> str:
    """`data` as YAML that `read_plain` reads back equal, keys in their order."""
    return yaml.dump(data, Dumper=_Writer, sort_keys=False, allow_unicode=True)


def read_plain(file: Path) -> dict[str, Any]:
    """The mapping that a file holds. `${...}` in it is text like any other.

    Raises ConfigError, with file and line, for tags (`!!python/object`), references, keys given twice, and what is no YAML mapping.
    """
    try:
        reader = _Reader(file.read_text(encoding="utf-8"))
        node = reader.get_single_node()
        _check(file, node, set())
        data = reader.construct_document(node) if node else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: holds no mapping of keys to values")
    return data


def _check(file: Path, node: yaml.Node | None, seen: set[int]) -> None:
    """That the node and all in it is what `write_plain` writes. seen: the nodes before it, by identity."""
    if node is None:
        return
    if id(node) in seen:
        raise _refusal(file, node, "holds a reference to what stands here")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode) and node.tag == yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG:
        names = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != SCALARS[-1]:
                raise _refusal(file, key, "holds a key that is no text")
            if key.value in names:
                raise _refusal(file, key, f"holds the key '{key.value}' twice")
            names.add(key.value)
            _check(file, value, seen)
    elif isinstance(node, yaml.SequenceNode) and node.tag == yaml.resolver.BaseResolver.DEFAULT_SEQUENCE_TAG:
        for value in node.value:
            _check(file, value, seen)
    elif node.tag not in SCALARS:
        raise _refusal(file, node, f"holds the tag '{node.tag}'")


def _refusal(file: Path, node: yaml.Node, what: str) -> ConfigError:
    return ConfigError(f"{file}, line {node.start_mark.line + 1}: {what}; a stored configuration is plain data")
