"""A layer of the encoder: a mechanism that mixes tokens, then an MLP or a GLU.

`block: mlp` has two residuals, of the mechanism and of an MLP. The GLU blocks have one and no MLP:
the mechanism, GELU, dropout, a gated linear unit, dropout (S4: Gu et al. 2022, arXiv:2111.00396;
S5: Smith et al. 2023, arXiv:2208.04933, appendix G).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import dropout

from lra import attention
from lra.config.cell import Encoder
from lra.models import norm


class TiedDropout(nn.Dropout):
    """Drops a feature of a sequence at all its tokens or at none; x (B, N, dim)"""

    def forward(self, x: Tensor) -> Tensor:
        return x * dropout(x.new_ones(len(x), 1, x.shape[2]), self.p, self.training)


def build_dropout(config: Encoder, rate: float) -> nn.Dropout:
    return (TiedDropout if config.tied_dropout else nn.Dropout)(rate)


def gelu(config: Encoder) -> nn.GELU:
    return nn.GELU(approximate="none" if config.gelu == "exact" else "tanh")


class MLP(nn.Sequential):
    """Linear, activation, dropout, Linear, dropout"""

    def __init__(self, config: Encoder) -> None:
        super().__init__(
            nn.Linear(config.dim, config.mlp_dim),
            nn.SiLU() if config.activation == "silu" else gelu(config),
            build_dropout(config, config.dropout),
            nn.Linear(config.mlp_dim, config.dim),
            build_dropout(config, config.dropout),
        )
        start(config, self[0], self[3])


class GLU(nn.Module):
    """Of g = dropout(GELU(x)):

    glu:        (V g + c) sigmoid(W g + b)
    half_glu1:  g sigmoid(W g + b)
    half_glu2:  x sigmoid(W g + b)
    """

    def __init__(self, config: Encoder) -> None:
        super().__init__()
        self.kind = config.block
        self.gelu, self.dropout = gelu(config), build_dropout(config, config.dropout)
        self.gate = nn.Linear(config.dim, config.dim)
        start(config, self.gate)
        if self.kind == "glu":
            self.value = nn.Linear(config.dim, config.dim)
            start(config, self.value)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.gelu(x))
        gate = self.gate(hidden).sigmoid()
        if self.kind == "glu":
            return self.value(hidden) * gate
        return (hidden if self.kind == "half_glu1" else x) * gate


def start(config: Encoder, *layers: nn.Linear) -> None:
    """Initial values, those of the official code or torch's own."""
    if config.init == "xavier":
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)


class Block(nn.Module):
    """Pre-norm: x + f(norm(x)) of the mechanism, then of the MLP; post-norm: norm(x + f(x))."""

    def __init__(self, config: Encoder, max_len: int, causal: bool = False) -> None:
        super().__init__()
        self.post = config.norm_place == "post"
        self.attention_norm = norm.build(config)
        self.attention = attention.build(
            config.attention,
            config.dim,
            config.heads,
            max_len,
            causal,
            qkv_dim=config.qkv_dim,
            dropout=config.attention_dropout,
            bias=config.projection_bias,
            init=config.init,
            **config.options,
        )
        self.glu = None if config.block == "mlp" else GLU(config)
        self.dropout = build_dropout(config, config.dropout)
        self.mlp = None
        if config.block == "mlp":
            self.mlp_norm = norm.build(config)
            self.mlp = MLP(config)

    def before(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Of the stream x what the mechanism is given: its inputs, and x where that asks for it."""
        inputs = x if self.post else self.attention_norm(x, mask)
        return (inputs, x) if self.attention.gates_residual else (inputs,)

    def added(self, mixed: Tensor) -> Tensor:
        """Of what the mechanism gives what is added to the stream."""
        return self.dropout(mixed if self.glu is None else self.glu(mixed))

    def after(self, x: Tensor, mixed: Tensor, mask: Tensor | None = None) -> Tensor:
        """The block's output, of the stream x and what the mechanism gives."""
        x = x + self.added(mixed)
        del mixed  # else it would lie in memory while the MLP runs
        if self.post:
            x = self.attention_norm(x, mask)
            return x if self.mlp is None else self.mlp_norm(x + self.mlp(x), mask)
        return x if self.mlp is None else x + self.residual_mlp(x, mask)

    def mix(self, x: Tensor, mask: Tensor | None) -> Tensor:
        inputs, *stream = self.before(x, mask)
        return self.attention(inputs, mask, *stream)

    def residual_attention(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.added(self.mix(x, mask))

    def residual_mlp(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.mlp(self.mlp_norm(x, mask))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.after(x, self.mix(x, mask), mask)
