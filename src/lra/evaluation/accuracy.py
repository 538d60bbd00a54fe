"""Score a trained cell on the test split, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from lra.config.cell import Cell
from lra.core.errors import LRAError
from lra.data.split import Split, read_split
from lra.hardware.device import choose_device, make_repeatable
from lra.models.classifier import Classifier, attended
from lra.training.batches import Batches
from lra.training.predict import predict


@dataclass
class Score:
    accuracy: float  # percent
    loss: float  # mean cross entropy in nats
    labels: np.ndarray  # (examples,) in the order of test.arrow
    predictions: np.ndarray  # (examples,)
    attended_tokens: float  # mean of an example: neither padding nor hidden as token 0


def trained(cell: Cell, checkpoint: Path) -> Classifier:
    return with_weights(Classifier(cell.encoder), checkpoint)


def with_weights(model: Classifier, checkpoint: Path) -> Classifier:
    """Raises LRAError naming the file where the checkpoint does not fit the cell."""
    try:
        model.load_state_dict(load_file(checkpoint))
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise LRAError(f"{checkpoint}: not this cell's checkpoint ({reason})") from None
    return model


def evaluate(cell: Cell, checkpoint: Path, test: Path) -> Score:
    """Raises LRAError naming the file where the checkpoint does not fit the cell."""
    make_repeatable(cell.threads)
    device = choose_device(cell.device)
    batches = Batches(read_split(test), cell, device)
    predictions, loss = predict(trained(cell, checkpoint).to(device), batches, cell)
    right = (predictions == batches.labels).double().mean().item()
    return Score(
        accuracy=100 * right,
        loss=loss,
        labels=batches.labels.cpu().numpy(),
        predictions=predictions.cpu().numpy(),
        attended_tokens=attended_tokens(batches, cell),
    )


def attended_tokens(batches: Batches, cell: Cell) -> float:
    """Tokens of an example, both towers together, that the encoder does not hide: their mean."""
    total = torch.zeros((), dtype=torch.long, device=batches.device)
    for _, batch in batches.in_batches(cell.training.eval_batch_size):
        real = attended(batch.tokens, batch.mask, cell.encoder)
        total += batch.tokens.numel() if real is None else real.sum()
    return total.item() / len(batches)


def test_set(
    test: Path, answers: Callable[[Split], np.ndarray] = attrgetter("labels")
) -> dict[str, float | int | str]:
    """Of a test split: `n_test` examples, `chance` (percent of the most frequent answer) and
    `validation` (what the data set is validated on)."""
    split = read_split(test)
    counts = np.bincount(answers(split))
    most = 100 * int(counts.max()) / int(counts.sum())
    return {"n_test": len(split), "chance": most, "validation": split.info.validation}
