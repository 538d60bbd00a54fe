"""Required attention span: how many tokens apart are a trained layer's queries and what they read.

Tay et al. 2020, arXiv:2011.04006, section 2.3: the mean distance |i - j| of query i and key j,
weighted by attention, over all attention modules and 1,000 examples of the validation split. Two
methods give the weights:

attention: softmax(q k^T / sqrt(D)), of the mechanism `transformer`, for every query and head.
gradient: of any mechanism, for a few queries drawn from each example: the norm of the gradient of a
    fixed random combination of output i with respect to the module's input at j. It counts every
    way in which a token has a say (values, keys, and the query itself at distance 0), also through
    memories at which training stops it. It does not see choices that have no gradient: hashes,
    clusters, sorting. A query whose output depends on no input has no span and is left out.

The CLS token and padding are no positions: as queries and keys they are left out, and the weights
of what remains sum to 1. Layers are given what they are given in the trained encoder, dropout off,
and weights are computed in float32. Means are over queries, then samples, then heads, then layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lra.attention.base import attendable
from lra.config.cell import Cell
from lra.core.errors import LRAError
from lra.data.split import read_split
from lra.evaluation.accuracy import trained
from lra.hardware.device import choose_device, is_out_of_memory, make_repeatable
from lra.models.classifier import Classifier, attended
from lra.training.batches import Batch, Batches
from lra.training.predict import forward

SEED = 0  # of the examples, the queries and the random combination
MEAN = -1  # in the place of a layer's number
WEIGHTS = 2**24  # attention weights that exist at once


@dataclass
class Span:
    """Of one layer or, as layer -1, of their mean; distances in tokens."""

    method: str
    layer: int
    samples: int  # sequences
    uniform: float
    status: str = "ok"
    span: float | None = None
    relative: float | None = None
    heads: list[float] | None = None


def methods(mechanism: str) -> list[str]:
    """How a mechanism's span can be measured."""
    return ["attention", "gradient"] if mechanism == "transformer" else ["gradient"]


def span(
    cell: Cell, checkpoint: Path, val: Path, samples: int, method: str, queries: int = 16
) -> tuple[list[Span], str | None]:
    """The span of every layer, the mean over layers last, and why where there is none.

    samples: examples drawn from the split, all where it has fewer. queries: per example, for
    `gradient`. Raises LRAError naming the file where the checkpoint does not fit the cell.
    """
    if method not in methods(cell.encoder.attention):
        raise LRAError(
            f"--method: attention '{cell.encoder.attention}' has no weights to read; "
            "choose 'gradient'"
        )
    make_repeatable(cell.threads)
    batches = Batches(read_split(val), cell, choose_device(cell.device))
    chosen = drawn(batches, samples)
    try:
        model = trained(cell, checkpoint).to(batches.device)
        distances, even = _measure(model, batches, cell, chosen, method, queries)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return unmeasured(cell, val, samples, method, "oom"), str(error).splitlines()[0]
    spans = summarised(distances, even, method)
    if spans[-1].span is None:
        return unmeasured(cell, val, samples, method, "diverged"), "a layer's span is not finite"
    return spans, None


def unmeasured(cell: Cell, val: Path, samples: int, method: str, status: str) -> list[Span]:
    """The row of a cell that has no span."""
    batches = Batches(read_split(val), cell, torch.device("cpu"))
    cut = _cut(batches, cell, drawn(batches, samples))
    found = torch.cat([uniform(real_tokens(batch, cell).flatten(0, 1)) for _, batch in cut])
    return [Span(method, MEAN, len(found), found.mean().item(), status)]


def real_tokens(batch: Batch, cell: Cell) -> Tensor:
    """Which tokens of a batch (B, T, N) are attended."""
    real = attended(batch.tokens, batch.mask, cell.encoder)
    return torch.ones_like(batch.tokens, dtype=torch.bool) if real is None else real


def drawn(batches: Batches, samples: int) -> np.ndarray:
    """Indices of up to `samples` examples, the same in every cell of a task, shortest first."""
    chosen = np.random.Generator(np.random.PCG64(SEED)).permutation(len(batches))[:samples]
    order = batches.by_length()
    return order[np.isin(order, chosen)]


def uniform(real: Tensor) -> Tensor:
    """Mean of |i - j| over all pairs of attended positions of real (B, N), i = j included -> (B,)

    Of n positions in a row it is (n^2 - 1) / (3 n).
    """
    real = real.double()
    count = real.sum(1, keepdim=True)
    place = torch.arange(real.shape[1], device=real.device)
    nearer_less_farther = 2 * real.cumsum(1) - 1 - count  # of each position's distances, the signs
    total = 2 * (real * place * nearer_less_farther).sum(1)
    return total / count[:, 0].clamp(min=1) ** 2


def summarised(distances: Tensor, even: Tensor, method: str) -> list[Span]:
    """Of distances (layers, samples, heads), NaN where a sample has none, and of `uniform`'s"""
    by_head = distances.nanmean(dim=1)  # (layers, heads)
    # a sequence of one token has 0 of 0
    relative = (distances / even[:, None]).nanmean(dim=1).mean(dim=1)  # (layers,)
    rows = [*zip(by_head.mean(dim=1), relative, by_head.tolist(), strict=True)]
    rows.append((by_head.mean(), relative.mean(), None))
    spans = []
    for layer, (*values, heads) in zip([*range(len(by_head)), MEAN], rows, strict=True):
        finite = [value.item() if value.isfinite() else None for value in values]
        heads = heads if method == "attention" else None
        spans.append(Span(method, layer, len(even), even.mean().item(), "ok", *finite, heads))
    return spans


