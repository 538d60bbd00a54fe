"""Selective copying: symbols among blanks, a prompt, and the symbols in their order.

After Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (arXiv:2403.17844);
athms/mad-lab at 0f49a45, mad/data/instances.py, generate_selective_copying_instance. What a model
has to keep depends on the token, so that mechanisms with gates are ahead of those without.

There the answers are targets beside blanks; here they are the next tokens, so that one sequence
serves every objective. There no blank follows the last symbol before the prompt; here all places
are alike.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from lra.data.copying import CopyConfig
from lra.data.recall import drawn
from lra.data.split import Info, grid_table
from lra.data.token_info import token_info

VERSION = 1  # raised with any change that alters the examples of a seed
CHUNK = 1000  # examples per chunk
BLANK, PROMPT, FIRST = 0, 1, 2  # FIRST: the first symbol


class SelectiveCopyConfig(CopyConfig):
    """The distribution of examples; the defaults are MAD-lab's."""

    max_length: int = Field(256, ge=3, le=65536, description="tokens of every example")
    vocab_size: int = Field(16, ge=4, le=256, description="with blank and prompt")
    copied: list[int] = Field(
        [16], min_length=1, description="symbols; an example has one of these"
    )


Config = SelectiveCopyConfig


def chunk(config: SelectiveCopyConfig, seed: int, index: int) -> pa.Table:
    """Examples ``index * CHUNK ... (index + 1) * CHUNK - 1`` of the stream of `seed`.

    Columns: tokens, counted (1 after the prompt) and label, the number of symbols.
    """
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    length = config.max_length
    tokens = np.full((CHUNK, length), BLANK, np.uint8)
    counted = np.zeros((CHUNK, length), np.uint8)
    labels = rng.choice(config.copied, CHUNK)
    symbols = rng.integers(FIRST, config.vocab_size, (CHUNK, max(config.copied)), np.uint8)
    for copied in sorted(set(config.copied)):
        rows, before = np.flatnonzero(labels == copied), length - copied - 1
        places = np.sort(drawn(rng, np.zeros(before), len(rows), copied), axis=1)
        tokens[rows[:, None], places] = symbols[rows, :copied]
        tokens[rows, before] = PROMPT
        tokens[rows, before + 1 :] = symbols[rows, :copied]
        counted[rows, before + 1 :] = 1
    return grid_table(tokens, labels, counted)


def info(config: SelectiveCopyConfig) -> Info:
    """Metadata of a split of this configuration."""
    return token_info(
        "selective_copy",
        ("selective_copying", VERSION),
        config,
        config.vocab_size,
        config.max_length,
        source="generated after athms/mad-lab, mad/data/instances.py",
    )
