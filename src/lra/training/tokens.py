"""Training on tokens in place of labels: what a model reads, and which tokens it then predicts.

next: each token from those before it, by the mechanism's causal version. What is read is shifted by
one token, and in place of the first is one learned vector: so the first token is predicted, too,
and the costs of a window's tokens add up to its negative log-likelihood.

masked: hidden tokens from all others (masked diffusion). A share t of the tokens is hidden, each by
itself, and their mean cost over t is in expectation over t, uniform in (0, 1], an upper bound on
the same negative log-likelihood (Nie et al. 2025, LLaDA, arXiv:2502.09992, equation 3). The model
is not told t (Ou et al. 2024, RADD, arXiv:2406.03736).

Both read the same windows. Of tokens that are marked (`Batch.counted`) these alone are predicted,
and under `masked` these alone are hidden.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from lra.models.token_model import TokenModel
from lra.training.batches import Batch, Batches, sent
from lra.training.loop import Classification
from lra.training.predict import forward
from lra.training.signals import Stop

IGNORED = -100  # a target that does not count
LEAST = 1e-3  # share of hidden tokens, else a cost over it has no bounds
SEED = 0  # of the tokens that an evaluation hides: the same for all models
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Question:
    """What a model reads, and what it has to predict."""

    batch: Batch  # its tokens are read
    hidden: Tensor | None  # (B, T, N) bool: where one learned vector is read instead
    targets: Tensor  # (B, T, N) int64: the token to predict there, or IGNORED
    weights: Tensor | None = None  # (B, T, N) of each target's cost; None: all 1
    over: Tensor | None = None  # (B, T, N) bool: tokens that costs are a mean of; None: the targets


class TokenObjective(Classification):
    """A model of tokens, and the cross entropy of those that it has to predict."""

    causal = False

    @abstractmethod
    def question(self, batch: Batch, step: int) -> Question:
        """Of a training batch; a function of the seed, the step and the batch."""

    @abstractmethod
    def questions(self, batches: Batches, draws: int = 1) -> Iterator[Question]:
        """Of every example of a split; draws: how often each is asked, where chance is in it."""

    def model(self) -> TokenModel:
        return TokenModel(self.cell.encoder, self.causal)

    def score(self, loss: float, accuracy: float) -> float:
        return -loss

    def loss(self, model: TokenModel, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Mean loss and share of right predictions of the batch of `step`, on the device."""
        loss, right, asked, over = self.sums(model, self.question(batch, step))
        return loss / over, right.double() / asked

    @torch.no_grad()
    def validate(
        self, model: TokenModel, batches: Batches, stop: Stop | None = None
    ) -> tuple[float, float]:
        """Mean loss of a split's tokens, and percent of right predictions; the same are hidden
        each time.

        Raises Interrupted between two batches where `stop` has a signal.
        """
        model.eval()
        sums = torch.zeros(4, dtype=torch.float64, device=batches.device)
        for question in self.questions(batches):
            if stop is not None:
                stop.check()
            sums += torch.stack([s.double() for s in self.sums(model, question)])
        model.train()
        loss, right, asked, over = sums.tolist()
        return loss / over, 100 * right / asked

    def sums(self, model: TokenModel, question: Question) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of a batch: loss, right predictions, how many there are, and tokens the loss is over."""
        scores = forward(model, question.batch, self.cell, question.hidden)
        loss = costs(scores, question, "sum" if question.weights is None else "none").sum()
        right = (scores.detach().argmax(-1) == question.targets).sum()
        asked = (question.targets != IGNORED).sum().clamp(min=1)
        return loss, right, asked, asked if question.over is None else question.over.sum()

    def real(self, batch: Batch) -> Tensor:
        """Which tokens (B, T, N) a model sees; where a task pads, 0 is padding and else a pixel."""
        if batch.mask is None and not self.cell.encoder.mask_zero:
            return torch.ones_like(batch.tokens, dtype=torch.bool)
        return batch.tokens != 0

    def counted(self, batch: Batch) -> Tensor:
        """Which tokens (B, T, N) are to be predicted."""
        return self.real(batch) if batch.counted is None else batch.counted


def costs(scores: Tensor, question: Question, reduction: str = "none") -> Tensor:
    """Cross entropy of scores (B, T, N, vocabulary) -> (B, T, N) times the weights, or its sum."""
    targets, shape = question.targets.flatten(), question.targets.shape
    cost = cross_entropy(scores.flatten(0, 2), targets, ignore_index=IGNORED, reduction=reduction)
    if reduction == "none":
        cost = cost.view(shape)
        cost = cost if question.weights is None else cost * question.weights
    return cost


class Next(TokenObjective):
    """Each token, from those before it."""

    causal = True

    def question(self, batch: Batch, step: int = 0) -> Question:
        read = replace(batch, tokens=pad(batch.tokens[..., :-1], (1, 0)))
        first = torch.zeros_like(batch.tokens, dtype=torch.bool)
        first[..., 0] = True
        return Question(read, first, batch.tokens.long().where(self.counted(batch), IGNORED))

    def questions(self, batches: Batches, draws: int = 1) -> Iterator[Question]:
        """Nothing is drawn, so each example is asked once."""
        for _, batch in batches.in_batches(self.cell.training.eval_batch_size):
            yield self.question(batch)


class Masked(TokenObjective):
    """Hidden tokens, from all others."""

    def question(self, batch: Batch, step: int) -> Question:
        """One share t of each of B equal parts of (0, 1], and no t below LEAST."""
        seed = np.random.SeedSequence([self.cell.seed, step]).generate_state(1, np.uint64)
        device, size = batch.tokens.device, len(batch.tokens)
        draws = torch.Generator(device).manual_seed(int(seed[0]))
        part = torch.arange(size, device=device) + torch.rand(size, generator=draws, device=device)
        share = (LEAST + (1 - LEAST) * part / size)[:, None, None]  # (B, 1, 1)
        chosen = torch.rand(batch.tokens.shape, generator=draws, device=device) < share
        counted = self.counted(batch)
        return asked(batch, chosen & counted, 1 / share, counted)

    def questions(self, batches: Batches, draws: int = 1) -> Iterator[Question]:
        """How many of an example's L tokens are hidden is exact, l, and costs count L / l.

        Draw d of D takes l from the d-th of D equal parts of 1 to L, at a place in it that the
        multiples of the golden ratio spread over the examples. So l is uniform, as in LLaDA's
        equation 6, with less chance in it. Neither the model nor the batch size changes a draw.
        """
        place = np.arange(len(batches)) * GOLDEN % 1
        for draw in range(draws):
            noise = np.random.Generator(np.random.PCG64([SEED, draw])).random(
                (len(batches), batches.max_len), np.float32
            )
            for index, batch in batches.in_batches(self.cell.training.eval_batch_size):
                counted = self.counted(batch)
                count = counted.sum((1, 2)).cpu().numpy()
                wanted = 1 + np.floor((draw + place[index]) / draws * count)
                own = torch.from_numpy(noise[index, None, : counted.shape[-1]]).to(batches.device)
                rank = own.masked_fill(~counted, 2).argsort(-1).argsort(-1)  # (B, 1, N)
                hidden = counted & (rank < sent(wanted, batches.device)[:, None, None])
                weights = sent(count / wanted, batches.device)[:, None, None]
                yield asked(batch, hidden, weights.float(), counted)


def asked(batch: Batch, hidden: Tensor, weights: Tensor, counted: Tensor) -> Question:
    """The hidden tokens (B, T, N) with weights (B, 1, 1), over the counted ones (B, T, N)."""
    targets = batch.tokens.long().where(hidden, IGNORED)
    return Question(batch, hidden, targets, weights.expand_as(hidden), counted)


OBJECTIVES = {"next": Next, "masked": Masked}  # by the key of a cell's training
