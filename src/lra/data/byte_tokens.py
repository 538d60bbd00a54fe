"""Text as byte tokens: token = byte + 1, 0 is padding. Long documents lose their tail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lra.core.errors import LRAError

VOCAB_SIZE = 257


def flat(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Documents (n,) binary -> all their bytes (total,) uint8 and offsets (n + 1,) int32."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]
    values = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    return values, offsets - offsets[0]


def byte_tokens(texts: pa.Array, max_length: int, source: Path) -> pa.Array:
    """Documents (n,) binary -> tokens (n,) list<uint8> of the first `max_length` bytes.

    Byte 255 would need token 256, but UTF-8 text never holds it: LRAError naming `source` then.
    """
    values, offsets = flat(pc.binary_slice(texts, 0, max_length))
    tokens = values + np.uint8(1)
    if len(tokens) and not tokens.all():
        raise LRAError(f"{source}: not UTF-8 text, a byte is 255")
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(tokens))


def documents(
    source: Path,
    max_length: int,
    labels: np.ndarray,
    texts: Sequence[bytes],
    texts_b: Sequence[bytes] | None = None,
) -> pa.Table:
    """Documents as a table of the on-disk format; with `texts_b`, of a task with two towers."""
    columns = {"tokens": texts} | ({} if texts_b is None else {"tokens_b": texts_b})
    tokens = {
        name: byte_tokens(pa.array(given, pa.binary()), max_length, source)
        for name, given in columns.items()
    }
    return pa.table({**tokens, "label": pa.array(labels, pa.int64())})
