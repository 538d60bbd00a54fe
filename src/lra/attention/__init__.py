"""The arena's contestants: one mechanism per file, found by its file's name.

A mechanism's file defines `INFO` (an `Info`) and a class `Attention` whose keyword-only arguments
are its options. Options are read from the source, so that a configuration is checked without
importing torch, and a mechanism is imported only when it is built.
"""

from __future__ import annotations

import ast
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, create_model

from lra.core.errors import LRAError, nearest

if TYPE_CHECKING:
    from torch import nn

NOT_MECHANISMS = {"__init__", "base"}


@dataclass(frozen=True)
class Info:
    """What a mechanism is, for tables and readers."""

    family: Literal[
        "full", "fixed pattern", "learnable pattern", "memory", "low rank", "kernel", "recurrence"
    ]
    paper: str
    complexity: str  # in sequence length N
    causal: bool  # whether it can be causal


@functools.cache
def names() -> list[str]:
    """Every mechanism there is."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if file.stem not in NOT_MECHANISMS)


def known(name: str) -> str:
    """`name`, or ValueError naming the nearest mechanism."""
    if name not in names():
        raise LRAError(f"attention '{name}' is unknown; {nearest(name, names())}")
    return name


def info(name: str) -> Info:
    return importlib.import_module(f"lra.attention.{known(name)}").INFO


def build(
    name: str, dim: int, heads: int, max_len: int, causal: bool = False, **options: Any
) -> nn.Module:
    """The mechanism `name` as a module: forward(x (B, N, dim), mask (B, N) bool or None).

    Raises ValueError naming the nearest valid mechanism or option.
    """
    options = resolve_options(name, options)
    module = importlib.import_module(f"lra.attention.{name}")
    if causal and not module.INFO.causal:
        raise LRAError(f"attention '{name}' has no causal version")
    return module.Attention(dim, heads, max_len, causal=causal, **options)


def resolve_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """`options` checked and completed by the mechanism's defaults.

    Raises ValueError naming the option, what is wrong with it and the nearest valid one.
    """
    model = option_model(known(name))
    for key in options:
        if key not in model.model_fields:
            raise LRAError(
                f"options.{key}: attention '{name}' has no such option; "
                f"{nearest(key, model.model_fields)}"
            )
    try:
        return model.model_validate(options).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        raise LRAError(f"options.{first['loc'][0]}: {first['msg']}") from None


@functools.cache
def option_model(name: str) -> type[BaseModel]:
    """The keyword-only arguments of a mechanism's `Attention`, as a schema read from its source."""
    path = Path(__file__).with_name(f"{name}.py")
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == "Attention":
            init = next(f for f in node.body if getattr(f, "name", "") == "__init__")
            pairs = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
            # an annotation is a type of Python's own, so it needs no import of the module
            fields = {
                arg.arg: (_option_type(arg.annotation), ast.literal_eval(default))
                for arg, default in pairs
                if arg.arg != "causal"
            }
            strict = ConfigDict(extra="forbid", strict=True, protected_namespaces=())
            return create_model(f"{name}_options", __config__=strict, **fields)
    raise LRAError(f"{path.name}: defines no class Attention")


def _option_type(annotation: ast.expr) -> Any:
    names = {"int": PositiveInt, "float": float, "bool": bool, "str": str, "Literal": Literal}
    return eval(compile(ast.Expression(annotation), "<option>", "eval"), {}, names)
