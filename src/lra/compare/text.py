"""A comparison as lines for a terminal, and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict

from lra.compare.causes import short
from lra.compare.differences import ALPHA, Cell, Change, Comparison, Ratio
from lra.compare.experiment import Key, Results
from lra.core.formats import BYTES, listed, number, p_value, signed
from lra.core.unique import unique

RATIO = 1.1  # speed and memory that differ by less are not named
SAME = {
    "bits": "Identical, to the bits of checkpoints and predictions",
    "predictions": "The same predictions (checkpoints are not kept in both)",
    "values": "The same status and accuracy (predictions are not kept in both)",
}
TESTS = {
    "examples": "over the same test examples: about these trained models, not others like them",
    "seeds": "over seeds, because the test examples differ or were not kept",
}
COLUMNS = {  # of a profile: what it is called, and its unit
    "train_steps_per_s": ("training, steps/s", 1.0),
    "infer_steps_per_s": ("inference, steps/s", 1.0),
    "peak_bytes": ("peak memory, MB", BYTES["MB"]),
}
# left out first where the terminal is narrow
LEAST_IMPORTANT = ("p of seeds", "95 % interval", "seeds")


def text(found: Comparison, width: int = 80) -> str:
    """width: columns of the terminal."""
    parts = [
        [_side("A", found.a), _side("B", found.b), *found.notes, *_unshared(found)],
        _statuses(found),
        _accuracy(found, width),
        _causes(found),
        _profiles(found, width),
        [_verdict(found)],
    ]
    return "\n\n".join("\n".join(_wrapped(line, width) for line in part) for part in parts if part)


def as_json(found: Comparison) -> str:
    known = {
        "a": found.a.name,
        "b": found.b.name,
        "agree": found.agree,
        "notes": found.notes,
        "statuses": [asdict(each) for each in found.statuses],
        "changes": [_change(change, found) for change in found.changes],
        "only_a": found.only_a,
        "only_b": found.only_b,
        "causes": [asdict(cause) for cause in found.causes],
        "uncaused": found.uncaused,
        "ratios": [asdict(ratio) for ratio in found.ratios],
    }
    return json.dumps(known, indent=2)


def _change(change: Change, found: Comparison) -> dict:
    kinds = unique(
        cause.kind
        for cause in found.causes
        if any(key[:2] == (change.task, change.model) for key in cause.cells)
    )
    return asdict(change) | {"seeds": change.seeds, "causes": kinds}


def where(cells: Iterable[Key], among: Iterable[Key]) -> str:
    """Words for some of a list of cells: `all 12 cells`, `all 4 of linear`, or their names."""
    cells, among = set(cells), list(among)
    ordered = [key for key in among if key in cells]
    if len(ordered) == len(among):
        return f"all {len(among)} cells" if len(among) > 1 else "the one cell"
    for column, word in ((1, ""), (0, ""), (2, "seed ")):
        names = unique(key[column] for key in ordered)
        if len(ordered) > 1 and cells == {key for key in among if key[column] in names}:
            return f"all {len(ordered)} of {word}{listed(names)}"
    names = []
    for pair in unique(key[:2] for key in ordered):
        seeds, every = ([key[2] for key in keys if key[:2] == pair] for keys in (ordered, among))
        names.append("/".join(pair) + ("" if seeds == every else f" (seed {listed(seeds)})"))
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return listed(names[:4]) + more


def _side(letter: str, side: Results) -> str:
    commits = listed(unique(map(short, side.distinct("git_commit"))))
    protocol = listed(side.distinct("protocol"))
    return f"{letter}: {side.name}, protocol {protocol}, {len(side.rows)} cells, code at {commits}"


def _unshared(found: Comparison) -> list[str]:
    sides = (("A", found.only_a, found.a), ("B", found.only_b, found.b))
    return [
        f"Only in {letter}, and not compared: {where(keys, side.rows)}."
        for letter, keys, side in sides
        if keys
    ]


def _statuses(found: Comparison) -> list[str]:
    lines = [f"  {each.where}  {each.a} -> {each.b}" for each in found.statuses]
    return ["Status changed:", *lines] if lines else []


def _accuracy(found: Comparison, width: int) -> list[str]:
    lines = []
    for level, words in SAME.items():
        same = [change.name for change in found.changes if change.same == level]
        if same:
            keys = [key for key in found.shared if "/".join(key[:2]) in same]
            lines.append(f"{words}: {where(keys, found.shared)}.")
    changed = [change for change in found.changes if change.same == "no"]
    if not changed:
        return lines
    lines += ["Accuracy in percent, and B - A in points:", *_table(map(_entries, changed), width)]
    tests = unique(change.test for change in changed if change.test)
    for test in tests:
        names = [change.name for change in changed if change.test == test]
        lines.append(f"Tested {TESTS[test]}{f' ({listed(names)})' if len(tests) > 1 else ''}.")
    if tests:
        tested = sum(change.p is not None for change in found.changes)
        lines.append(f"p: after Holm's correction for {tested} tests; * below {ALPHA:g}.")
    several = [change for change in changed if len(change.cells) > 1]
    if several:
        longest = max(len(change.name) for change in several)
        lines.append("B - A of each seed:")
        lines += [f"  {c.name:{longest}}  {listed(map(_seed, c.cells))}" for c in several]
    return lines


def _entries(change: Change) -> dict[str, str]:
    some = f"/{len(change.seeds)}" if change.n < len(change.seeds) else ""
    known = change.low is not None
    return {
        "cell": change.name,
        "seeds": f"{change.n}{some}",
        "A": "-" if change.a is None else f"{change.a:.2f}",
        "B": "-" if change.b is None else f"{change.b:.2f}",
        "B - A": "-" if change.difference is None else signed(change.difference),
        "95 % interval": f"{signed(change.low)} to {signed(change.high)}" if known else "-",
        "p  ": p_value(change.p_holm) + (" *" if change.significant else "  "),
        "p of seeds": p_value(change.p_seeds_holm),
    }


def _seed(cell: Cell) -> str:
    if cell.status_a != cell.status_b:
        return f"seed {cell.seed}: {cell.status_a} -> {cell.status_b}"
    return f"seed {cell.seed}: {signed(cell.difference) if cell.same == 'no' else 'same'}"


def _causes(found: Comparison) -> list[str]:
    joined: dict[tuple, list[str]] = {}  # code that differs in the same cells is one line
    for cause in found.causes:
        alone = "" if cause.kind == "code" else cause.what
        joined.setdefault((cause.kind, alone, tuple(cause.cells)), []).append(cause.what)
    lines = [
        f"  {kind:10}{listed(whats)}, in {where(cells, found.shared)}"
        for (kind, _, cells), whats in joined.items()
    ]
    if lines:
        lines.insert(0, "What is different:")
    if found.uncaused:
        lines.append(
            f"No recorded cause: {where(found.uncaused, found.shared)} changed, with the same "
            "code, config, data and hardware. Not repeatable?"
        )
    return lines


def _profiles(found: Comparison, width: int) -> list[str]:
    total = len(found.ratios)
    if not total:
        return []
    rows = [_ratio(each) for each in found.ratios if not 1 / RATIO <= each.ratio <= RATIO]
    if not rows:
        return [f"None of {total} values of speed and memory differs by over 10 %."]
    head = f"{len(rows)} of {total} values of speed and memory differ by over 10 % (not tested):"
    return [head, *_table(rows, width)]


def _ratio(each: Ratio) -> dict[str, str]:
    name, unit = COLUMNS[each.column]
    return {
        "profile": f"{each.model} at {each.length}",
        "of": name,
        "A": number(each.a, unit),
        "B": number(each.b, unit),
        "B / A": f"{each.ratio:.2f}",
    }


def _verdict(found: Comparison) -> str:
    if found.agree:
        if all(change.same == "bits" for change in found.changes):
            return "They are identical in the cells that both have."
        return "They agree: no status changed, and no accuracy is significantly different."
    significant = sum(bool(change.significant) for change in found.changes)
    counts = (
        (len(found.statuses), "status", "statuses", "changed"),
        (significant, "accuracy", "accuracies", "significantly different"),
        (len(found.untested), "accuracy", "accuracies", "different and not testable"),
    )
    parts = [f"{n} {one if n == 1 else several} {how}" for n, one, several, how in counts if n]
    return f"They differ: {listed(parts)}."


def _table(rows: Iterable[dict[str, str]], width: int) -> list[str]:
    """Aligned columns, without the least important where they are too wide, which is said."""
    rows = list(rows)
    widths = {c: max(len(c), *(len(row[c]) for row in rows)) for c in rows[0]}
    left_out = []
    for column in LEAST_IMPORTANT:
        if column in widths and sum(widths.values()) + 2 * len(widths) > width:
            del widths[column]
            left_out.append(column)
    first = next(iter(widths))
    lines = []
    for row in ({column: column for column in widths}, *rows):
        cells = [row[c].ljust(w) if c == first else row[c].rjust(w) for c, w in widths.items()]
        lines.append("  " + "  ".join(cells).rstrip())
    if left_out:
        lines.append(f"  (more in a wider terminal, or with --json: {listed(left_out)})")
    return lines


def _wrapped(line: str, width: int) -> str:
    return textwrap.fill(
        line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
