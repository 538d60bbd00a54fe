"""Self-pretraining: a model learns its task's own training inputs before it sees their labels.

Amos, Berant and Gupta 2024, Never Train from Scratch (arXiv:2310.02980; code:
IdoAmos/not-from-scratch at f919137). masked: a share of the tokens is hidden, and predicted from
the others. causal: each token is predicted from those before it, by the mechanism's causal version.
Their code has an L1 loss for masked pixels; here it is the cross entropy over the 256 values, as of
every other task's tokens. Of two towers, all documents count.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from lra.config.cell import PretrainingCell
from lra.models.token_model import TokenModel
from lra.training.batches import Batch, Batches
from lra.training.loop import Classification
from lra.training.predict import forward
from lra.training.signals import Stop

IGNORED = -100  # a target that does not count
VALIDATION = 0  # in place of a step, which count from 1


class TokenPrediction(Classification):
    """A model of tokens, and the cross entropy of those that it has to predict."""

    def __init__(self, cell: PretrainingCell) -> None:
        super().__init__(cell)
        self.causal = cell.training.objective == "causal"

    def model(self) -> TokenModel:
        return TokenModel(self.cell.encoder, self.causal)

    def loss(self, model: TokenModel, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Mean loss and share of right predictions of the batch of `step`, on the device."""
        loss, right, count = self.sums(model, batch, step)
        return loss / count, right.double() / count

    @torch.no_grad()
    def validate(
        self, model: TokenModel, batches: Batches, stop: Stop | None = None
    ) -> tuple[float, float]:
        """Mean loss of a split's tokens, and percent of right predictions; the same are hidden
        each time, for one `eval_batch_size`.

        Raises Interrupted between two batches where `stop` has a signal.
        """
        model.eval()
        sums = torch.zeros(3, dtype=torch.float64, device=batches.device)
        size = self.cell.training.eval_batch_size
        for number, (_, batch) in enumerate(batches.in_batches(size)):
            if stop is not None:
                stop.check()
            found = self.sums(model, batch, VALIDATION, number * size)
            sums += torch.stack([s.double() for s in found])
        model.train()
        loss, right, count = sums.tolist()
        return loss / count, 100 * right / count

    def sums(
        self, model: TokenModel, batch: Batch, step: int, place: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Over the predicted tokens of a batch: loss, right predictions, and how many there are.

        step, place: what the draw of hidden tokens depends on, besides the seed.
        """
        hidden = None if self.causal else self.hidden(batch, step, place)
        targets = self.targets(batch, hidden)
        scores = forward(model, batch, self.cell, hidden)  # (B, T, N, vocabulary)
        flat = targets.flatten()
        loss = cross_entropy(scores.flatten(0, 2), flat, ignore_index=IGNORED, reduction="sum")
        right = (scores.detach().argmax(-1) == targets).sum()
        return loss, right, (targets != IGNORED).sum().clamp(min=1)

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

    def real(self, batch: Batch) -> Tensor:
        """Which tokens (B, T, N) a model sees; where a task pads, 0 is padding and else a pixel."""
        if batch.mask is None and not self.cell.encoder.mask_zero:
            return torch.ones_like(batch.tokens, dtype=torch.bool)
        return batch.tokens != 0
