"""The shared encoder, with one- and two-tower heads.

Embeddings, blocks (lra.models.block), a final norm, pooling, an MLP head. The defaults of `Encoder`
are pre-LN blocks of attention and a GELU MLP, with the sizes, initialisation and parameter counts
of google-research/long-range-arena at cd31e5c (models/transformer/transformer.py,
models/layers/common_layers.py). As there, two towers have no CLS token and CLS pooling takes their
first byte.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn

from lra.config.cell import Encoder
from lra.models import norm, reversible
from lra.models.block import Block, build_dropout, gelu
from lra.models.pooling import PMA


def sinusoids(length: int, dim: int) -> Tensor:
    """Fixed positions (length, dim): sin(p r), cos(p r) in turn, r = 10,000^(-2 i / dim)."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    rate = 10_000 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    waves = torch.stack([(position * rate).sin(), (position * rate).cos()], dim=2)
    return rearrange(waves, "n i two -> n (i two)")[:, :dim].float()


class Pixels(nn.Module):
    """Grey values 0 to 255 as real numbers: (value / 255 - mean) / deviation, times a vector, plus
    another. tokens (..., N) -> (..., N, dim)"""

    def __init__(self, dim: int, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.weight, self.bias = nn.Parameter(torch.empty(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        values = (tokens.to(self.weight.dtype) / 255 - self.mean) / self.deviation
        return values[..., None] * self.weight + self.bias


class Classifier(nn.Module):
    """Token ids to class scores.

    forward(tokens (B, T, N), mask (B, T, N) or None where nothing is padding) -> (B, classes), of
    examples of T documents (T towers), which one encoder reads. Then `loss` is what training
    minimises. causal: no token sees a later one; some mechanisms then have weights of other shapes.
    """

    def __init__(self, config: Encoder, causal: bool = False) -> None:
        super().__init__()
        self.config = config
        self.cls = None
        max_len = config.max_len
        if config.pooling == "CLS" and config.towers == 1:
            self.cls = nn.Parameter(torch.zeros(config.dim))
            max_len += 1
        if config.pixels is None:
            self.embedding = nn.Embedding(config.vocab_size, config.dim)
        else:
            self.embedding = Pixels(config.dim, *config.pixels)
        nn.init.normal_(self.embedding.weight, std=config.embedding_std)
        if config.positions == "learned":
            self.positions = nn.Parameter(torch.randn(max_len, config.dim) * config.position_std)
        else:
            fixed = sinusoids(max_len, config.dim) if config.positions == "sinusoidal" else None
            self.register_buffer("positions", fixed, persistent=False)
        rate = config.embedding_dropout
        self.dropout = build_dropout(config, config.dropout if rate is None else rate)
        self.blocks = nn.ModuleList(Block(config, max_len, causal) for _ in range(config.layers))
        for block in self.blocks[1:]:
            block.attention.tie(self.blocks[0].attention)
        self.norm = norm.build(config) if config.final_norm else None
        self.pma = PMA(config.dim, config.heads) if config.pooling == "PMA" else None
        self.head = head(config)
        self.auxiliary: list[Tensor] = []  # losses of the last forward's mechanisms

    def encode(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """One document each: tokens (B, N), mask (B, N) or None -> pooled (B, dim)"""
        x, mask = self.states(self.embedding(tokens), mask)
        if self.pma is not None:
            return self.pma(x, mask)
        if self.config.pooling == "CLS":
            return x[:, 0]
        return self.mean(x, mask)

    def states(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Embedded tokens x (B, N, dim) through all blocks, and their mask; CLS comes first.

        -> (B, N, dim) and (B, N), or N + 1 with a CLS token
        """
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1)
            if mask is not None:
                mask = nn.functional.pad(mask, (1, 0), value=True)
        if self.positions is not None:
            x = x + self.positions[: x.shape[1]]
        x = self.dropout(x)
        if self.blocks[0].attention.reversible:
            x = reversible.run(self.blocks, x, mask)
        else:
            for block in self.blocks:
                x = block(x, mask)
        losses = (block.attention.auxiliary for block in self.blocks)
        self.auxiliary = [loss for loss in losses if loss is not None]
        return (x if self.norm is None else self.norm(x, mask)), mask

    def mean(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """MEAN pooling of x (B, N, dim) -> (B, dim)"""
        over = self.config.mean_over
        if over == "all" or (mask is None and over == "real"):
            return x.mean(dim=1)
        real = x.new_ones(x.shape[:2]) if mask is None else mask.to(x.dtype)
        count = real.sum(1, keepdim=True).clamp(min=1) if over == "real" else over
        return (x * real[:, :, None]).sum(1) / count

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        documents = rearrange(tokens, "b t n -> (b t) n")
        mask = attended(tokens, mask, self.config)
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


def start_from(model: Classifier, weights: dict[str, Tensor]) -> None:
    """Give a classifier the encoder of these weights, of a pretrained model; its head stays."""
    own = [name for name in model.state_dict() if not name.startswith(("head.", "pma."))]
    model.load_state_dict({name: weights[name] for name in own}, strict=False)


def attended(tokens: Tensor, mask: Tensor | None, config: Encoder) -> Tensor | None:
    """The tokens that the encoder does not hide, in the shape of `tokens`; None: all."""
    return tokens != 0 if config.mask_zero else mask


def head(config: Encoder) -> nn.Sequential:
    """Linear layers, ReLU or GELU between them; hidden units are mlp_dim, mlp_dim / 2, ..."""
    features = {"none": 2, "NLI": 4}[config.interaction] if config.towers == 2 else 1
    hidden = [config.mlp_dim // 2**layer for layer in range(config.head_layers - 1)]
    layers: list[nn.Module] = []
    for wide, narrow in pairwise([features * config.dim, *hidden, config.classes]):
        layers += [nn.Linear(wide, narrow), gelu(config) if config.head_gelu else nn.ReLU()]
    if config.init == "xavier":
        for layer in layers[::2]:
            lecun_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers[:-1])


def lecun_normal_(weight: Tensor) -> None:
    """Truncated at two deviations, variance 1 / fan-in (Flax's lecun_normal)."""
    std = (1 / weight.shape[1]) ** 0.5 / 0.87962566103423978
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def without_memory(config: Encoder) -> Classifier:
    """The classifier with nothing allocated, so it may be larger than this machine.

    It imports torch's compiler, 2 s of a job: where there is a model, ask that.
    """
    with torch.device("meta"):
        return Classifier(config)


def parameter_count(model: Classifier) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def reach(model: Classifier) -> int | None:
    """How many tokens on either side one layer mixes; None: all, or those by another rule."""
    return model.blocks[0].attention.reach
