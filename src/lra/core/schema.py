"""Strict schemas: unknown keys are errors, and a mistake is one line naming the key."""

from __future__ import annotations

import re
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from lra.core.errors import LRAError, nearest


class Strict(BaseModel):
    """Unknown keys are errors and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def checked(model: type[Strict], values: Any, where: str) -> Any:
    """`values` as a `model`, or LRAError in one line that begins with `where`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise complain(where, error, model) from None


def complain(where: str, error: ValidationError, model: type[Strict]) -> LRAError:
    """The first of pydantic's complaints in one line: file, key, nearest valid choice.

    where: a file, or a file and a key in it ("config/x.yaml: tasks.listops").
    """
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    place = f"{where}{'.' if ': ' in where else ': '}{key}" if key else where
    return LRAError(f"{place}: {_fault(first, model)}")


def _fault(error: Any, model: type[Strict]) -> str:
    """What one of pydantic's errors says, without its place."""
    given, kind = error["input"], error["type"]
    if kind == "extra_forbidden":
        *path, key = error["loc"]
        for part in path:
            model = _nested(model, part)
        return f"unknown key; {nearest(key, model.model_fields)}"
    if kind == "literal_error" and (words := re.findall(r"'([^']*)'", error["ctx"]["expected"])):
        return f"{given!r} is unknown; {nearest(given, words)}"
    if kind == "missing":
        return "is missing"
    message = error["msg"].removeprefix("Value error, ")
    return message if kind == "value_error" else f"{message}, not {given!r}"


def _nested(owner: Any, part: str | int) -> Any:
    """The type at key `part` of a model, dict or list; of `X | None` it is X."""
    if isinstance(owner, type) and issubclass(owner, Strict):
        owner = owner.model_fields[part].annotation
    else:
        owner = get_args(owner)[-1]
    return get_args(owner)[0] if NoneType in get_args(owner) else owner


def leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """("a.b", value) of every value in nested dicts."""
    pairs = []
    for key, value in tree.items():
        if isinstance(value, dict):
            pairs += leaves(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + key, value))
    return pairs
