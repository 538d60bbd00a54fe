"""Records the recipe and code of a data set, so that another process can skip rebuilding it.

The record is not part of dataset.json: other code that makes the same bytes retrains nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from lra.core.errors import LRAError
from lra.core.files import write_beside
from lra.core.locks import alone
from lra.core.progress import say
from lra.data.manifest import verify
from lra.data.recipe import Recipe
from lra.data.split import SPLITS

STAMP = "made_by.json"


def make_once(out: Path, recipe: Recipe, fingerprint: str, make: Callable[[], None]) -> None:
    """Call `make`, unless `out` holds whole splits that the same recipe and code made.

    One process at a time makes a data set. Others wait and then find it there.
    """
    stamp = out / STAMP
    content = json.dumps({"fingerprint": fingerprint, "recipe": recipe.model_dump(mode="json")})
    with alone(out, say):
        if stamp.exists() and stamp.read_text(encoding="utf-8") == content and _whole(out):
            say(f"{out}: is there already, made by the same recipe and code")
            return
        stamp.unlink(missing_ok=True)
        make()
        write_beside(stamp, content.encode())


def _whole(out: Path) -> bool:
    try:
        for split in SPLITS:
            verify(out / f"{split}.arrow")
    except LRAError:
        return False
    return True
