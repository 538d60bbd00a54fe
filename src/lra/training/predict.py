"""Forward passes in a cell's precision, and predictions of a whole split."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lra.config.cell import Cell
from lra.training.batches import Batches, sent
from lra.training.signals import Stop


@torch.no_grad()
def predict(
    model: nn.Module, batches: Batches, cell: Cell, stop: Stop | None = None
) -> tuple[Tensor, float]:
    """Predicted class of every example (examples,) in the split's order, and the mean loss.

    Raises Interrupted between two batches where `stop` has a signal.
    """
    model.eval()
    predictions = torch.empty_like(batches.labels)
    loss = torch.zeros((), dtype=torch.float64, device=batches.device)
    for index, batch in batches.in_batches(cell.training.eval_batch_size):
        if stop is not None:
            stop.check()
        scores = forward(model, batch, cell)
        loss += cross_entropy(scores, batch.labels, reduction="sum")
        predictions[sent(index, batches.device)] = scores.argmax(-1)
    model.train()
    return predictions, loss.item() / len(batches)


def forward(model: nn.Module, batch: Any, cell: Cell, *more: Any) -> Tensor:
    """Scores, (B, classes) of a classifier, in float32, computed in the cell's precision.

    more: what the model takes besides tokens and mask.
    """
    device = batch.tokens.device.type
    half = cell.training.precision == "bfloat16"
    with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
        scores = model(batch.tokens, batch.mask, *more)
    return scores.float()
