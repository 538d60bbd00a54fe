"""Each mechanism's options in the speed table, and the package that is its peer with the same ones.

A peer is one layer with its projections, like ours: (B, N, dim) -> (B, N, dim). Where no package of
the registry has the mechanism, full attention by torch.nn.MultiheadAttention stands in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Build = Callable[[int, int, int], nn.Module]  # (dim, heads, length)


class Adapted(nn.Module):
    """A peer whose forward wants more than x, or returns more than the outputs."""

    def __init__(self, layer: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.layer, x)


def multihead(dim: int, heads: int, length: int) -> nn.Module:
    layer = nn.MultiheadAttention(dim, heads, bias=False, batch_first=True)
    return Adapted(layer, lambda m, x: m(x, x, x, need_weights=False)[0])


def local(look: int) -> Build:
    def build(dim: int, heads: int, length: int) -> nn.Module:
        from local_attention import LocalMHA

        return LocalMHA(dim=dim, window_size=128, heads=heads, dim_head=dim // heads,
                        look_backward=look, look_forward=look, exact_windowsize=False)  # fmt: skip

    return build


def longformer(dim: int, heads: int, length: int) -> nn.Module:
    from transformers import LongformerConfig
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    config = LongformerConfig(hidden_size=dim, num_attention_heads=heads, attention_window=[256],
                              attention_probs_dropout_prob=0.0)  # fmt: skip

    def call(layers: nn.ModuleList, x: Tensor) -> Tensor:
        attention, out = layers
        mask = x.new_zeros(x.shape[:2])
        mask[:, 0] = 10_000  # the first token is global
        is_global = mask > 0
        return out(attention(x, attention_mask=mask, is_index_masked=mask < 0,
                             is_index_global_attn=is_global, is_global_attn=True)[0])  # fmt: skip

    return Adapted(nn.ModuleList([LongformerSelfAttention(config, 0), nn.Linear(dim, dim)]), call)


def bigbird(dim: int, heads: int, length: int) -> nn.Module:
    from transformers import BigBirdConfig
    from transformers.models.big_bird.modeling_big_bird import (
        BigBirdBlockSparseAttention,
        BigBirdModel,
    )

    config = BigBirdConfig(hidden_size=dim, num_attention_heads=heads, block_size=64,
                           num_random_blocks=3, max_position_embeddings=length,
                           attention_probs_dropout_prob=0.0)  # fmt: skip

    def call(layers: nn.ModuleList, x: Tensor) -> Tensor:
        attention, out = layers
        masks = BigBirdModel.create_masks_for_block_sparse_attn(x.new_ones(x.shape[:2]), 64)
        blocked, band, source, target = masks
        return out(attention(x, band, source, target, blocked, blocked)[0])

    layers = nn.ModuleList([BigBirdBlockSparseAttention(config, seed=0), nn.Linear(dim, dim)])
    return Adapted(layers, call)


def linformer(dim: int, heads: int, length: int) -> nn.Module:
    from linformer import LinformerSelfAttention

    return LinformerSelfAttention(dim, length, k=256, heads=heads, share_kv=True)


def reformer(dim: int, heads: int, length: int) -> nn.Module:
    from reformer_pytorch import LSHSelfAttention

    return LSHSelfAttention(dim, heads=heads, bucket_size=64, n_hashes=4)


def routing(dim: int, heads: int, length: int) -> nn.Module:
    from routing_transformer.routing_transformer import SelfAttention

    layer = SelfAttention(dim, 1, length, heads, 0, 128)
    return Adapted(layer, lambda m, x: m(x)[0])


def sinkhorn(dim: int, heads: int, length: int) -> nn.Module:
    from sinkhorn_transformer.sinkhorn_transformer import SinkhornSelfAttention

    return SinkhornSelfAttention(dim, 128, length, heads=heads)


def linear(dim: int, heads: int, length: int) -> nn.Module:
    from linear_attention_transformer.linear_attention_transformer import SelfAttention

    return SelfAttention(dim, heads)


def performer(dim: int, heads: int, length: int) -> nn.Module:
    from performer_pytorch import SelfAttention

    return SelfAttention(dim, heads=heads, dim_head=dim // heads, nb_features=256)


def nystrom(dim: int, heads: int, length: int) -> nn.Module:
    from nystrom_attention import NystromAttention

    return NystromAttention(dim, dim_head=dim // heads, heads=heads, num_landmarks=128,
                            residual_conv_kernel=33)  # fmt: skip


class Recurrent(nn.Module):
    """A layer that takes one segment of 128 tokens and the memories of those before it."""

    def __init__(self, layer: nn.Module, heads: int, dim_head: int, keys: int) -> None:
        super().__init__()
        self.layer = layer
        self.positions = nn.Parameter(torch.zeros(heads, keys, dim_head))

    def forward(self, x: Tensor) -> Tensor:
        memories, outs, losses = None, [], []
        for segment in x.split(self.layer.seq_len, dim=1):
            out, memories, loss = self.layer(segment, memories, pos_emb=self.positions)
            outs.append(out)
            losses.append(loss.reshape(1))
        return torch.cat(outs, 1) + torch.cat(losses).sum()


def recurrent(compressed: int) -> Build:
    """Without compressed memory it is Transformer-XL."""

    def build(dim: int, heads: int, length: int) -> nn.Module:
        from compressive_transformer_pytorch.compressive_transformer_pytorch import SelfAttention

        layer = SelfAttention(dim, 128, 128, compressed, cmem_ratio=4, heads=heads)
        return Recurrent(layer, heads, dim // heads, 128 + 128 + compressed)

    return build


def s5(dim: int, heads: int, length: int) -> nn.Module:
    from s5 import S5

    layers = [nn.Linear(dim, dim), S5(dim, dim, bidir=True, bcInit="dense"), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(dim, dim))


def rotary(dim: int, heads: int, length: int) -> nn.Module:
    from x_transformers.x_transformers import Attention, RotaryEmbedding

    size = dim // heads
    layer = Attention(dim, dim_head=size, heads=heads, flash=True)
    layers = nn.ModuleList([layer, RotaryEmbedding(size)])
    return Adapted(layers, lambda m, x: m[0](x, rotary_pos_emb=m[1].forward_from_seq_len(length)))


def mega(dim: int, heads: int, length: int) -> nn.Module:
    from mega_pytorch.mega_pytorch import MegaLayer

    return MegaLayer(dim=dim, ema_heads=16, attn_dim_qk=dim // 2, attn_dim_value=dim, causal=False)


def both_ways(layer: nn.Module) -> nn.Module:
    """A causal peer from the first token on and from the last one back, as ours by default."""
    return Adapted(layer, lambda m, x: m(x) + m(x.flip(1)).flip(1))


def deltanet(dim: int, heads: int, length: int) -> nn.Module:
    from opengdn import GatedDeltaMixer

    return both_ways(GatedDeltaMixer(dim, heads, backend="chunkwise"))


def mingru(dim: int, heads: int, length: int) -> nn.Module:
    from minGRU_pytorch import minGRU

    return both_ways(minGRU(dim, proj_out=True))


def mamba2(dim: int, heads: int, length: int) -> nn.Module:
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    config = Mamba2Config(hidden_size=dim, num_heads=heads, head_dim=2 * dim // heads, n_groups=1,
                          state_size=64, chunk_size=64, use_cache=False)  # fmt: skip
    return Mamba2Mixer(config, 0)


class Chunkwise(nn.Module):
    """yet-another-retnet's chunks of 256 tokens, one after the other."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        state, outs = None, []
        for i, chunk in enumerate(x.split(256, dim=1)):
            out, state = self.layer.forward_chunkwise(chunk, chunk, chunk, 256 * i, state)
            outs.append(out)
        return torch.cat(outs, 1)


