"""What was trained: each task's data and sizes, beside those of the paper."""

from __future__ import annotations

import json
from pathlib import Path

from lra.config.cell import Cell, read
from lra.core.files import text_of
from lra.core.formats import listed
from lra.core.unique import distinct, grouped, unique
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, one_value
from lra.results import layout
from lra.results.rates import cell_file, read_chosen

PAPER = {  # Tay et al. 2020 (arXiv:2011.04006), section 2.2: data and tokens
    "listops": ("ListOps", "up to 2,000"),
    "text": ("IMDb reviews", "4,000 bytes"),
    "retrieval": ("pairs of AAN papers", "2 × 4,000 bytes"),
    "image": ("grey CIFAR-10", "1,024 pixels"),
    "pathfinder": ("32 × 32 pixels", "1,024 pixels"),
    "pathx": ("128 × 128 pixels", "16,384 pixels"),
}
COLUMNS = ["data", "longest input\ntokens", "classes", "encoder", "steps", "parameters"]
COLUMNS += ["test\nexamples", "chance\n%"]
SIZES = ("length", "classes", "encoder", "steps", "batch_size")


def tasks(scores: Path, cells: Path, data: Path) -> tuple[Table, list[dict]]:
    """One row a task, by scores.parquet and the configurations in the experiment's folder `cells`.

    data: folder of the data sets, for notes on them. Where models differ in something, all its
    values. Raises LRAError where experiments are mixed.
    """
    rows = read_chosen(scores)
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment")
    lines = [_line(own, cells) for own in grouped(rows, "task").values()]
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {listed(distinct(rows, 'protocol'))}: "
        f"{listed(distinct(rows, 'model'))}, each with seeds {listed(distinct(rows, 'seed'))}. "
        "Below the data and the length, those of the paper. Chance: the majority class."
    )
    return Table(
        caption, COLUMNS, [_row(line) for line in lines], _notes(lines, data), "task"
    ), lines


def _line(rows: list[dict], root: Path) -> dict:
    line = {key: rows[0][key] for key in ("experiment", "protocol", "task")}
    first = [own[0] for own in grouped(rows, "model").values()]  # seeds have the same sizes
    paths = [cell_file(root, layout.CONFIG, row) for row in first]
    found = [read(Cell, str(path)) for path in paths if path.exists()]
    line |= dict.fromkeys(SIZES, "-") | {"data": listed(distinct(rows, "dataset"))}
    if found:
        line |= {
            "length": listed(unique(f"{c.encoder.max_len:,}" for c in found)),
            "classes": listed(unique(c.encoder.classes for c in found)),
            "encoder": "; ".join(unique(c.encoder.sizes for c in found)),
            "steps": listed(unique(f"{c.training.steps:,}" for c in found)),
            "batch_size": listed(unique(c.training.batch_size for c in found)),
        }
    params = [row["params"] for row in rows]
    line |= {"least_params": min(params), "most_params": max(params)}
    known = next((row for row in rows if row["status"] == "ok"), rows[0])
    return line | {"n_test": known["n_test"], "chance": known["chance"]}


def _notes(lines: list[dict], folder: Path) -> list[str]:
    """Where each task's data come from, and how many examples they have."""
    notes = []
    for line in lines:
        for name in line["data"].split(", "):
            path = folder / name / "dataset.json"
            if not path.exists():
                continue
            found = json.loads(text_of(path))
            rows = found["splits"]["train"]["rows"]
            notes.append(f"{name}: {found['info']['source']}; {rows:,} training examples.")
    return notes


def _row(line: dict) -> Row:
    data, length = PAPER.get(line["task"].partition("-")[0], ("", ""))
    first, *more = line["encoder"].replace(", dim", "; dim").split("; ")
    low, high = f"{line['least_params']:,}", f"{line['most_params']:,}"
    entries = [
        Entry(line["data"], data and f"paper: {data}"),
        Entry(line["length"], length and f"paper: {length}"),
        Entry(line["classes"]),
        Entry(first, "\n".join(more)),
        Entry(line["steps"], f"batch {line['batch_size']}"),
        Entry(low, "" if low == high else f"to {high}"),
        Entry(f"{line['n_test']:,}"),
        Entry(f"{line['chance']:.1f}"),
    ]
    return Row(line["task"], entries)
