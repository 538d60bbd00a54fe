"""What the decode section of an experiment measures: contexts to decode after, lengths to train at.

Encoder and options are those that the protocol has for the profile's task.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lra import attention
from lra.config import profile
from lra.config.cell import ProfilePoint
from lra.config.layers import validated
from lra.core.errors import LRAError
from lra.core.formats import listed


class DecodePoint(ProfilePoint):
    """One (model, context) to decode after, or (model, length) to train at; `length` is either."""

    what: Literal["decode", "directions"]
    limit: float = Field(gt=0)  # seconds


def models(arena: profile.Rules) -> list[str]:
    """Those that can be causal, of the section's or else of the experiment's."""
    section = arena.experiment.decode
    if section is None:
        return []
    named = section.models or arena.experiment.models
    found = [name for name in named if attention.info(arena.mechanism(name)).causal]
    if not found:
        where = f"{arena.place('decode.models')}: decode.models"
        raise LRAError(
            f"{where}: none of {listed(named)} has a causal version; add one, as 'transformer'"
        )
    return found


def points(arena: profile.Rules, model: str) -> list[DecodePoint]:
    section = arena.experiment.decode
    return [point(arena, model, "decode", n) for n in section.contexts] + [
        point(arena, model, "directions", n) for n in section.training_lengths
    ]


def point(
    arena: profile.Rules, model: str, what: Literal["decode", "directions"], length: int
) -> DecodePoint:
    experiment, of_task = arena.experiment, profile.task(arena)
    section, where = experiment.decode, f"{arena.place('decode.encoder')}: decode"
    own = [(where, {"encoder": section.encoder})]
    values, sources = profile.encoder_of(arena, of_task, model, own, length)
    fixed = {
        "experiment": experiment.experiment,
        "protocol": experiment.protocol,
        "task": of_task,
        "model": model,
        "what": what,
        "length": length,
        "batch_size": section.batch_size,
        "seconds": section.seconds,
        "limit": section.limit,
        "device": experiment.device,
    }
    return validated(DecodePoint, {**fixed, **values}, sources, where)