def _measure(
    model: Classifier, batches: Batches, cell: Cell, chosen: np.ndarray, method: str, queries: int
) -> tuple[Tensor, Tensor]:
    """Distances (layers, samples, heads) and uniform attention's (samples,), float64 on the CPU."""
    model.eval().requires_grad_(False)
    for block in model.blocks:
        block.attention.stops_gradients = False
    distances: list[list[Tensor]] = [[] for _ in model.blocks]
    even: list[Tensor] = []
    for index, batch in _cut(batches, cell, chosen):
        documents = np.repeat(index, cell.encoder.towers)  # rows of x are (example, tower)
        for layer, (module, x, mask) in enumerate(inputs(model, batch, cell)):
            real = positions(x, mask, model.cls is not None)
            if layer == 0:
                even.append(uniform(real).cpu())
            if method == "attention":
                found = by_attention(module, x, real)
            else:
                at = queries_of(real, queries, documents)
                found = by_gradient(module, x, mask, real, at)[:, None]
            distances[layer].append(found.cpu())
    return torch.stack([torch.cat(each) for each in distances]), torch.cat(even)


def _cut(batches: Batches, cell: Cell, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, Batch]]:
    """In batches as large as those of training, which fitted into memory."""
    size = cell.training.batch_size
    for start in range(0, len(chosen), size):
        index = chosen[start : start + size]
        yield index, batches.at(index)


@torch.no_grad()
def inputs(
    model: Classifier, batch: Batch, cell: Cell
) -> list[tuple[nn.Module, Tensor, Tensor | None]]:
    """What each attention module is given in one forward pass, in order: x (B, N, dim) and mask."""
    given = []

    def keep(module: nn.Module, arguments: tuple[Tensor, Tensor | None]) -> None:
        given.append((module, arguments[0].float(), arguments[1]))

    hooks = [block.attention.register_forward_pre_hook(keep) for block in model.blocks]
    forward(model, batch, cell)
    for hook in hooks:
        hook.remove()
    return given


def positions(x: Tensor, mask: Tensor | None, cls: bool) -> Tensor:
    """Which of x (B, N, dim) are tokens of the example, (B, N)"""
    real = x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask.clone()
    if cls:
        real[:, 0] = False
    return real


def queries_of(real: Tensor, queries: int, index: np.ndarray) -> Tensor:
    """Up to `queries` real positions of each example, (B, queries), -1 where it has fewer.

    They depend on an example's index in the split and its length, not on the batch that it is in.
    """
    at = np.full((len(index), queries), -1)
    for row, example, own in zip(at, index, real.cpu().numpy(), strict=True):
        random = np.random.Generator(np.random.PCG64([SEED, example]))
        taken = random.permutation(own.nonzero()[0])[:queries]
        row[: len(taken)] = taken
    return torch.from_numpy(at).to(real.device)


@torch.no_grad()
def by_attention(module: nn.Module, x: Tensor, real: Tensor, weights: int = WEIGHTS) -> Tensor:
    """Mean distance of each example and head, (B, H) float64; at most `weights` of them at once."""
    q, k, _ = module.project(x)  # (B, H, N, D)
    batch, heads, n, size = q.shape
    hidden = ~attendable(real)[:, None, None, :]
    place = torch.arange(n, device=x.device)
    total = torch.zeros(batch, heads, dtype=torch.float64, device=x.device)
    chunk = max(1, weights // (batch * heads * n))
    for rows in place.split(chunk):
        few = slice(int(rows[0]), int(rows[-1]) + 1)
        scores = (q[:, :, few] @ k.mT * size**-0.5).masked_fill(hidden, -torch.inf)
        apart = (rows[:, None] - place).abs().to(x.dtype)  # (chunk, N)
        distance = (scores.softmax(-1) * apart).sum(-1)  # (B, H, chunk)
        total += (distance * real[:, None, few]).double().sum(-1)
    return total / real.sum(1, keepdim=True)


def by_gradient(
    module: nn.Module, x: Tensor, mask: Tensor | None, real: Tensor, at: Tensor
) -> Tensor:
    """Mean distance of each example's queries `at` (B, queries), (B,) float64; NaN without any."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        out = module.forward(x, mask)
    generator = torch.Generator("cpu").manual_seed(SEED)
    combination = torch.randn(out.shape[-1], generator=generator).to(out)
    row, place = torch.arange(len(x), device=x.device), torch.arange(x.shape[1], device=x.device)
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    count = torch.zeros_like(total)
    for query in at.T:  # (B,)
        asked = out[row, query.clamp(min=0)] @ combination * (query >= 0)  # (B,)
        # of a sum, because gradients of a tensor import torch's symbolic shapes: 1 s of a job
        (slope,) = torch.autograd.grad(asked.sum(), x, retain_graph=True)
        weight = slope.double().norm(dim=-1) * real  # (B, N)
        sums = weight.sum(1)
        distance = (weight * (place - query[:, None]).abs()).sum(1)
        total += torch.where(sums > 0, distance / sums, 0.0)
        count += sums > 0
    return total / count
