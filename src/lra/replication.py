"""Whether a published figure was met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lra.stats import Outcome, above_chance

CLOSE = 1.0  # percentage points
NEAR, WITHIN, CHANCE = f"within {CLOSE:g} point", "within our 95 % interval", "both at chance"
OWN = "on a variant of our own"
Verdict = Literal["reproduced", "above", "below", "not comparable"]
SIGNS = {"above": "↑", "below": "↓", NEAR: "≈", CHANCE: "≈", WITHIN: "∼"}


@dataclass(frozen=True)
class Replication:
    verdict: Verdict | None  # None where nothing was published
    why: str

    @property
    def sign(self) -> str:
        """Of a figure that was reproduced by why it counts so, of another by its verdict."""
        return SIGNS.get(self.why if self.verdict == "reproduced" else self.verdict, "")


def replication(
    found: Outcome,
    published: float | str | None,
    n_test: int | None,
    chance: float | None,
    protocol: str,
    own_task: bool,
) -> Replication:
    """Ours against a published accuracy in percent, or FAIL, or None.

    Reproduced: published within 1 point of our mean or our 95 % interval over seeds, or both at
    chance, which of a published number is tested as if it came of our `n_test` examples. An average
    over tasks, which is never FAIL, has neither `n_test` nor `chance`.
    """
    if published is None:
        return Replication(None, "")
    if protocol == "quick":
        return Replication("not comparable", "protocol quick: small models on small data")
    if own_task:
        return Replication("not comparable", OWN)
    if found.verdict not in ("ok", "FAIL"):
        return Replication("not comparable", f"ours is {found.verdict}")
    if found.verdict == "FAIL":
        if isinstance(published, str) or not above_chance(published, n_test, chance):
            return Replication("reproduced", CHANCE)
        return Replication("below", "ours is at chance")
    if isinstance(published, str):
        return Replication("above", "published is at chance")
    ours = found.accuracy
    if abs(ours.mean - published) <= CLOSE:
        return Replication("reproduced", NEAR)
    if ours.low is not None and ours.low <= published <= ours.high:
        return Replication("reproduced", WITHIN)
    return Replication("above" if ours.mean > published else "below", "outside our 95 % interval")
