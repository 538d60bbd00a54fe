"""Self-pretraining: a model learns its task's own training inputs before it sees their labels.

Amos, Berant and Gupta 2024, Never Train from Scratch (arXiv:2310.02980; code:
IdoAmos/not-from-scratch at f919137). masked: a share of the tokens is hidden, and predicted from
the others. causal: each token is predicted from those before it, by the mechanism's causal version.
Their code has an L1 loss for masked pixels; here it is the cross entropy over the 256 values, as of
every other task's tokens. Of two towers, all documents count.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from lra.config.cell import PretrainingCell
from lra.training.batches import Batch, Batches
from lra.training.tokens import IGNORED, Question, TokenObjective

VALIDATION = 0  # in place of a step, which count from 1


class TokenPrediction(TokenObjective):
    """Hidden tokens from the others, or each token but the first from those before it."""

    def __init__(self, cell: PretrainingCell) -> None:
        super().__init__(cell)
        self.causal = cell.training.objective == "causal"

    def score(self, loss: float, accuracy: float) -> float:
        return accuracy

    def question(self, batch: Batch, step: int, place: int = 0) -> Question:
        """step, place: what the draw of hidden tokens depends on, besides the seed."""
        hidden = None if self.causal else self.hidden(batch, step, place)
        return Question(batch, hidden, self.targets(batch, hidden))

    def questions(self, batches: Batches, draws: int = 1) -> Iterator[Question]:
        """One draw, the same for one `eval_batch_size`."""
        size = self.cell.training.eval_batch_size
        for number, (_, batch) in enumerate(batches.in_batches(size)):
            yield self.question(batch, VALIDATION, number * size)

    def hidden(self, batch: Batch, step: int, place: int = 0) -> Tensor:
        """Which real tokens (B, T, N) are hidden: each by itself with probability `masked`."""
        seed = np.random.SeedSequence([self.cell.seed, step, place]).generate_state(1, np.uint64)
        draws = torch.Generator(batch.tokens.device).manual_seed(int(seed[0]))
        shape, device = batch.tokens.shape, batch.tokens.device
        chosen = torch.rand(shape, generator=draws, device=device) < self.cell.training.masked
        return chosen & self.real(batch)

    def targets(self, batch: Batch, hidden: Tensor | None) -> Tensor:
        """What is to be predicted at each token (B, T, N): itself where hidden, or the next one."""
        tokens, real = batch.tokens.long(), self.real(batch)
        if hidden is not None:
            return tokens.where(hidden, IGNORED)
        following = pad(tokens[..., 1:], (0, 1))  # (B, T, N)
        both = real & pad(real[..., 1:], (0, 1))
        return following.where(both, IGNORED)
