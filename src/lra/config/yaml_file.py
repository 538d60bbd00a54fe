"""The one reader of YAML: UTF-8, every key once, finite numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from lra.core.errors import LRAError


def read_yaml(path: Path, where: str | None = None) -> dict[str, Any]:
    """The content of a YAML file; an empty one is {}.

    where: how messages name the file. Raises LRAError where it is missing, not UTF-8, not YAML, not
    a mapping, has a key twice or a number that is not finite.
    """
    where = where or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LRAError(f"{where}: {error.strerror.lower()}") from None
    except UnicodeDecodeError as error:
        raise LRAError(f"{where}: not UTF-8 text (byte {error.start})") from None
    return parse_yaml(text, where)


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """The same of a text."""
    try:
        found = yaml.load(text, Loader)
    except _Refused as error:
        raise LRAError(f"{where}: {error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise LRAError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise LRAError(f"{where}: {type(found).__name__} where keys and values are wanted")
    return found


class _Refused(Exception):
    """What YAML allows and these files do not, as the rest of a message."""


class Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):
    """Safe, and refuses what would otherwise change a value without a word."""


def _mapping(loader: Loader, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise _Refused(f"line {line}: a key is one word")
        if key.value in lines:
            raise _Refused(f"line {line}: '{key.value}' stands in line {lines[key.value]} already")
        lines[key.value] = line
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep)


def _float(loader: Loader, node: yaml.ScalarNode) -> float:
    value = loader.construct_yaml_float(node)
    if not math.isfinite(value):
        raise _Refused(f"line {node.start_mark.line + 1}: {node.value} is not a finite number")
    return value


Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
Loader.add_constructor("tag:yaml.org,2002:float", _float)