def retention(dim: int, heads: int, length: int) -> nn.Module:
    from yet_another_retnet.retention import MultiScaleRetention

    return Chunkwise(MultiScaleRetention(dim, heads, bias=False))


@dataclass(frozen=True)
class Entry:
    given: dict[str, Any]  # our options
    peer: str
    build: Build
    form_of: str | None = None  # the mechanism, where the row's name is not its own

    def options(self, length: int) -> dict[str, Any]:
        """Ours; a `window` of routing is the tokens of a cluster, of which there are as many as fit."""
        if self.build is routing:
            return {**self.given, "clusters": length // self.given["window"]}
        return self.given


FULL = "torch.nn.MultiheadAttention"
ENTRIES = {
    "transformer": Entry({}, FULL, multihead),
    "local": Entry({"block_size": 128}, "local-attention", local(0)),
    "sparse": Entry({}, FULL, multihead),
    "longformer": Entry({"window": 256}, "transformers (Longformer)", longformer),
    "image": Entry({"block_size": 128, "halo": 128}, "local-attention", local(1)),
    "linformer": Entry({"k": 256}, "linformer", linformer),
    "reformer": Entry({"hashes": 4, "bucket_size": 64}, "reformer-pytorch", reformer),
    "routing": Entry({"window": 128}, "routing-transformer", routing),
    "sinkhorn": Entry({"block_size": 128}, "sinkhorn-transformer", sinkhorn),
    "synthesizer": Entry({}, FULL, multihead),
    "bigbird": Entry({"block_size": 64, "random_blocks": 3}, "transformers (BigBird)", bigbird),
    "linear": Entry({}, "linear-attention-transformer", linear),
    "performer": Entry({"features": 256}, "performer-pytorch", performer),
    "set": Entry({}, FULL, multihead),
    "xl": Entry({"segment": 128}, "compressive-transformer-pytorch", recurrent(0)),
    "compressive": Entry({"segment": 128}, "compressive-transformer-pytorch", recurrent(64)),
    "s4d": Entry({}, FULL, multihead),
    "s5": Entry({"state": 512}, "s5-pytorch", s5),
    "rotary": Entry({}, "x-transformers", rotary),
    "mega": Entry({"truncation": None}, "mega-pytorch", mega),
    "mega in chunks": Entry(
        {"truncation": None, "chunk": 128}, "mega-pytorch, all tokens", mega, "mega"
    ),
    "deltanet": Entry({"gate": True}, "opengdn, both ways", deltanet),
    "mingru": Entry({}, "minGRU-pytorch, both ways", mingru),
    "nystrom": Entry({"landmarks": 128, "conv": 33}, "nystrom-attention", nystrom),
    "mamba2": Entry({"causal": True, "state": 64}, "transformers (Mamba-2)", mamba2),
    "retention": Entry({"causal": True}, "yet-another-retnet", retention),
}
