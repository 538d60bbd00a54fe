"""Let a trained cell fill in test examples by each sampler; count what is right and what it took.

Given are the tokens that are not marked, and missing are the marked ones; without marks all tokens
are missing. Answers are greedy: the likeliest token. Text without marks is drawn at temperature 1.
Scores are in float32, whatever the precision of the training.

The module of a task's generator may have `log_likelihood(info, tokens (B, N)) -> (B,)`, in nats,
-inf where a sequence is impossible. Then an example is solved where its sequence is possible; else
where all of its marked tokens are the true ones.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lra.config.cell import Cell
from lra.core.errors import LRAError
from lra.data.split import Info, Split, read_split
from lra.evaluation.accuracy import with_weights
from lra.evaluation.samplers import Filled, Prompt, autoregressive, denoised
from lra.hardware.device import choose_device, is_out_of_memory, make_repeatable
from lra.models.decode import Decoder
from lra.models.token_model import TokenModel
from lra.stats.over_examples import share
from lra.training.batches import Batches, sent
from lra.training.tokens import OBJECTIVES, TokenObjective

Likelihood = Callable[[Info, np.ndarray], np.ndarray]
Way = tuple[str, int | None, int | None]  # sampler, block, steps


@dataclass(frozen=True)
class Asked:
    """The experiment's `generate` section: what is filled in, and how."""

    examples: int  # of the test split, the first
    steps: Sequence[int]  # of an example, or of each block
    blocks: Sequence[int]  # missing tokens of each
    batch_size: int


@dataclass
class Generation:
    """What one sampler gave and took; numbers are None where status is not ok."""

    sampler: str  # autoregressive, random, confidence or blocks
    block: int | None  # tokens of a block, of `blocks`
    steps: int | None  # at most, for an example or a block; None: autoregressive
    status: str
    examples: int
    tokens: int | None = None  # generated, of all examples
    evaluations: float | None = None  # of the network, one after the other: mean of an example
    token_evaluations: float | None = None  # tokens through the network: mean of an example
    seconds: float | None = None  # wall clock, of all examples
    solved: float | None = None  # percent of examples; None where no answer is right or wrong
    low: float | None = None  # ends of its interval over examples (Wilson, 95 %)
    high: float | None = None
    right: float | None = None  # percent of the marked tokens; None where a task marks none
    bits: float | None = None  # of a token under the true model, of the possible sequences: a mean


