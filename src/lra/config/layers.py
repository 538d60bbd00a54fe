"""Joins what each file says of a cell, checks it, and notes in which file each value stands."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from lra import attention
from lra.config.schema import Part, ProtocolModel
from lra.core.errors import LRAError, one_of
from lra.core.schema import Strict, complain
from lra.data.sources import OF_TOKENS

Layer = tuple[str, dict[str, Any]]  # where it is written, what is written there
GIVEN_BY_ENCODER = {"qkv_dim", "dropout", "bias", "init"}  # options that the encoder's own keys set


def sections(part: Part) -> dict[str, Any]:
    encoder = dict(part.encoder)
    if isinstance(part, ProtocolModel):
        encoder["options"] = part.options
    found = {"encoder": encoder, "training": dict(part.training)}
    return found if part.pretraining is None else found | {"pretraining": part.pretraining}


def join(layers: list[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """Merge section by section (options key by key); note where each key was last written."""
    values: dict[str, Any] = {"encoder": {"options": {}}}
    sources: dict[str, str] = {}
    for where, sections in layers:
        for section, entries in sections.items():
            target = values.setdefault(section, {})
            for key, value in entries.items():
                if key == "options":
                    target["options"] |= value
                    sources |= {f"{section}.options.{option}": where for option in value}
                else:
                    target[key] = value
                    sources[f"{section}.{key}"] = where
    return values, sources


def complete_options(
    model: str, mechanism: str, options: dict[str, Any], sources: dict[str, str]
) -> dict[str, Any]:
    """A mechanism's options with its defaults, but for those that the encoder's own keys set."""
    where = f"config/models/{model}.yaml"
    one_of(f"{where}: attention", mechanism, attention.names())
    schema = attention.option_model(mechanism)
    for key in GIVEN_BY_ENCODER & options.keys():
        source = sources[f"encoder.options.{key}"]
        instead = "attention_dropout" if key == "dropout" else key
        raise LRAError(f"{source}: options.{key}: set encoder.{instead} instead")
    try:
        resolved = schema.model_validate(options).model_dump()
    except ValidationError as error:
        source = sources.get(f"encoder.options.{error.errors()[0]['loc'][0]}", where)
        raise complain(f"{source}: options", error, schema) from None
    return {key: value for key, value in resolved.items() if key not in GIVEN_BY_ENCODER}


def complete_pretraining(mechanism: str, values: dict[str, Any], sources: dict[str, str]) -> None:
    """Put the training's values where the pretraining has none; nothing where there is none.

    Raises LRAError naming the key where the mechanism cannot have its objective.
    """
    if "pretraining" not in values:
        return
    own = values["pretraining"]
    if own.get("objective") == "causal":
        where = f"{sources['pretraining.objective']}: pretraining.objective"
        check_causal(where, mechanism)
        if attention.info(mechanism).other_weights:
            raise LRAError(
                f"{where}: '{mechanism}' has other weights in its causal version; choose 'masked'"
            )
    for key, value in values["training"].items():
        if key not in own:
            own[key] = value
            sources[f"pretraining.{key}"] = sources[f"training.{key}"]


def check_causal(where: str, mechanism: str) -> None:
    if not attention.info(mechanism).causal:
        raise LRAError(f"{where}: '{mechanism}' has no causal version; choose 'masked'")


def check_objective(
    task: str, mechanism: str, values: dict[str, Any], sources: dict[str, str]
) -> None:
    """Raises LRAError naming the key where the task or the mechanism cannot have the objective.

    task: of config/tasks/.
    """
    objective = values["training"].get("objective", "classify")
    place = f"config/tasks/{task}.yaml"
    where = f"{sources.get('training.objective', place)}: training.objective"
    if task not in OF_TOKENS and objective in ("next", "masked"):
        raise LRAError(f"{where}: the labels of '{task}' are predicted; choose 'classify'")
    if task in OF_TOKENS and objective == "classify":
        raise LRAError(f"{where}: '{task}' has no labels; choose 'next' or 'masked'")
    if objective == "next":
        check_causal(where, mechanism)
    if task in OF_TOKENS and "pretraining" in values:
        where = sources.get("pretraining.objective", place)
        raise LRAError(f"{where}: pretraining: '{task}' has no labels to be trained on after it")
    if task in OF_TOKENS and values["encoder"].get("mask_zero"):
        raise LRAError(
            f"{sources['encoder.mask_zero']}: encoder.mask_zero: hides tokens that are predicted"
        )


def validated(kind: type[Strict], values: dict, sources: dict[str, str], otherwise: str):
    """`values` as their class; a complaint names where the key is written, or `otherwise`."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        message = error.errors()[0]["msg"]
        named = re.search(r"^Value error, (\w+):", message)
        if named:  # a validator that names the key it complains of
            key = f"{key}.{named[1]}"
        while key and key not in sources:  # an item of a list
            key = key.rpartition(".")[0]
        raise complain(sources.get(key, otherwise), error, kind) from None
