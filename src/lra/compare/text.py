"""A comparison as people and machines read it: lines for a terminal, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict

from lra.compare.differences import ALPHA, RATIO, Cell, Change, Comparison, Ratio
from lra.compare.experiment import Finished, Key

MINUS = "\u2212"
SAME = {
    "bits": "Identical, to the bits of checkpoints and predictions",
    "predictions": "The same predictions (checkpoints are not kept in both)",
    "figures": "The same status and accuracy (with no predictions to compare)",
}
TESTS = {
    "examples": "over the same test examples: about these trained models, not others like them",
    "seeds": "over seeds, for the test examples differ or were not kept",
}
# dropped first where the terminal is narrow
LEAST_IMPORTANT = ("p of seeds", "95 % interval", "seeds")


def text(found: Comparison, width: int = 80) -> str:
    """width: columns of the terminal."""
    parts = [
        [_side("A", found.a), _side("B", found.b), *found.notes, *_alone(found)],
        _statuses(found),
        _accuracy(found, width),
        _causes(found),
        _profiles(found, width),
        [_verdict(found)],
    ]
    blocks = ["\n".join(_wrapped(line, width) for line in part) for part in parts if part]
    return "\n\n".join(blocks)


def machine_csv(found: Comparison) -> str:
    """One row a (task, model) that both have, with all the numbers.

    What there is of each seed, in the order of `seeds`, is in one column, `cells_a`; `-` is none.
    """
    out = io.StringIO()
    rows = [_flat(_row(change, found)) for change in found.changes]
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["task", "model"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(row: dict) -> dict:
    cells = row.pop("cells")
    row |= {f"cells_{k}": [cell[k] for cell in cells] for k in cells[0] if k != "seed"}
    return {
        k: " ".join("-" if each is None else str(each) for each in v) if isinstance(v, list) else v
        for k, v in row.items()
    }


def machine_json(found: Comparison) -> str:
    known = {
        "a": found.a.name,
        "b": found.b.name,
        "agree": found.agree,
        "notes": found.notes,
        "statuses": [asdict(each) for each in found.statuses],
        "changes": [_row(change, found) for change in found.changes],
        "only_a": found.only_a,
        "only_b": found.only_b,
        "causes": [asdict(cause) for cause in found.causes],
        "uncaused": found.uncaused,
        "ratios": [asdict(ratio) for ratio in found.ratios],
    }
    return json.dumps(known, indent=2)


def where(cells: Iterable[Key], among: Iterable[Key]) -> str:
    """Words for some of a list of cells: `all 12 cells`, `all 4 of linear`, or their names."""
    cells, among = set(cells), list(among)
    ordered = [key for key in among if key in cells]
    if len(ordered) == len(among):
        return f"all {len(among)} cells" if len(among) > 1 else "the one cell"
    for column in (1, 0):  # models, tasks
        names = dict.fromkeys(key[column] for key in ordered)
        if cells == {key for key in among if key[column] in names}:
            return (
                f"all {len(ordered)} of {', '.join(names)}"
                if len(ordered) > 1
                else "/".join(ordered[0][:2])
            )
    whole = {name: [key[2] for key in among if key[:2] == name] for name in (k[:2] for k in among)}
    pairs: dict[tuple[str, str], list[int]] = {}
    for key in ordered:
        pairs.setdefault(key[:2], []).append(key[2])
    names = [
        "/".join(name) + ("" if seeds == whole[name] else f" (seed {', '.join(map(str, seeds))})")
        for name, seeds in pairs.items()
    ]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _side(letter: str, side: Finished) -> str:
    commits = [commit or "no commit" for commit in side.every("git_commit")]
    short = ", ".join(commit[:10] + ("-dirty" if "-dirty" in commit else "") for commit in commits)
    protocol = ", ".join(side.every("protocol"))
    return f"{letter}: {side.name}, protocol {protocol}, {len(side.rows)} cells, code at {short}"


def _alone(found: Comparison) -> list[str]:
    sides = (("A", found.only_a, found.a), ("B", found.only_b, found.b))
    return [
        f"Only in {letter}, and not compared: {where(keys, side.rows)}."
        for letter, keys, side in sides
        if keys
    ]


def _statuses(found: Comparison) -> list[str]:
    if not found.statuses:
        return []
    lines = [f"  {each.where}  {each.a} -> {each.b}" for each in found.statuses]
    return ["Status changed:", *lines]


def _accuracy(found: Comparison, width: int) -> list[str]:
    lines = []
    for level, words in SAME.items():
        same = [change.name for change in found.changes if change.same == level]
        if same:
            keys = [key for key in found.shared if "/".join(key[:2]) in same]
            lines.append(f"{words}: {where(keys, found.shared)}.")
    changed = [change for change in found.changes if change.same == "no"]
    if changed:
        rows = [_entries(change) for change in changed]
        lines += ["Accuracy in percent, and B - A in points:", *_table(rows, width)]
        counted = sum(change.p is not None for change in found.changes)
        tests = dict.fromkeys(change.test for change in changed if change.test)
        for test in tests:
            among = [change.name for change in changed if change.test == test]
            whose = "" if len(tests) == 1 else f" ({', '.join(among)})"
            lines.append(f"Tested {TESTS[test]}{whose}.")
        if tests:
            lines.append(
                f"p: after Holm's correction over the {counted} cells tested; * below {ALPHA:g}."
            )
        lines += _by_seed([change for change in changed if len(change.cells) > 1])
    return lines


def _entries(change: Change) -> dict[str, str]:
    seeds = str(change.n)
    if change.n < len(change.seeds):
        seeds = f"{change.n}/{len(change.seeds)}"
    interval = "-"
    if change.low is not None:
        interval = f"{_signed(change.low)} to {_signed(change.high)}"
    return {
        "cell": change.name,
        "seeds": seeds,
        "A": _number(change.a),
        "B": _number(change.b),
        "B - A": "-" if change.difference is None else _signed(change.difference),
        "95 % interval": interval,
        "p  ": _small(change.p_holm) + (" *" if change.significant else "  "),
        "p of seeds": _small(change.p_seeds_holm),
    }


def _by_seed(changes: list[Change]) -> list[str]:
    longest = max((len(change.name) for change in changes), default=0)
    lines = [f"  {c.name:{longest}}  {', '.join(map(_seed, c.cells))}" for c in changes]
    return ["B - A of each seed:", *lines] if lines else []


def _seed(cell: Cell) -> str:
    if cell.status_a != cell.status_b:
        return f"seed {cell.seed} {cell.status_a} -> {cell.status_b}"
    return f"seed {cell.seed} {_signed(cell.difference) if cell.same == 'no' else 'same'}"


def _causes(found: Comparison) -> list[str]:
    folded: dict[tuple, list[str]] = {}  # files that differ in the same cells are one line
    for cause in found.causes:
        alone = "" if cause.kind == "code" else cause.what
        folded.setdefault((cause.kind, alone, tuple(cause.cells)), []).append(cause.what)
    lines = [
        f"  {kind:10}{', '.join(whats)}, in {where(cells, found.shared)}"
        for (kind, _, cells), whats in folded.items()
    ]
    if lines:
        lines.insert(0, "What is different:")
    if found.uncaused:
        some = where(found.uncaused, found.shared)
        lines.append(f"No recorded cause: {some} changed, with the same code, config, data and")
        lines[-1] += " hardware. Not repeatable?"
    return lines


def _profiles(found: Comparison, width: int) -> list[str]:
    if not found.ratios:
        return []
    odd = [each for each in found.ratios if not 1 / RATIO <= each.ratio <= RATIO]
    beyond = f"{len(odd)} of {len(found.ratios)} figures of speed and memory"
    if not odd:
        return [f"No figure of speed and memory, of {len(found.ratios)}, differs by over 10 %."]
    rows = [_ratio_entries(ratio) for ratio in odd]
    return [f"{beyond} differ by over 10 % (not tested):", *_table(rows, width)]


def _ratio_entries(each: Ratio) -> dict[str, str]:
    scale, unit = (1e6, "MB") if each.figure == "peak_bytes" else (1, "steps/s")
    what = {"train_steps_per_s": "training", "infer_steps_per_s": "inference"}
    return {
        "profile": f"{each.model} at {each.length}",
        "of": f"{what.get(each.figure, 'peak memory')}, {unit}",
        "A": f"{each.a / scale:.4g}",
        "B": f"{each.b / scale:.4g}",
        "B / A": f"{each.ratio:.2f}",
    }


def _verdict(found: Comparison) -> str:
    significant = sum(bool(change.significant) for change in found.changes)
    if not found.agree:
        counts = [
            _count(len(found.statuses), "status", "statuses") + " changed",
            _count(significant, "accuracy", "accuracies") + " significantly different",
            _count(len(found.untested), "accuracy", "accuracies") + " different and not testable",
        ]
        said = [count for count in counts if not count.startswith("0")]
        return f"They differ: {', '.join(said)}."
    if all(change.same == "bits" for change in found.changes):
        return "They are identical in the cells that both have."
    return "They agree: no status changed, and no accuracy is significantly different."


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _row(change: Change, found: Comparison) -> dict:
    kinds = dict.fromkeys(
        cause.kind
        for cause in found.causes
        if any(key[:2] == (change.task, change.model) for key in cause.cells)
    )
    return asdict(change) | {"seeds": change.seeds, "causes": list(kinds)}


def _table(rows: list[dict[str, str]], width: int) -> list[str]:
    """Aligned columns; where they are too wide the least important are left out, and it is said."""
    columns, left_out = list(rows[0]), []
    for column in (*LEAST_IMPORTANT, None):
        widths = {c: max(len(c), *(len(row[c]) for row in rows)) for c in columns}
        if sum(widths.values()) + 2 * len(widths) <= width or column not in columns:
            break
        columns.remove(column)
        left_out.append(column)
    first = columns[0]
    lines = []
    for row in ({column: column for column in rows[0]}, *rows):
        cells = [
            row[c].ljust(widths[c]) if c == first else row[c].rjust(widths[c]) for c in columns
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    if left_out:
        lines.append(f"  (more in a wider terminal, or with --csv: {', '.join(left_out)})")
    return lines


def _wrapped(line: str, width: int) -> str:
    return textwrap.fill(
        line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False,
        replace_whitespace=False, drop_whitespace=True,
    ) if len(line) > width else line  # fmt: skip


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", MINUS)


def _small(p: float | None) -> str:
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
