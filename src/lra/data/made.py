"""By what a data set was made: its recipe and the code, so that a second process need not again.

It is no part of dataset.json: other code that makes the same bytes trains nothing anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lra.data.manifest import verify
from lra.data.store import SPLITS
from lra.errors import LRAError
from lra.files import write_beside


def _file(out: Path) -> Path:
    return out / "made_by.json"


def _content(recipe: Any, fingerprint: str) -> str:
    return json.dumps({"fingerprint": fingerprint, "recipe": recipe.model_dump(mode="json")})


def note(out: Path, recipe: Any, fingerprint: str) -> None:
    write_beside(_file(out), _content(recipe, fingerprint).encode())


def forget(out: Path) -> None:
    _file(out).unlink(missing_ok=True)


def holds(out: Path, recipe: Any, fingerprint: str) -> bool:
    """Whether all splits in `out` are whole and by this recipe and code."""
    if not _file(out).exists() or _file(out).read_text() != _content(recipe, fingerprint):
        return False
    try:
        for split in SPLITS:
            verify(out / f"{split}.arrow")
    except LRAError:
        return False
    return True
