"""Registry of attention mechanisms, one per file, found by the file's name.

A mechanism's file defines `INFO` (an `Info`) and a class `Attention` whose keyword-only arguments
are its options. Both are read from the source code, so that a configuration is checked and a table
written without importing torch. A mechanism is imported only when it is built.
"""

from __future__ import annotations

import ast
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, create_model

from lra.core.errors import LRAError, one_of
from lra.core.schema import Count, Settings, checked

if TYPE_CHECKING:
    from torch import nn

NOT_MECHANISMS = {"__init__", "base"}


@dataclass(frozen=True)
class Info:
    """What a mechanism is, for tables and readers."""

    family: Literal[
        "full", "fixed pattern", "learnable pattern", "memory", "low rank", "kernel", "recurrence",
        "state space", "gated recurrence", "baseline",
    ]  # fmt: skip
    paper: str
    complexity: str  # in the sequence's length N
    causal: bool  # whether it can be causal
    other_weights: bool = False  # whether its weights then have other shapes or names


@functools.cache
def names() -> list[str]:
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if file.stem not in NOT_MECHANISMS)


@functools.cache
def info(name: str) -> Info:
    """Raises LRAError naming the nearest mechanism where there is none of this name."""
    path, tree = _source(name)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INFO":
            named = {each.arg: ast.literal_eval(each.value) for each in node.value.keywords}
            return Info(*map(ast.literal_eval, node.value.args), **named)
    raise LRAError(f"{path.name}: defines no INFO")


def _source(name: str) -> tuple[Path, ast.Module]:
    path = Path(__file__).with_name(f"{one_of('attention', name, names())}.py")
    return path, ast.parse(path.read_text(encoding="utf-8"))


def build(
    name: str,
    dim: int,
    heads: int,
    max_len: int,
    causal: bool = False,
    *,
    bias: bool = False,
    init: Literal["xavier", "torch"] = "xavier",
    **options: Any,
) -> nn.Module:
    """The mechanism `name` as a module: forward(x (B, N, dim), mask (B, N) bool or None).

    bias, init: of its projections (lra.attention.base.MultiHead.set_projections).
    Raises LRAError naming the nearest valid mechanism or option.
    """
    options = resolve_options(name, options)
    module = importlib.import_module(f"lra.attention.{name}")
    if causal and not module.INFO.causal:
        raise LRAError(f"attention '{name}' has no causal version")
    built = module.Attention(dim, heads, max_len, causal=causal, **options)
    if bias or init != "xavier":
        built.set_projections(bias, init)
    return built


def resolve_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """`options`, checked, and the mechanism's defaults for the others.

    Raises LRAError naming the option, what is wrong with it and the nearest valid one.
    """
    return checked(option_model(name), options, f"attention '{name}': options").model_dump()


class Options(Settings):
    """Base of every mechanism's options: 64.0 or "64" is no integer."""

    model_config = ConfigDict(strict=True)


@functools.cache
def option_model(name: str) -> type[Options]:
    """The keyword-only arguments of a mechanism's `Attention`, as a schema read from its source."""
    path, tree = _source(name)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if "Attention" not in classes:
        raise LRAError(f"{path.name}: defines no class Attention")
    init = next(f for f in classes["Attention"].body if getattr(f, "name", "") == "__init__")
    pairs = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    # an annotation is a type of Python's own, so it needs no import of the module
    fields = {
        arg.arg: (_option_type(arg.annotation), ast.literal_eval(default))
        for arg, default in pairs
        if arg.arg != "causal"
    }
    return create_model(f"{name}_options", __base__=Options, **fields)


def _option_type(annotation: ast.expr) -> Any:
    known = {"int": Count, "float": float, "bool": bool, "str": str, "Literal": Literal}
    return eval(compile(ast.Expression(annotation), "<option>", "eval"), {}, known)
