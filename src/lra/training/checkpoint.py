"""The saved state of an unfinished training: where a training is resumed.

The newest state and the one before it are kept; a damaged file is set aside.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lra.core.files import write_beside

DIGEST = hashlib.sha256().digest_size


class Work:
    """The folder of one unfinished cell.

    key: the cell and the code's fingerprint. A state with another key is not used, so an edited
    mechanism never continues the training of the old one. A file ends with the SHA-256 of the bytes
    before it, because torch loads most damaged tensors without an error.
    """

    def __init__(self, folder: Path, key: str, say: Callable[[str], None]) -> None:
        self.folder, self.key, self.say = folder, key, say
        self.newest, self.previous = folder / "state.pt", folder / "state.previous.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Raises LRAError naming the file where the disk is full; earlier states stay."""
        buffer = io.BytesIO()
        torch.save({"key": self.key, "state": state}, buffer)
        content = buffer.getvalue()
        if self.newest.exists():
            self.newest.replace(self.previous)
        write_beside(self.newest, content + hashlib.sha256(content).digest())

    def load(self) -> dict[str, Any] | None:
        """The newest undamaged state with this key; None where there is none.

        Damaged states are set aside with a message, and a message says why none could be used.
        """
        unusable = []
        for path in (self.newest, self.previous):
            if not path.exists():
                continue
            content = path.read_bytes()
            if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
                aside = path.with_name(path.name + ".corrupt")
                path.replace(aside)
                self.say(f"{path}: broken, its checksum is wrong; set aside as {aside.name}")
                unusable.append("broken")
                continue
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if saved["key"] == self.key:
                return saved["state"]
            unusable.append("of other code or another configuration")
        if unusable:
            self.say(f"{self.folder}: what was saved is {unusable[0]}; training starts anew")
        return None

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
