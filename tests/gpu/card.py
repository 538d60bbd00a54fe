"""Where tests/gpu runs: on a card where `make gpu` says so, else tiny on the CPU.

With LRA_CARD=cuda every mechanism is tested, on the GPU. Without, a few are, so that the tests
themselves are tried wherever there is no GPU; what only a card has is skipped.
"""

from __future__ import annotations

import os

import pytest

from lra import attention
from oracles import OPTIONS

DEVICE = os.environ.get("LRA_CARD", "cpu")
ON_CARD = DEVICE == "cuda"
needs_card = pytest.mark.skipif(not ON_CARD, reason="only a CUDA card has it: make gpu")
# what other tests have on a CPU
on_card_or_slow = pytest.mark.skipif(False, reason="") if ON_CARD else pytest.mark.slow
MECHANISMS = attention.names() if ON_CARD else ["transformer", "reformer", "s5"]
EVERY = pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in MECHANISMS), *(OPTIONS if ON_CARD else [])],
    ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())),
)
