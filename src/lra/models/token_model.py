"""The encoder with a head that scores tokens: what is pretrained (lra.training.pretraining)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from lra.config.cell import Encoder
from lra.models.classifier import Classifier, attended, lecun_normal_


class TokenModel(Classifier):
    """Token ids to scores of the vocabulary at each token, by the states after the last norm.

    forward(tokens (B, T, N), mask (B, T, N) or None, hidden (B, T, N) or None) ->
    (B, T, N, vocabulary). In place of a hidden token the blocks read one learned vector, at its
    position. Weights of the encoder have the names that they have in a `Classifier`.
    """

    def __init__(self, config: Encoder, causal: bool = False) -> None:
        super().__init__(config, causal)
        self.pma = None
        self.head = nn.Linear(config.dim, config.vocab_size)
        lecun_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.unknown = nn.Parameter(torch.randn(config.dim) * config.embedding_std)

    def forward(
        self, tokens: Tensor, mask: Tensor | None = None, hidden: Tensor | None = None
    ) -> Tensor:
        mask = attended(tokens, mask, self.config)
        x = self.embedding(tokens)  # (B, T, N, dim)
        if hidden is not None:
            x = torch.where(hidden[..., None], self.unknown.to(x.dtype), x)
        documents = rearrange(x, "b t n d -> (b t) n d")
        masks = None if mask is None else rearrange(mask, "b t n -> (b t) n")
        states, _ = self.states(documents, masks)
        if self.cls is not None:
            states = states[:, 1:]
        return self.head(rearrange(states, "(b t) n d -> b t n d", t=tokens.shape[1]))
