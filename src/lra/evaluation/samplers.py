"""Samplers: how a trained model of tokens fills in the tokens of an example that are missing.

autoregressive: left to right, each token from those before it, by a state (lra.models.decode).
denoised: hidden tokens from all others, several at once. Which come first says the order:

    random: any, an equal share in each step (MDLM; LLaDA's random remasking)
    confidence: those whose likeliest token has the highest probability (LLaDA's low-confidence
        remasking, Nie et al. 2025, arXiv:2502.09992)

Both go from left to right by blocks of missing tokens, where a size is given: the next block begins
when the last is whole. That interpolates between the two (BD3-LM, Arriola et al. 2025,
arXiv:2503.09573).

A token that is drawn is so by Gumbel noise in float64: float32 cuts its tail off, which lowers the
temperature (Zheng et al. 2024, arXiv:2409.02908). The noise goes by an example's index, a position
and a token: neither the batch size nor the sampler changes it. Confidence is that of the likeliest
token, where LLaDA has that of the drawn one. So with one token a step an exact model is drawn from
exactly, in either order; where the likeliest token is taken, as for answers, both are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from lra.training.batches import sent

SEED = 0  # of the noise: the same for all models
ORDER = -1  # in the place of a token: the noise of the random order
Order = Literal["random", "confidence"]


@dataclass(frozen=True)
class Prompt:
    """Examples with missing tokens."""

    tokens: Tensor  # (B, N) int64; what is missing is never read
    missing: Tensor  # (B, N) bool
    index: Tensor  # (B,) int64: of the examples in their split
    lengths: np.ndarray  # (B,) of the examples without padding
    greedy: bool  # the likeliest token is taken; else one is drawn, at temperature 1


@dataclass(frozen=True)
class Filled:
    """Whole examples, and what each took, as it would by itself."""

    tokens: Tensor  # (B, N) int64
    evaluations: np.ndarray  # (B,) forward passes, one after the other
    token_evaluations: np.ndarray  # (B,) tokens that went through the network in them


class Stepwise(Protocol):
    """What `autoregressive` needs of `lra.models.decode.Decoder`: scores are (B, vocabulary)."""

    def prefill(self, tokens: Tensor, hidden: Tensor) -> tuple[Tensor, tuple]: ...

    def step(self, tokens: Tensor, states: tuple) -> tuple[Tensor, tuple]: ...


def autoregressive(decoder: Stepwise, prompt: Prompt) -> Filled:
    """Tokens up to the first missing one are read at once, then one by one, also those given."""
    tokens = prompt.tokens.clone()
    ours = prompt.missing.cpu().numpy()
    first, last = ours.argmax(1), ours.shape[1] - 1 - ours[:, ::-1].argmax(1)  # (B,)
    begin, end = int(first.min()), int(last.max())
    # as under the objective `next`: one learned vector in place of a token before the first
    read = pad(tokens[:, :begin], (1, 0))
    unknown = torch.zeros_like(read, dtype=torch.bool)
    unknown[:, 0] = True
    scores, states = decoder.prefill(read, unknown)
    for place in range(begin, end + 1):
        at = torch.full_like(prompt.index[:, None], place)
        drawn = chosen(scores[:, None], prompt, at)[:, 0]
        tokens[:, place] = drawn.where(prompt.missing[:, place], tokens[:, place])
        if place < end:
            scores, states = decoder.step(tokens[:, place], states)
    return Filled(tokens, 1 + last - first, 1 + last)


def denoised(
    model: Callable[[Tensor, Tensor], Tensor],
    prompt: Prompt,
    order: Order,
    steps: int,
    size: int | None = None,
) -> Filled:
    """In each block of `size` missing tokens as many steps, of equal shares; at most one a token.

    model: tokens (B, N), hidden (B, N) bool -> scores (B, N, vocabulary). size: None is all.
    """
    hidden = prompt.missing
    tokens = prompt.tokens * ~hidden  # no answer reaches a model, even one that does not hide
    device, length = tokens.device, tokens.shape[1]
    size = size or length
    block = (hidden.cumsum(1) - 1) // size  # (B, N)
    total = hidden.sum(1).cpu().numpy()
    count = np.clip(total[:, None] - size * np.arange(-(-total.max() // size)), 0, size)
    taken = np.minimum(steps, count)  # (B, blocks) steps
    place = torch.arange(length, device=device).expand(tokens.shape)
    chance = uniform(prompt.index, place, torch.full_like(place, ORDER))
    for number, (own, left) in enumerate(zip(taken.T, count.T, strict=True)):
        for step in range(own.max()):
            before, after = (
                left * np.minimum(t, own) // np.maximum(own, 1) for t in (step, step + 1)
            )
            share = after - before  # (B,) tokens of this step
            scores = model(tokens, hidden)
            sure = chance if order == "random" else scores.softmax(-1).amax(-1).double()
            sure = sure.masked_fill(~hidden | (block != number), -1)
            at = sure.topk(int(share.max())).indices  # (B, K)
            now = torch.arange(at.shape[1], device=device) < sent(share, device)[:, None]
            few = scores.gather(1, at[..., None].expand(-1, -1, scores.shape[-1]))
            drawn = chosen(few, prompt, at).where(now, tokens.gather(1, at))
            tokens = tokens.scatter(1, at, drawn)
            hidden = hidden.scatter(1, at, hidden.gather(1, at) & ~now)
    evaluations = taken.sum(1)
    return Filled(tokens, evaluations, prompt.lengths * evaluations)


def chosen(scores: Tensor, prompt: Prompt, at: Tensor) -> Tensor:
    """A token for each of the positions `at` (B, K), by their scores (B, K, vocabulary)."""
    if prompt.greedy:
        return scores.argmax(-1)
    tokens = torch.arange(scores.shape[-1], device=scores.device)
    noise = uniform(prompt.index, at[..., None], tokens)
    return (scores.double() - (-noise.log()).log()).argmax(-1)


def uniform(index: Tensor, place: Tensor, token: Tensor) -> Tensor:
    """A number in (0, 1) for each example, position and token, int64 tensors that broadcast.

    index (B,) goes along the first axis. Float64, from the counters alone.
    """
    index = index.view(-1, *[1] * (place.dim() - 1))
    bits = mixed(mixed(mixed(index + SEED) + place) + token)
    return ((bits >> 11 & 2**53 - 1).double() + 0.5) / 2**53


def mixed(counter: Tensor) -> Tensor:
    """SplitMix64 of int64 (Steele et al. 2014): neighbours have unrelated results."""
    x = counter * -7046029254386353131 - 7046029254386353131  # overflows, as it is meant to
    x = (x ^ x >> 30 & 2**34 - 1) * -4658895280553007687
    x = (x ^ x >> 27 & 2**37 - 1) * -7723592293110705685
    return x ^ x >> 31 & 2**33 - 1
