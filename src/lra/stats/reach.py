"""Which window a task needs: the smallest that reaches most of what the widest gains.

A span by intervention: the same encoder is trained again where a token sees only its neighbours,
as arXiv:2501.14850 asks of LRA. It is compared with an encoder that mixes no tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lra.core.unique import distinct, grouped
from lra.stats import paired
from lra.stats.over_examples import Share, difference, share
from lra.stats.summary import FEWEST, summary

SHARE = 0.95  # of the widest window's gain
NO_WINDOWS = "No mechanism was trained with several windows beside a model that mixes no tokens."


class Required(NamedTuple):
    """Tokens on either side that one layer has to mix."""

    verdict: Literal["ok", "none needed", "incomplete"]  # incomplete: a seed that counts is not ok
    tokens: int | None  # where ok
    gain: Share | None  # points of the widest window above no mixing, and 95 % interval


@dataclass(frozen=True)
class Windows:
    """One mechanism at several windows on one task, beside a model that mixes no tokens."""

    mechanism: str
    floor: list[dict]  # rows of scores.parquet, one a seed: of the model that mixes none
    at: dict[int, list[dict]]  # tokens on either side, ascending -> rows

    @property
    def widest(self) -> int:
        return max(self.at)

    def required(self, seed: int | None = None) -> Required:
        """The smallest window that reaches SHARE of the gain, by means over seeds or by one seed.

        None is needed where the interval of the gain holds 0 or is below it: over seeds from FEWEST
        on, else over test examples.
        """
        floor = _accuracies(self.floor, seed)
        values = {width: _accuracies(rows, seed) for width, rows in self.at.items()}
        if floor is None or values[self.widest] is None:
            return Required("incomplete", None, None)
        gain = _gain(values[self.widest], floor, self.floor[0]["n_test"])
        if gain.low <= 0:
            return Required("none needed", None, gain)
        wanted = summary(floor).mean + SHARE * gain.mean
        # the narrowest that reaches it, as the widest does, or whose accuracy is not known
        tokens = next(w for w, own in values.items() if not own or summary(own).mean >= wanted)
        if values[tokens] is None:
            return Required("incomplete", None, gain)
        return Required("ok", tokens, gain)


def windows(rows: Iterable[dict]) -> list[Windows]:
    """Of the rows of one task: every mechanism that was trained with several windows.

    Nothing where no model mixes no tokens (`reach` 0), or no mechanism has two windows.
    """
    rows = list(rows)
    floors = grouped((row for row in rows if row["reach"] == 0), "model")
    if not floors:
        return []
    found = []
    for (mechanism,), own in grouped((row for row in rows if row["reach"]), "mechanism").items():
        widths = {
            width: [row for row in own if row["reach"] == width]
            for width in sorted(distinct(own, "reach"))
        }
        if len(widths) > 1:
            found.append(Windows(mechanism, next(iter(floors.values())), widths))
    return found


def _accuracies(rows: list[dict], seed: int | None) -> list[float] | None:
    """Of all seeds or one; None where one is not ok."""
    own = [row for row in rows if seed in (None, row["seed"])]
    if not own or any(row["status"] != "ok" for row in own):
        return None
    return [row["accuracy"] for row in own]


def _gain(widest: Sequence[float], floor: Sequence[float], n_test: int) -> Share:
    if len(widest) == len(floor) >= FEWEST:
        found = paired.seeds(widest, floor)
        if found.low is None:  # every seed has the same difference
            return Share(*[found.difference] * 3)
        return Share(found.difference, found.low, found.high)
    return difference(*(share(summary(own).mean, n_test) for own in (widest, floor)))
