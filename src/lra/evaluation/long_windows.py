"""Test windows 16 times as long as in training: whether and how a trained cell reads them.

The test windows of such tasks are one text, cut into pieces that follow one another. So 16 windows
in a row are a long one, of the same tokens. What is left at the end is not read.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lra.config.cell import Cell
from lra.data.split import Sequences, Split
from lra.training.tokens import OBJECTIVES

TIMES = 16
IN_A_ROW = {"bytes"}  # tasks whose windows follow one another (lra.data.enwik8_windows)


def unread(cell: Cell, split: Split) -> str | None:
    """Why long windows are not read; None where they are."""
    length = f"{cell.encoder.max_len:,} tokens"
    if len(split) < TIMES:
        return f"the test split has fewer than {TIMES} windows"
    if cell.encoder.positions == "learned":
        return f"positions are learned, for {length}"
    with torch.device("meta"):
        short, long = (OBJECTIVES[c.training.objective](c).model() for c in (cell, longer(cell)))
    shapes = {name: tensor.shape for name, tensor in short.state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in long.state_dict().items()}:
        return f"weights are for {length}"
    return None


def longer(cell: Cell) -> Cell:
    """The cell with long windows, as many tokens in a batch."""
    encoder, training = cell.encoder, cell.training
    size = max(1, training.eval_batch_size // TIMES)
    return cell.model_copy(
        update={
            "encoder": encoder.model_copy(update={"max_len": TIMES * encoder.max_len}),
            "training": training.model_copy(update={"eval_batch_size": size}),
        }
    )


def joined(split: Split) -> Split:
    """Each 16 windows in a row as one, with the label of the first."""
    count = len(split) // TIMES
    ends = split.towers[0].offsets[: count * TIMES + 1 : TIMES]
    tokens = Sequences(split.towers[0].values[: ends[-1]], np.ascontiguousarray(ends))
    return replace(split, towers=(tokens,), labels=split.labels[: count * TIMES : TIMES])
