"""The one reader of YAML: UTF-8, every key once and a word, finite numbers of 64 bits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lra.core.errors import LRAError, shown
from lra.core.files import text_of


def read_yaml(path: Path, where: str | None = None) -> dict[str, Any]:
    """The content of a YAML file; an empty one is {}.

    where: how messages name the file. Raises LRAError where it is missing, not UTF-8, not YAML, not
    a mapping, has a key twice or a number that is not finite or above 64 bits.
    """
    return parse_yaml(text_of(path, where), where or str(path))


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


def typed_values(arguments: Iterable[str]) -> dict[str, Any]:
    """What `--config` was given as name=value, which Snakemake reads as text inside lists.

    A value that is not YAML is text, as it is to Snakemake.
    """
    found: dict[str, Any] = {}
    for argument in arguments:
        key, _, text = argument.partition("=")
        try:
            value = yaml.load(text, Loader)
        except _Refused as error:
            raise LRAError(f"--config: {key}: {error.without_line}") from None
        except (yaml.YAMLError, RecursionError, ValueError):
            value = text
        if key in found and not isinstance(value, dict):
            raise LRAError(f"--config: {shown(key)} is given twice")
        found = merged(found, {key: value})
    return found


def merged(tree: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings join, any other value of `over` replaces that of `tree`: as Snakemake does it."""
    found = {**tree, **over}
    for key in tree.keys() & over.keys():
        if isinstance(tree[key], dict) and isinstance(over[key], dict):
            found[key] = merged(tree[key], over[key])
    return found


class _Refused(Exception):
    """What YAML allows and these files do not, as the rest of a message."""

    def __init__(self, node: yaml.Node, said: str) -> None:
        super().__init__(f"line {node.start_mark.line + 1}: {said}")
        self.without_line = said


KEYS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")  # YAML 1.1 takes 010 for 8 and 1:30 for 90


class Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):
    """Safe, and refuses what would otherwise change a value without a word."""


def _mapping(loader: Loader, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise _Refused(key, "a key is one word")
        if key.tag not in KEYS:
            kind = key.tag.rpartition(":")[2]
            raise _Refused(key, f"key {shown(key.value)} is of type {kind}; write it in quotes")
        if key.value in lines:
            stands = f"{shown(key.value)} stands in line {lines[key.value]} already"
            raise _Refused(key, stands)
        lines[key.value] = line
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep)


def _float(loader: Loader, node: yaml.ScalarNode) -> float:
    value = loader.construct_yaml_float(node)
    if not math.isfinite(value):
        raise _Refused(node, f"{shown(node.value)} is not a finite number")
    return value


def _int(loader: Loader, node: yaml.ScalarNode) -> int:
    if not DECIMAL.fullmatch(node.value):
        raise _Refused(node, f"{shown(node.value)} is no decimal number")
    if len(node.value) > 100 or abs(value := loader.construct_yaml_int(node)) >= 2**63:
        raise _Refused(node, f"{shown(node.value)} is more than 64 bits hold")
    return value


Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
Loader.add_constructor("tag:yaml.org,2002:float", _float)
Loader.add_constructor("tag:yaml.org,2002:int", _int)
