"""Whether a published figure was met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lra.stats import Outcome, above_chance

CLOSE = 1.0  # percentage points
Verdict = Literal["reproduced", "above", "below", "not comparable"]
SIGNS = {"reproduced": "≈", "above": "↑", "below": "↓", "not comparable": ""}


@dataclass(frozen=True)
class Replication:
    verdict: Verdict | None  # None where nothing was published
    why: str


def replication(
    found: Outcome,
    published: float | str | None,
    n_test: int,
    chance: float,
    protocol: str,
    own_task: bool,
) -> Replication:
    """Ours against a published accuracy in percent, or FAIL, or None.

    Reproduced: published within our 95 % interval over seeds or 1 point of our mean, or both at
    chance, which of a published number is tested as if it came of our `n_test` examples.
    """
    if published is None:
        return Replication(None, "")
    if protocol == "quick":
        return Replication("not comparable", "protocol quick: small models on small data")
    if own_task:
        return Replication("not comparable", "a variant of the task of our own")
    if found.verdict not in ("ok", "FAIL"):
        return Replication("not comparable", f"ours is {found.verdict}")
    learned = not isinstance(published, str) and above_chance(published, n_test, chance)
    if found.verdict == "FAIL":
        if not learned:
            return Replication("reproduced", "both at chance")
        return Replication("below", "ours is at chance")
    if isinstance(published, str):
        return Replication("above", "published is at chance")
    ours = found.accuracy
    if abs(ours.mean - published) <= CLOSE:
        return Replication("reproduced", f"within {CLOSE:g} point")
    if ours.low is not None and ours.low <= published <= ours.high:
        return Replication("reproduced", "within our 95 % interval")
    return Replication("above" if ours.mean > published else "below", "outside our 95 % interval")
