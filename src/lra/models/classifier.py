"""The shared encoder of the official configuration, with one- and two-tower heads.

Pre-LN blocks of attention and a GELU-tanh MLP, a final LayerNorm, pooling, an MLP head.
Sizes, initialisation and parameter counts are those of google-research/long-range-arena at cd31e5c
(models/transformer/transformer.py, models/layers/common_layers.py). As there, two towers have no
CLS token and CLS pooling takes their first byte; unlike there, MEAN pooling leaves padding out.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from lra import attention
from lra.config.cell import Encoder
from lra.models import reversible
from lra.models.pooling import PMA


def sinusoids(length: int, dim: int) -> Tensor:
    """Fixed positions (length, dim): sines, then cosines, wavelengths up to 10,000 (x 2 pi)."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    half = (dim + 1) // 2
    rate = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float64) / max(half - 1, 1))
    return torch.cat([(position * rate).sin(), (position * rate).cos()], dim=1)[:, :dim].float()


class MLP(nn.Sequential):
    """Linear, GELU (tanh), dropout, Linear, dropout; Xavier weights, nearly zero biases."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(dim, hidden),
            nn.GELU(approximate="tanh"),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )
        for layer in (self[0], self[3]):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)


class Block(nn.Module):
    """x + attention(LN(x)), then x + MLP(LN(x))"""

    def __init__(self, config: Encoder, max_len: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.attention = attention.build(
            config.attention,
            config.dim,
            config.heads,
            max_len,
            qkv_dim=config.qkv_dim,
            dropout=config.attention_dropout,
            **config.options,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.mlp_norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.mlp = MLP(config.dim, config.mlp_dim, config.dropout)

    def residual_attention(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.dropout(self.attention(self.attention_norm(x), mask))

    def residual_mlp(self, x: Tensor) -> Tensor:
        return self.mlp(self.mlp_norm(x))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.residual_attention(x, mask)
        return x + self.residual_mlp(x)


class Classifier(nn.Module):
    """Token ids to class scores.

    forward(tokens (B, T, N), mask (B, T, N) or None where nothing is padding) -> (B, classes), of
    examples of T documents (T towers), which one encoder reads. Then `loss` is what training
    minimises.
    """

    def __init__(self, config: Encoder) -> None:
        super().__init__()
        self.config = config
        self.cls = None
        max_len = config.max_len
        if config.pooling == "CLS" and config.towers == 1:
            self.cls = nn.Parameter(torch.zeros(config.dim))
            max_len += 1
        self.embedding = nn.Embedding(config.vocab_size, config.dim)  # std 1, not scaled
        if config.positions == "learned":
            self.positions = nn.Parameter(torch.randn(max_len, config.dim) * 0.02)
        else:
            self.register_buffer("positions", sinusoids(max_len, config.dim), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, max_len) for _ in range(config.layers))
        for block in self.blocks[1:]:
            block.attention.tie(self.blocks[0].attention)
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.pma = PMA(config.dim, config.heads) if config.pooling == "PMA" else None
        self.head = head(config)
        self.auxiliary: list[Tensor] = []  # losses of the last forward's mechanisms

    def encode(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """One document each: tokens (B, N), mask (B, N) or None -> pooled (B, dim)"""
        x = self.embedding(tokens)  # (B, N, dim)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1)
            if mask is not None:
                mask = nn.functional.pad(mask, (1, 0), value=True)
        x = self.dropout(x + self.positions[: x.shape[1]])
        if self.blocks[0].attention.reversible:
            x = reversible.run(self.blocks, x, mask)
        else:
            for block in self.blocks:
                x = block(x, mask)
        losses = (block.attention.auxiliary for block in self.blocks)
        self.auxiliary = [loss for loss in losses if loss is not None]
        x = self.norm(x)
        if self.pma is not None:
            return self.pma(x, mask)
        if self.config.pooling == "CLS":
            return x[:, 0]
        if mask is None:
            return x.mean(dim=1)
        real = mask[:, :, None].to(x.dtype)
        return (x * real).sum(1) / real.sum(1).clamp(min=1)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        documents = rearrange(tokens, "b t n -> (b t) n")
        masks = None if mask is None else rearrange(mask, "b t n -> (b t) n")
        pooled = self.encode(documents, masks)  # (B T, dim)
        return self.classify(rearrange(pooled, "(b t) d -> b t d", t=self.config.towers))

    def classify(self, pooled: Tensor) -> Tensor:
        """Class scores (B, classes) of encoded documents (B, T, dim).

        No token of one document sees the other's, so a document is encoded once for all its pairs.
        """
        if self.config.interaction != "NLI":
            return self.head(rearrange(pooled, "b t d -> b (t d)"))
        one, two = pooled.unbind(dim=1)
        return self.head(torch.cat([one, two, one * two, one - two], dim=-1))

    def loss(self, task_loss: Tensor) -> Tensor:
        """The task's, and what mechanisms add to it (e.g. Compressive Transformer's)."""
        return sum(self.auxiliary, start=task_loss)


def head(config: Encoder) -> nn.Sequential:
    """Dense(mlp_dim), ReLU, and for two towers Dense(mlp_dim / 2), ReLU, then Dense(classes)."""
    features = {"none": 2, "NLI": 4}[config.interaction] if config.towers == 2 else 1
    widths = [features * config.dim, config.mlp_dim]
    if config.towers == 2:
        widths.append(config.mlp_dim // 2)
    layers: list[nn.Module] = []
    for narrow, wide in zip(widths, [*widths[1:], config.classes], strict=True):
        layers += [nn.Linear(narrow, wide), nn.ReLU()]
    for layer in layers[::2]:
        lecun_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers[:-1])


def lecun_normal_(weight: Tensor) -> None:
    """Truncated at two deviations, variance 1 / fan-in (Flax's lecun_normal)."""
    std = (1 / weight.shape[1]) ** 0.5 / 0.87962566103423978
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def parameter_count(config: Encoder) -> int:
    """Of the whole classifier; nothing is allocated, so it may be larger than this machine."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Classifier(config).parameters())
