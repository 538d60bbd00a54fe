"""Unfinished training on disk: the newest state and the one before it, each whole or absent."""

from __future__ import annotations

import io
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lra.files import write_beside


class Work:
    """The folder of one unfinished cell.

    key: what the state belongs to (the cell and the code's fingerprint); a state of another key is
    not used, so that editing a mechanism never continues the old one's training.
    """

    def __init__(self, folder: Path, key: str, say: Callable[[str], None]) -> None:
        self.folder, self.key, self.say = folder, key, say
        self.newest, self.previous = folder / "state.pt", folder / "state.previous.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Raises LRAError naming the file where the disk is full; the states before it stay."""
        buffer = io.BytesIO()
        torch.save({"key": self.key, "state": state}, buffer)
        if self.newest.exists():
            self.newest.replace(self.previous)
        write_beside(self.newest, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole and of this key; a broken one is set aside and said so."""
        for path in (self.newest, self.previous):
            if not path.exists():
                continue
            try:
                saved = torch.load(path, map_location="cpu", weights_only=True)
                key, state = saved["key"], saved["state"]
            except (RuntimeError, OSError, EOFError, KeyError, TypeError,
                    pickle.UnpicklingError, zipfile.BadZipFile) as error:  # fmt: skip
                aside = path.with_name(path.name + ".corrupt")
                path.replace(aside)
                reason = str(error).splitlines()[0]
                self.say(f"{path}: broken ({reason}); set aside as {aside.name}")
                continue
            if key == self.key:
                return state
        return None

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
