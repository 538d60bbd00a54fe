"""A split in the device's memory, and batches cut from it by index arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lra.config.cell import Cell
from lra.core.errors import LRAError
from lra.data.split import Sequences, Split

WIDTHS = 4  # of batches for compiled blocks, at most: each is compiled by itself


@dataclass(frozen=True)
class Batch:
    """Examples of T documents each (T towers), padded to N tokens."""

    tokens: Tensor  # (B, T, N) int32
    mask: Tensor | None  # (B, T, N) bool, True for a real token; None where no task pads
    labels: Tensor  # (B,)
    # (B, T, N) bool, True for a token that is to be predicted; None: all real ones are
    counted: Tensor | None = None


class Batches:
    """All examples of one split, their tokens flat on the device."""

    def __init__(self, split: Split, cell: Cell, device: torch.device) -> None:
        encoder, info = cell.encoder, split.info
        for key, of_data, of_cell in (
            ("vocab_size", info.vocab_size, encoder.vocab_size),
            ("classes", info.classes, encoder.classes),
            ("towers", len(split.towers), encoder.towers),
        ):
            if of_data != of_cell:
                raise LRAError(
                    f"{cell.name}: encoder.{key} is {of_cell}, but data set '{cell.dataset}' "
                    f"has {of_data}"
                )
        self.device, self.pads = device, info.pads
        self.max_len, self.pad_to = encoder.max_len, cell.training.pad_to
        self.hides_padding = encoder.mask_zero
        if encoder.pooling == "MEAN" and encoder.mean_over == "all":
            self.pad_to = self.max_len  # the mean includes padding
        if cell.training.compile:
            self.pad_to = max(self.pad_to, -(-self.max_len // WIDTHS))
        self.towers = [_Tower(sequences, device) for sequences in split.towers]
        # kept on the host, so that no batch has to ask the device how wide it is
        self.lengths = np.stack([np.diff(sequences.offsets) for sequences in split.towers])
        self.counted = None if split.counted is None else _Tower(split.counted, device)
        self.labels = torch.from_numpy(np.array(split.labels)).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: np.ndarray) -> Batch:
        """The examples of `index`, padded to the longest of them, rounded up to `pad_to`.

        An empty document is read as its first token of padding, so that it has the same scores in
        every batch. An encoder that hides this one, too, is given all padding of the full length.
        """
        where = sent(index, self.device)
        lengths = self.lengths[:, index]
        longest = max(1, int(lengths.max()))
        if self.hides_padding and not lengths.all():
            longest = self.max_len
        width = min(-(-longest // self.pad_to) * self.pad_to, self.max_len)
        pairs = [tower.gather(where, width) for tower in self.towers]
        tokens, mask = (torch.stack(each, dim=1) for each in zip(*pairs, strict=True))
        counted = None
        if self.counted is not None:
            counted = self.counted.gather(where, width)[0].bool()[:, None]  # of one document
        return Batch(tokens, mask if self.pads else None, self.labels[where], counted)

    def in_batches(self, size: int) -> Iterator[tuple[np.ndarray, Batch]]:
        """Every example once, shortest first, `size` at a time: their index and the batch."""
        order = self.by_length()
        for start in range(0, len(order), size):
            index = order[start : start + size]
            yield index, self.at(index)

    def by_length(self) -> np.ndarray:
        """Every index, shortest example first: evaluation batches then hold little padding."""
        return np.argsort(self.lengths.sum(0), kind="stable")


class _Tower:
    def __init__(self, sequences: Sequences, device: torch.device) -> None:
        values = sequences.values if len(sequences.values) else np.zeros(1, np.uint8)
        if values.dtype != np.uint8:
            values = values.astype(np.int32)
        self.values = torch.from_numpy(np.require(values, requirements="W")).to(device)
        offsets = torch.from_numpy(sequences.offsets).to(device)
        self.starts, self.lengths = offsets[:-1], offsets.diff()

    def gather(self, where: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """tokens (B, width) int32 and mask (B, width); longer examples lose their tail."""
        position = torch.arange(width, device=where.device)
        lengths = self.lengths[where][:, None]
        places = (self.starts[where][:, None] + position).clamp(max=len(self.values) - 1)
        tokens = self.values[places].int() * (position < lengths)  # (B, width)
        return tokens, position < lengths.clamp(min=1)


def sent(index: np.ndarray, device: torch.device) -> Tensor:
    """The index on the device; the copy from pinned memory waits for no work of the device."""
    index = torch.from_numpy(index)
    return index if device.type == "cpu" else index.pin_memory().to(device, non_blocking=True)


def training_order(examples: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Indices of the batch of `step` (from 1): epochs in a row, each shuffled anew.

    A pure function of its arguments, so a resumed run needs no sampler state.
    """
    position = np.arange((step - 1) * batch_size, step * batch_size)
    epoch, place = np.divmod(position, examples)
    return np.concatenate(
        [_shuffled(examples, seed, int(e))[place[epoch == e]] for e in np.unique(epoch)]
    )


@lru_cache(maxsize=4)
def _shuffled(examples: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(examples)
