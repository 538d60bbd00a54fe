"""A causal model of tokens, one token at a time (lra.attention.steps)."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention import steps
from lra.attention.steps.base import State, Steps
from lra.core.errors import LRAError
from lra.models.block import Block
from lra.models.token_model import TokenModel


class Decoder:
    """Scores of the next token from a state of the tokens before, as the causal TokenModel has them

    The state of a model is that of each of its blocks' mechanisms. The model is put into evaluation
    and its weights must stay. Batch normalisation has its running values, as in evaluation.

    Raises LRAError where the mechanism is not causal, layers are reversible or zeros are hidden.
    """

    def __init__(self, model: TokenModel) -> None:
        config = model.config
        if model.blocks[0].attention.reversible:
            raise LRAError("options.reversible: a model of reversible layers has no steps")
        if config.mask_zero:
            raise LRAError("mask_zero: a model that hides tokens has no steps")
        self.model = model.eval()
        self.steps = [steps.build(block.attention, config.dim) for block in model.blocks]

    @torch.no_grad()
    def start(self, batch: int) -> tuple[State, ...]:
        """Before the first token of `batch` sequences; a CLS token is in it."""
        states = tuple(each.start(batch) for each in self.steps)
        if self.model.cls is None:
            return states
        return self.through(self.model.cls.expand(batch, 1, -1), states)[1]

    @torch.no_grad()
    def step(self, tokens: Tensor, states: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        """The next tokens (B,) -> scores of those after them (B, vocabulary), the states with them

        The states given are used up: a step may write into their tensors.
        """
        x, states = self.through(self.model.embedding(tokens[:, None]), states)
        return self.scores(x), states

    @torch.no_grad()
    def prefill(
        self, tokens: Tensor, hidden: Tensor | None = None
    ) -> tuple[Tensor, tuple[State, ...]]:
        """tokens (B, N) in parallel, as the first ones: scores after the last, and the states

        In place of a token that is hidden, (B, N) bool, the model's learned vector is read.
        """
        x = self.model.embedding(tokens)
        if hidden is not None:
            x = torch.where(hidden[..., None], self.model.unknown, x)
        if self.model.cls is not None:
            x = torch.cat([self.model.cls.expand(len(x), 1, -1), x], dim=1)
        x, states = self.through(x, None)
        return self.scores(x), states

    def through(
        self, x: Tensor, states: tuple[State, ...] | None
    ) -> tuple[Tensor, tuple[State, ...]]:
        """x (B, N, dim) through all blocks: all tokens so far, or after `states` the next one"""
        first = 0 if states is None else states[0].n
        positions, after = self.model.positions, []
        if positions is not None:
            if first + x.shape[1] > len(positions):
                raise LRAError(f"max_len: the model has positions for {len(positions)} tokens")
            x = x + positions[first : first + x.shape[1]]
        for i, (block, mixer) in enumerate(zip(self.model.blocks, self.steps, strict=True)):
            x, state = through_block(block, mixer, x, None if states is None else states[i])
            after.append(state)
        return x, tuple(after)

    def scores(self, x: Tensor) -> Tensor:
        """Of the last token of x (B, N, dim)"""
        x = x[:, -1:]
        return self.model.head(x if self.model.norm is None else self.model.norm(x))[:, 0]

    def state_bytes(self, n: int) -> int:
        """Exactly, of one sequence's states after n tokens, in all layers"""
        n += self.model.cls is not None
        return sum(each.state_bytes(n) for each in self.steps)


def through_block(
    block: Block, mixer: Steps, x: Tensor, state: State | None
) -> tuple[Tensor, State]:
    """Block.forward with the mechanism by steps or, without a state, in parallel.

    x (B, N, dim), N = 1 where there is a state.
    """
    inputs, *stream = block.before(x)
    if state is None:
        mixed, state = mixer.prefill(inputs, *stream)
    else:
        mixed, state = mixer.step(inputs, state, *stream)
    return block.after(x, mixed), state
