"""Step forms: a causal layer one token at a time, from a state of the tokens before it.

They stand beside the mechanisms, not in them: no training imports them, so a step form that is
added or changed trains nothing again.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal

from lra import attention
from lra.core.errors import LRAError

if TYPE_CHECKING:
    from lra.attention.base import MultiHead

# recurrent: a state of fixed size sums up all earlier tokens
# window: the last tokens, at most a fixed number of them
# cache: something of every earlier token
# recomputed: all earlier inputs, and a step is the parallel form of all of them
Kind = Literal["recurrent", "window", "cache", "recomputed"]
RECOMPUTED = ("recomputed", "base.Recomputed")
FORMS: dict[str, tuple[Kind, str]] = {  # a module of this package and a class of it
    "transformer": ("cache", "cached.Cached"),
    "rotary": ("cache", "cached.Rotary"),
    "synthesizer": ("cache", "cached.Synthesizer"),
    "sparse": ("cache", "cached.Sparse"),
    "mega": ("cache", "averaged.Mega"),
    "local": ("window", "cached.Local"),
    "longformer": ("window", "cached.Longformer"),
    "image": ("window", "cached.Image"),
    "xl": ("window", "segments.XL"),
    "compressive": ("window", "segments.Compressive"),
    "conv": ("window", "sums.Conv"),
    "identity": ("window", "sums.Identity"),
    "mean": ("recurrent", "sums.Mean"),
    "linear": ("recurrent", "sums.Linear"),
    "performer": ("recurrent", "sums.Performer"),
    "s4d": ("recurrent", "averaged.S4D"),
    "s5": ("recurrent", "averaged.S5"),
    "retention": ("recurrent", "gated.Retention"),
    "deltanet": ("recurrent", "gated.DeltaNet"),
    "mamba2": ("recurrent", "gated.Mamba2"),
    "mingru": ("recurrent", "gated.MinGRU"),
}


def kind(name: str) -> Kind:
    """What the causal mechanism `name` keeps from step to step, with its default options."""
    return FORMS.get(name, RECOMPUTED)[0]


def module(name: str) -> str:
    """The module of the step form of the mechanism `name`."""
    return f"lra.attention.steps.{FORMS.get(name, RECOMPUTED)[1].partition('.')[0]}"


def build(layer: MultiHead, dim: int) -> Any:
    """The step form (`lra.attention.steps.base.Steps`) of a causal layer of width dim, in
    evaluation and with weights that stay.

    Raises LRAError where the mechanism, or the layer, is not causal.
    """
    name = type(layer).__module__.rpartition(".")[2]
    if not attention.info(name).causal or getattr(layer, "causal", True) is False:
        raise LRAError(f"attention '{name}' is not causal here, and only a causal layer has steps")
    import torch  # plans and tables ask for kinds alone

    form = FORMS.get(name, RECOMPUTED)[1].partition(".")[2]
    with torch.no_grad():
        return getattr(importlib.import_module(module(name)), form)(layer, dim)
