"""The token ids of ListOps, as the official tokenizer numbers them."""

from __future__ import annotations

# ']' is written X, as the official tokenizer does; '<unk>' never occurs and keeps its 17 ids.
VOCAB = ["<pad>", *sorted([*"0123456789", "[MIN", "[MAX", "[MED", "[SM", "X"]), "<unk>"]
ZERO, CLOSE = VOCAB.index("0"), VOCAB.index("X")
MAX, MED, MIN, SM = (VOCAB.index(name) for name in ("[MAX", "[MED", "[MIN", "[SM"))
