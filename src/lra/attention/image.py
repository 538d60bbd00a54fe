"""Image Transformer (Parmar et al. 2018, arXiv:1802.05751, section 3.3): blocks with a halo.

Queries are cut into blocks that do not overlap. A block's memory is the block and a halo around it.
The paper generates images, so its memory lies before a query: a 1D block is extended backwards, a
2D block to the top, left and right. Without `causal`, as in the arena's encoders, the halo lies on
all sides. The paper generates 2D blocks one after another. Here causal means the order of tokens,
which is raster order: a query also sees earlier pixels of the block to its right, and no lower rows
of the block to its left.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import embedding

from lra.attention import Info
from lra.attention.base import MultiHead, pad_length
from lra.attention.shared.blocks import attend

INFO = Info(
    "fixed pattern", "Parmar et al. 2018, arXiv:1802.05751", "O(N (block + halo))", causal=True
)


class Attention(MultiHead):
    """Softmax attention from blocks of pixels to the same blocks and `halo` pixels around them.

    shape `1d`: blocks of `block_size` tokens with `halo` tokens on either side. `2d`: tokens are
    the pixels, in raster order, of an image of `width` pixels (None: the root of max_len), which is
    cut into blocks of `block_height` x `block_width` with `halo_height` and `halo_width` pixels
    around them; the last row may be short. Where max_len is whole rows and one token (max_len %
    width == 1), the first token is a CLS token: in 2d it sees all tokens and all see it.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        max_len: int,
        *,
        causal: bool = False,
        qkv_dim: int | None = None,
        dropout: float = 0.0,
        shape: Literal["1d", "2d"] = "1d",
        block_size: int = 256,
        halo: int | Literal[0] = 128,
        width: int | None = None,
        block_height: int = 8,
        block_width: int = 8,
        halo_height: int | Literal[0] = 4,
        halo_width: int | Literal[0] = 4,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.causal = causal
        if shape == "1d":  # an image of one row, however long
            self.width, self.cls = None, False
            self.block, self.halo = (1, block_size), (0, halo)
            self.sides = (1 if causal else 2, 1 if causal else 2)
        else:
            self.width = width or math.isqrt(max_len)
            self.cls = max_len % self.width == 1
            self.block, self.halo = (block_height, block_width), (halo_height, halo_width)
            self.sides = (1 if causal else 2, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shape letters: K pixels of a block's memory, E = H D."""
        batch, n = x.shape[:2]
        q, k, v = self.query(x), self.key(x), self.value(x)  # (B, N, E)
        cls = 1 if self.cls and n > 1 else 0
        image = (n - cls, self.width or n)
        memory, allowed = self.memory(*image, x.device)  # (G, K), (1, G, S or 1, K)
        memory = memory + cls
        if cls:
            memory = torch.cat([torch.zeros_like(memory[:, :1]), memory], dim=1)
            allowed = torch.cat([torch.ones_like(allowed[..., :1]), allowed], dim=-1)
        if mask is not None:
            allowed = allowed & mask[:, memory][:, :, None]
        # rows of a table: look-up and its backward are faster than indexing or slicing
        rows = memory + n * torch.arange(batch, device=x.device)[:, None, None]  # (B, G, K)
        keys, values = (embedding(rows, t.flatten(0, 1)) for t in (k, v))  # (B, G, K, E)
        queries = self.to_blocks(q[:, cls:], image)
        out = attend(queries, keys, values, self.heads, allowed, self.drop)
        out = self.from_blocks(out, image)
        if cls:
            seen = 1 if self.causal else n
            allowed = None if mask is None else mask[:, None, None, :seen]
            parts = (q[:, None, :1], k[:, None, :seen], v[:, None, :seen])
            out = torch.cat([attend(*parts, self.heads, allowed, self.drop), out], dim=1)
        return self.out(out)

    def blocks(self, pixels: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The number of blocks from top to bottom and left to right, and the size of each."""
        extent = (-(-pixels // width), width)
        size = tuple(min(*pair) for pair in zip(self.block, extent, strict=True))
        return tuple(-(-e // s) for e, s in zip(extent, size, strict=True)), size

    def memory(self, pixels: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The pixels of each block's memory, (G, K), and which a query may see, (1, G, S or 1, K).

        The second is False where the memory reaches beyond the image.
        """
        counts, sizes = self.blocks(pixels, width)
        # no farther than the last block
        halos = (min(h, (g - 1) * s) for h, g, s in zip(self.halo, counts, sizes, strict=True))
        reach = [(h, h if sides == 2 else 0) for h, sides in zip(halos, self.sides, strict=True)]
        pixel, inside = _raster(counts, sizes, reach, pixels, width, device)
        allowed = inside[None, :, None]
        if self.causal:
            query, _ = _raster(counts, sizes, [(0, 0), (0, 0)], pixels, width, device)
            allowed = allowed & (pixel[:, None] <= query[:, :, None])
        return pixel.where(inside, 0), allowed

    def to_blocks(self, x: Tensor, image: tuple[int, int]) -> Tensor:
        """(B, pixels, E) -> (B, G, S, E), zeros beyond the image."""
        _, (height, width) = self.blocks(*image)
        x = pad_length(x, image[1], dim=1).unflatten(1, (-1, image[1]))
        x = pad_length(pad_length(x, height, dim=1), width, dim=2)
        return rearrange(x, "b (g s) (h t) e -> b (g h) (s t) e", s=height, t=width)

    def from_blocks(self, x: Tensor, image: tuple[int, int]) -> Tensor:
        """(B, G S, E) -> (B, pixels, E)"""
        (down, across), (height, _) = self.blocks(*image)
        x = rearrange(x, "b (g h s t) e -> b (g s) (h t) e", g=down, h=across, s=height)
        return x[:, :, : image[1]].flatten(1, 2)[:, : image[0]]


def _raster(
    counts: tuple[int, int],
    sizes: tuple[int, int],
    reach: list[tuple[int, int]],
    pixels: int,
    width: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """The pixel numbers of each block, (G, K), and which of them exist.

    reach: by how much a block is extended (before, after) on each axis.
    """
    row, column = (
        torch.arange(count, device=device)[:, None] * size
        + torch.arange(-before, size + after, device=device)
        for count, size, (before, after) in zip(counts, sizes, reach, strict=True)
    )
    row, column = row[:, None, :, None], column[None, :, None, :]
    pixel = row * width + column  # blocks down, blocks across, memory's rows, memory's columns
    inside = (row >= 0) & (column >= 0) & (column < width) & (pixel < pixels)
    return pixel.flatten(2).flatten(0, 1), inside.flatten(2).flatten(0, 1)