def generate(
    cell: Cell, checkpoint: Path, test: Path, asked: Asked, likelihood: Likelihood | None = None
) -> tuple[list[Generation], str | None]:
    """What each sampler gave, and why where there is nothing: out of memory, no step form.

    likelihood: of the task's sequences, where there is one. Raises LRAError naming the file where
    the checkpoint does not fit the cell.
    """
    make_repeatable(cell.threads)
    split, device = read_split(test), choose_device(cell.device)
    batches, aim = Batches(split, cell, device), OBJECTIVES[cell.training.objective](cell)
    model = with_weights(aim.model(), checkpoint).to(device).eval()
    done = []
    for way in ways(cell.training.objective, split, asked):
        try:
            parts = list(filled(way, model, aim, batches, asked))
        except LRAError as error:
            return [unmeasured(way, split, asked, "unsupported")], str(error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return [unmeasured(way, split, asked, "oom")], str(error).splitlines()[0]
        done.append(measured(way, parts, split, asked, likelihood))
    return done, None


def ways(objective: str, split: Split, asked: Asked) -> list[Way]:
    """Samplers with their blocks and steps; none does what another one does.

    More steps than tokens, and blocks that hold all tokens, are cut or left out.
    """
    if objective == "next":
        return [("autoregressive", None, None)]
    most = int(_missing(split)[: asked.examples].max())
    sizes = [size for size in asked.blocks if size < most]
    whole = [
        (order, None, steps) for order in ("random", "confidence") for steps in _cut(asked, most)
    ]
    return whole + [("blocks", size, steps) for size in sizes for steps in _cut(asked, size)]


def _cut(asked: Asked, most: int) -> list[int]:
    return sorted({min(steps, most) for steps in asked.steps})


def _missing(split: Split) -> np.ndarray:
    """How many tokens of each example are missing, (examples,)"""
    offsets = split.towers[0].offsets
    if split.counted is None:
        return np.diff(offsets)
    return np.diff(np.concatenate([[0], split.counted.values.cumsum(dtype=np.int64)])[offsets])


@torch.no_grad()
def filled(
    way: Way, model: TokenModel, aim: TokenObjective, batches: Batches, asked: Asked
) -> Iterator[tuple[Prompt, Filled, float]]:
    """The first examples of the split in batches, shortest first, each with its seconds."""
    sampler, size, steps = way
    decoder = Decoder(model) if sampler == "autoregressive" else None
    order = batches.by_length()
    order = order[order < asked.examples]
    for start in range(0, len(order), asked.batch_size):
        index = order[start : start + asked.batch_size]
        batch = batches.at(index)
        tokens, missing = batch.tokens[:, 0].long(), aim.counted(batch)[:, 0]
        lengths = batches.lengths[0, index].clip(max=tokens.shape[1])
        where, greedy = sent(index, batches.device), batches.counted is not None
        prompt = Prompt(tokens, missing, where, lengths, greedy)
        began = time.perf_counter()
        if decoder:
            result = autoregressive(decoder, prompt)
        else:
            first = "random" if sampler == "random" else "confidence"
            result = denoised(denoiser(model, batch.mask), prompt, first, steps, size)
        if batches.device.type == "cuda":
            torch.cuda.synchronize(batches.device)
        yield prompt, result, time.perf_counter() - began


def denoiser(model: TokenModel, mask: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
    """The model of examples that are one document each; mask (B, 1, N)."""
    return lambda tokens, hidden: model(tokens[:, None], mask, hidden[:, None])[:, 0]


def measured(
    way: Way,
    parts: list[tuple[Prompt, Filled, float]],
    split: Split,
    asked: Asked,
    likelihood: Likelihood | None,
) -> Generation:
    """One row, of all batches."""
    tokens = sum(int(p.missing.sum()) for p, *_ in parts)
    row = asdict(unmeasured(way, split, asked, "ok")) | {"tokens": tokens}
    row |= {"seconds": sum(seconds for *_, seconds in parts)}
    for name in ("evaluations", "token_evaluations"):
        row[name] = float(np.concatenate([getattr(f, name) for _, f, _ in parts]).mean())
    solved = None
    if split.counted is not None:
        wrong = [(p.missing & (f.tokens != p.tokens)).sum(1).cpu().numpy() for p, f, _ in parts]
        solved = np.concatenate(wrong) == 0
        row |= {"right": 100 * (1 - float(np.concatenate(wrong).sum()) / tokens)}
    if likelihood:
        nats = np.concatenate([likelihood(split.info, f.tokens.cpu().numpy()) for _, f, _ in parts])
        solved, lengths = np.isfinite(nats), np.concatenate([p.lengths for p, *_ in parts])
        if solved.any():
            row |= {"bits": float(-(nats / lengths)[solved].mean()) / math.log(2)}
    if solved is not None:
        rate = share(100 * float(solved.mean()), len(solved))
        row |= {"solved": rate.mean, "low": rate.low, "high": rate.high}
    return Generation(**row)


def unmeasured(way: Way, split: Split, asked: Asked, status: str) -> Generation:
    """A row that has no numbers."""
    return Generation(*way, status, min(asked.examples, len(split)))


def likelihood_of(module: str) -> Likelihood | None:
    """That of a module of lra.data, where it has one."""
    return getattr(importlib.import_module(f"lra.data.{module}"), "log_likelihood", None)


def described(row: Generation) -> str:
    """A row in words, for the log."""
    name = row.sampler + (f" of {row.block}" if row.block else "")
    name += f", steps {row.steps}" if row.steps else ""
    if row.status != "ok":
        return f"{name}: {row.status}"
    solved = "" if row.solved is None else f"{row.solved:.1f} % solved, "
    speed = f"{row.tokens / row.seconds:,.0f} tokens/s"
    return f"{name}: {solved}{row.evaluations:.1f} evaluations, {speed}"
