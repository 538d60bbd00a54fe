"""The cells of a sweep of learning rates (`rates:` of an experiment), by their models' names.

`linear@4` is `linear` at 4 times its own learning rate. At 1 a model keeps its name, so that a
sweep changes nothing of the cells that there are. No model's own name may have an @.
"""

from __future__ import annotations


def swept(model: str, factor: float) -> str:
    """The model of a cell at `factor` times the model's own learning rate."""
    return model if factor == 1 else f"{model}@{repr(float(factor)).removesuffix('.0')}"


def unswept(name: str) -> tuple[str, float]:
    """The model and the factor of the model of a cell."""
    model, _, factor = name.partition("@")
    return model, float(factor or 1)
