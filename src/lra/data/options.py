"""The options of a data set's source, checked: a mistake is one line naming the key."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lra.errors import LRAError, nearest


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
