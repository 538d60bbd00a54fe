"""Strict schemas: unknown keys are errors, and a mistake is one line naming the key."""

from __future__ import annotations

import re
from types import NoneType
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from lra.core.errors import LRAError, nearest, shown


def _no_twentyfold(name: str) -> str:
    if re.search(r"(.+)\1{19}$", name):  # Snakemake takes it for a rule that calls itself
        raise ValueError(f"{shown(name)} repeats a part twenty times")
    return name


# Parts of paths, of wildcards, of comma-separated lists and of shell lines.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=NAME, max_length=64), AfterValidator(_no_twentyfold)]
NUMBERS = r"\b(int|float)\b"  # in an annotation
Count = Annotated[int, Field(gt=0, lt=2**31)]
Threads = Annotated[int, Field(gt=0, le=1024)]  # or processes
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Strict(BaseModel):
    """Unknown keys are errors and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Settings(Strict):
    """What people write: every number is finite."""

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def yes_and_no_are_no_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic takes them for 1 and 0."""
        annotation = str(cls.model_fields[info.field_name].annotation)
        words = value if isinstance(value, list) else [value]
        if any(isinstance(word, bool) for word in words) and re.search(NUMBERS, annotation):
            raise ValueError(f"a number is wanted, not {shown(value)}")
        return value


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
    key = ".".join(_part(part) for part in first["loc"] if part != "[key]")
    place = f"{where}{'.' if ': ' in where else ': '}{key}" if key else where
    return LRAError(f"{place}: {_fault(first, model)}")


def _part(part: str | int) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) <= 100 else shown(text)


def _fault(error: Any, model: type[Strict]) -> str:
    """What one of pydantic's errors says, without its place."""
    given, kind = error["input"], error["type"]
    if kind == "extra_forbidden":
        *path, key = error["loc"]
        for part in path:
            model = _nested(model, part)
        return f"unknown key; {nearest(key, model.model_fields)}"
    if kind == "literal_error" and (words := re.findall(r"'([^']*)'", error["ctx"]["expected"])):
        return f"{shown(given)} is unknown; {nearest(given, words)}"
    if kind == "missing":
        return "is missing"
    message = error["msg"].removeprefix("Value error, ")
    if kind == "too_short":
        message = message.split(" after validation")[0]
    return message if kind == "value_error" else f"{message}, not {shown(given)}"


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
