"""Score a trained cell that predicts tokens on the test split, once: in all, and in parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lra.config.cell import Cell
from lra.data.split import Split, read_split
from lra.evaluation import accuracy
from lra.hardware.device import choose_device, make_repeatable
from lra.training.batches import Batches
from lra.training.predict import forward
from lra.training.tokens import IGNORED, OBJECTIVES, Question, costs


@dataclass
class Part:
    """Some of the predicted tokens: at positions `first` to `last` of an example, from 1; or of
    examples with labels `first` to `last`."""

    by: str  # position or label
    first: int
    last: int
    tokens: int  # that the loss is a mean of; each counts once a draw
    predictions: int
    loss: float  # nats: exact under `next`, an upper bound under `masked`
    accuracy: float | None  # percent; None without a prediction


@dataclass
class TokenScore:
    accuracy: float  # percent of predictions
    loss: float  # nats for each token
    attended_tokens: float  # of an example
    parts: list[Part]


def evaluate(cell: Cell, checkpoint: Path, test: Path) -> TokenScore:
    """Raises LRAError naming the file where the checkpoint does not fit the cell."""
    make_repeatable(cell.threads)
    device = choose_device(cell.device)
    split = read_split(test)
    batches, aim = Batches(split, cell, device), OBJECTIVES[cell.training.objective](cell)
    model = accuracy.with_weights(aim.model(), checkpoint).to(device).eval()
    labels = int(split.labels.max()) + 1
    # sums by position and by label: loss, right, predictions, tokens
    by_position = torch.zeros(4, batches.max_len, dtype=torch.float64, device=device)
    by_label = torch.zeros(4, labels, dtype=torch.float64, device=device)
    with torch.no_grad():
        for question in aim.questions(batches, cell.training.draws):
            scores = forward(model, question.batch, cell, question.hidden)
            found = answers(scores, question).sum(2)  # (4, B, N) of one document
            by_position[:, : found.shape[-1]] += found.sum(1)
            by_label.index_add_(1, question.batch.labels, found.sum(2))
    total = part("position", 1, batches.max_len, by_position.sum(1))
    parts = [
        part("position", first, last, by_position[:, first - 1 : last].sum(1))
        for first, last in spaced(batches.max_len)
    ]
    parts += [part("label", label, label, by_label[:, label]) for label in range(labels)]
    return TokenScore(
        accuracy=total.accuracy,
        loss=total.loss,
        attended_tokens=float(np.diff(split.towers[0].offsets).mean()),
        parts=[each for each in parts if each.tokens],
    )


def answers(scores: Tensor, question: Question) -> Tensor:
    """Of each token its loss, and whether right, predicted, counted: (4, B, T, N) float64"""
    predicted = question.targets != IGNORED
    right = scores.argmax(-1) == question.targets
    counted = predicted if question.over is None else question.over
    every = (costs(scores, question), right, predicted, counted)
    return torch.stack([each.double() for each in every])


def part(by: str, first: int, last: int, sums: Tensor) -> Part:
    """Of sums (4,): loss, right, predictions, tokens."""
    loss, right, predictions, tokens = sums.tolist()
    return Part(
        by,
        first,
        last,
        int(tokens),
        int(predictions),
        loss / max(tokens, 1),
        100 * right / predictions if predictions else None,
    )


def spaced(length: int) -> list[tuple[int, int]]:
    """Positions 1, 2, 3 to 4, 5 to 8, ... of a window: first and last."""
    ends = [2**power for power in range(length.bit_length()) if 2**power < length] + [length]
    return list(zip([1, *(end + 1 for end in ends[:-1])], ends, strict=True))


def predicted_tokens(split: Split) -> np.ndarray:
    """All tokens of a split that are to be predicted, in its order."""
    values = split.towers[0].values
    return values if split.counted is None else values[split.counted.values.astype(bool)]


def test_set(test: Path) -> dict[str, float | int | str]:
    """As of labels; its answers are the tokens that are to be predicted."""
    return accuracy.test_set(test, predicted_tokens)
