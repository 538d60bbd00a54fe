"""Notes with a letter each, which is raised at the entries and headings that they speak of."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from lra.report.tables.render import RAISED


class Letters:
    """Letters in the order in which the notes come; a note without a place is left out."""

    def __init__(self) -> None:
        self._places: dict[str, set[Hashable]] = {}

    def add(self, note: str, places: Iterable[Hashable]) -> None:
        """The same note twice has one letter."""
        if places := set(places):
            self._places.setdefault(note, set()).update(places)

    def at(self, *places: Hashable) -> str:
        """The raised letters of these places."""
        every = enumerate(self._places.values())
        return "".join(_letter(i) for i, own in every if own & set(places))

    @property
    def notes(self) -> list[str]:
        return [f"{_letter(i)} {note}" for i, note in enumerate(self._places)]


def _letter(number: int) -> str:
    return RAISED[number % len(RAISED)] * (1 + number // len(RAISED))
