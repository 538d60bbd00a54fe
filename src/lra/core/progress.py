"""What people see of a running job: lines on stderr, and a progress bar for long work."""

from __future__ import annotations

import sys
from pathlib import Path

from tqdm import tqdm


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def progress(out: Path, total: int | None, unit: str, **options: object) -> tqdm:
    """On stderr, named after what is made; `options` are tqdm's."""
    interval = 0.5 if sys.stderr.isatty() else 30  # seconds; each update is a line in a log file
    return tqdm(
        total=total, desc=str(out), unit=unit, file=sys.stderr, mininterval=interval,
        maxinterval=interval, **options,
    )  # fmt: skip
