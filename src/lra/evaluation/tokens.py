"""Score a trained cell that predicts tokens on the test split, once: in all, and in parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lra.config.cell import Cell
from lra.core.errors import LRAError
from lra.data.split import Split, read_split
from lra.evaluation import accuracy, long_windows
from lra.hardware.device import choose_device, is_out_of_memory, make_repeatable
from lra.models.decode import Decoder
from lra.models.token_model import TokenModel
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
    times: int = 1  # length of the examples over that in training


@dataclass
class TokenScore:
    accuracy: float  # percent of predictions
    loss: float  # nats for each token
    attended_tokens: float  # of an example
    parts: list[Part]
    state_bytes: int | None  # of one sequence after a whole window; None where there is no state
    # percent of the examples whose answers are all right, each read after the true ones before it:
    # greedy decoding gives the same. None under `masked`, and where all tokens are predicted
    exact_match: float | None
    long_loss: float | None = None  # as `loss`, of windows 16 times as long (.long_windows)
    long_reason: str | None = None  # why it is None, of tasks that have such windows


def evaluate(cell: Cell, checkpoint: Path, test: Path) -> TokenScore:
    """Raises LRAError naming the file where the checkpoint does not fit the cell."""
    make_repeatable(cell.threads)
    device = choose_device(cell.device)
    split, length = read_split(test), cell.encoder.max_len
    aim = OBJECTIVES[cell.training.objective](cell)
    model = accuracy.with_weights(aim.model(), checkpoint).to(device).eval()
    by_position, by_label, whole = sums(model, cell, split, device)
    total = part("position", 1, length, by_position.sum(1))
    parts = of_positions(by_position)
    parts += [part("label", label, label, of) for label, of in enumerate(by_label.unbind(1))]
    found = TokenScore(
        accuracy=total.accuracy,
        loss=total.loss,
        attended_tokens=float(np.diff(split.towers[0].offsets).mean()),
        parts=parts,
        state_bytes=state_bytes(model, length) if aim.causal else None,
        exact_match=100 * whole / len(split) if aim.causal and split.counted is not None else None,
    )
    if split.info.task in long_windows.IN_A_ROW:
        read_long(found, cell, checkpoint, split, device)
    found.parts = [each for each in found.parts if each.tokens]
    return found


def read_long(
    found: TokenScore, cell: Cell, checkpoint: Path, split: Split, device: torch.device
) -> None:
    """Add the loss and the parts of long windows, or why there are none."""
    found.long_reason = long_windows.unread(cell, split)
    if found.long_reason:
        return
    cell = long_windows.longer(cell)
    model = OBJECTIVES[cell.training.objective](cell).model()
    model = accuracy.with_weights(model, checkpoint).to(device).eval()
    try:
        by_position, *_ = sums(model, cell, long_windows.joined(split), device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        found.long_reason = "memory ran out"
        return
    parts = of_positions(by_position, long_windows.TIMES)
    found.long_loss = sum(p.tokens * p.loss for p in parts) / sum(p.tokens for p in parts)
    found.parts += parts


@torch.no_grad()
def sums(
    model: TokenModel, cell: Cell, split: Split, device: torch.device
) -> tuple[Tensor, Tensor, int]:
    """Loss, right, predictions, tokens: by position (4, max_len) and by label (4, labels); and how
    often all predictions of an example were right"""
    batches, aim = Batches(split, cell, device), OBJECTIVES[cell.training.objective](cell)
    labels = int(split.labels.max()) + 1
    by_position = torch.zeros(4, batches.max_len, dtype=torch.float64, device=device)
    by_label = torch.zeros(4, labels, dtype=torch.float64, device=device)
    whole = torch.zeros((), dtype=torch.long, device=device)
    for question in aim.questions(batches, cell.training.draws):
        scores = forward(model, question.batch, cell, question.hidden)
        found = answers(scores, question).sum(2)  # (4, B, N) of one document
        by_position[:, : found.shape[-1]] += found.sum(1)
        of_example = found.sum(2)  # (4, B)
        by_label.index_add_(1, question.batch.labels, of_example)
        whole += (of_example[1] == of_example[2]).sum()
    return by_position, by_label, int(whole)


def state_bytes(model: TokenModel, length: int) -> int | None:
    """Of one sequence of so many tokens, exactly; None where the model has no form by steps."""
    try:
        return Decoder(model).state_bytes(length)
    except LRAError:
        return None


def answers(scores: Tensor, question: Question) -> Tensor:
    """Of each token its loss, and whether right, predicted, counted: (4, B, T, N) float64"""
    predicted = question.targets != IGNORED
    right = scores.argmax(-1) == question.targets
    counted = predicted if question.over is None else question.over
    every = (costs(scores, question), right, predicted, counted)
    return torch.stack([each.double() for each in every])


def of_positions(by_position: Tensor, times: int = 1) -> list[Part]:
    """The parts of sums (4, N), of windows `times` as long as in training."""
    return [
        part("position", first, last, by_position[:, first - 1 : last].sum(1), times)
        for first, last in spaced(by_position.shape[1])
    ]


def part(by: str, first: int, last: int, sums: Tensor, times: int = 1) -> Part:
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
        times,
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
