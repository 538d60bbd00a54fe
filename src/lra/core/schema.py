"""Strict schemas: unknown keys are errors, and a mistake is one line naming the key."""

from __future__ import annotations

import re
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
)

from lra.core.errors import LRAError, nearest


class Strict(BaseModel):
    """Unknown keys are errors and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def complain(where: str, error: ValidationError, model: type[Strict]) -> LRAError:
    """The first of pydantic's complaints as one line: file, key, nearest valid choice."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    # `where` is a file, or a file and a key within it ("config/x.yaml: tasks.listops")
    place = f"{where}{'.' if ': ' in where else ': '}{key}" if key else where
    prefix = f"{place}: "
    if first["type"] == "extra_forbidden":
        owner = model
        for part in first["loc"][:-1]:
            owner = _nested(owner, part)
        return LRAError(f"{prefix}unknown key; {nearest(first['loc'][-1], owner.model_fields)}")
    if first["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return LRAError(
            f"{prefix}{first['input']!r} is unknown; {nearest(first['input'], choices)}"
        )
    if first["type"] == "missing":
        return LRAError(f"{prefix}is missing")
    message = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "value_error" else f", not {first['input']!r}"
    return LRAError(f"{prefix}{message}{given}")


def _nested(owner: Any, part: str | int) -> Any:
    """The model class at key `part` of `owner`, through dict[str, X] too."""
    if isinstance(owner, type) and issubclass(owner, Strict):
        return owner.model_fields[part].annotation
    return owner.__args__[-1]


def leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for key, value in tree.items():
        if isinstance(value, dict):
            pairs += leaves(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + key, value))
    return pairs


# The options of a data set's source, checked: a mistake is one line naming the key.


class Options(BaseModel):
    """Of a source; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def checked(kind: type[BaseModel], source: str, given: dict[str, Any]) -> BaseModel:
    """`given` as the source's options."""
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([source, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            hint = nearest(first["loc"][-1], kind.model_fields)
            raise LRAError(f"{key}: no such key; {hint}") from None
        raise LRAError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from None
