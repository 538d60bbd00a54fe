"""dataset.json: the rows and SHA-256 of each split of a data set."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lra.core.errors import LRAError
from lra.core.files import not_from_the_future, sha256, write_beside
from lra.data.split import Info

MANIFEST = "dataset.json"


def write_manifest(
    out: Path, info: Info, splits: dict[str, dict[str, Any]], left_out: dict[str, str] | None = None
) -> None:
    """Write out/dataset.json.

    splits: each one's rows and sha256. left_out: examples that the source lacks, and why.
    """
    content = {"info": asdict(info), "splits": splits}
    content |= {"left_out": left_out} if left_out else {}
    write_beside(out / MANIFEST, (json.dumps(content, indent=2) + "\n").encode())


def verify(split: Path) -> None:
    """Raise LRAError in one line unless the split's sha256 is the one in its dataset.json, and
    neither is from the future."""
    manifest = split.with_name(MANIFEST)
    not_from_the_future((split, manifest))
    try:
        expected = json.loads(manifest.read_text(encoding="utf-8"))["splits"][split.stem]["sha256"]
        actual = sha256(split)
    except FileNotFoundError as error:
        raise LRAError(f"{error.filename}: no such file; make the data set again") from None
    except (KeyError, TypeError, ValueError) as error:
        raise LRAError(f"{manifest}: says nothing of {split.stem} ({error!r})") from None
    if actual != expected:
        raise LRAError(
            f"{split}: sha256 {actual[:12]}... is not the {expected[:12]}... of {manifest.name}; "
            "it was changed or damaged, make the data set again"
        )
