"""How long work shows its progress: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from pathlib import Path

from tqdm import tqdm


def progress(out: Path, total: int | None, unit: str, **options: object) -> tqdm:
    """On stderr, named after what is made; `options` are tqdm's."""
    interval = 0.5 if sys.stderr.isatty() else 30  # seconds; each update is a line in a log file
    return tqdm(
        total=total, desc=str(out), unit=unit, file=sys.stderr, mininterval=interval,
        maxinterval=interval, **options,
    )  # fmt: skip
