"""Unfinished training on disk: the newest state and the one before it, each whole or set aside."""

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

    key: what the state belongs to (the cell and the code's fingerprint); a state of another key is
    not used, so that editing a mechanism never continues the old one's training. A file ends with
    the SHA-256 of what is before: torch reads most damaged tensors without a complaint.
    """

    def __init__(self, folder: Path, key: str, say: Callable[[str], None]) -> None:
        self.folder, self.key, self.say = folder, key, say
        self.newest, self.previous = folder / "state.pt", folder / "state.previous.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Raises LRAError naming the file where the disk is full; the states before it stay."""
        buffer = io.BytesIO()
        torch.save({"key": self.key, "state": state}, buffer)
        content = buffer.getvalue()
        if self.newest.exists():
            self.newest.replace(self.previous)
        write_beside(self.newest, content + hashlib.sha256(content).digest())

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole and of this key; a broken one is set aside and said so.

        None where there is none; it is said where there were some.
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
