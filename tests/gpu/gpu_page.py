"""The page of a card's results, made again after each step from the records beside it."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

from steps import Step

from lra.core.formats import elapsed, listed

PRETENDED = """
**No card was here.** The CPU computed tiny sizes to try the runner; nothing below is a result."""


def csv_of(junit: Path) -> bytes:
    """Tests of a run by pytest: name, outcome, seconds, and what each recorded."""
    rows: list[dict[str, str]] = []
    for case in ET.parse(junit).getroot().iter("testcase"):
        ends = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        rows.append({
            "test": case.get("name", ""), "outcome": (ends or ["passed"])[0],
            "seconds": case.get("time", ""),
            **{p.get("name", ""): p.get("value", "") for p in case.iter("property")},
        })  # fmt: skip
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def counted(path: Path) -> str:
    """`3 passed, 1 failure` of such a csv."""
    with path.open(encoding="utf-8") as file:
        outcomes = Counter(row["outcome"] for row in csv.DictReader(file))
    return listed(f"{n} {outcome}" for outcome, n in outcomes.most_common())


def minutes(value: float) -> str:
    return "unknown" if value == float("inf") else f"{value:,.3g}"


def page(steps: list[Step], out: Path, records: dict[str, dict[str, Any]], tiny: bool) -> str:
    """Markdown. records: of the steps that were begun, by name."""
    cards = sorted(
        {f"{r['card']}, driver {r['driver']}, torch {r['torch']}" for r in records.values()}
    )
    commits = sorted({str(r["commit"]) for r in records.values()})
    lines = [f"# On {out.name}, as measured", *([PRETENDED] if tiny else []), ""]
    lines += [f"`make gpu` on {listed(cards)}, at commit {listed(commits)}.", ""]
    lines += ["Estimated minutes are for an H100: `guess`, or by the project's model of costs."]
    lines += ["A step that was cut or has failed is tried again by the next `make gpu`.", ""]
    lines += [
        "| step | what | status | estimated min | took | files |",
        "|---|---|---|---|---|---|",
    ]
    reasons = []
    for step in steps:
        record = records.get(step.name)
        if record is None:
            continue
        files = [name for name in step.saved if (out / name).exists()]
        links = listed(f"[{Path(name).name}]({name})" for name in files)
        status = record["status"]
        status += "".join(f" ({counted(out / n)})" for n in files if step.saved[n].suffix == ".xml")
        estimate = minutes(step.minutes) + (" (guess)" if step.basis == "guess" else "")
        took = elapsed(record["seconds"])
        lines.append(f"| {step.name} | {step.what} | {status} | {estimate} | {took} | {links} |")
        if record["reason"]:
            reasons.append(f"- {step.name}: {record['status']}: {record['reason']}")
    missing = [step.name for step in steps if step.name not in records]
    lines += ["", f"Not begun: {listed(missing) or 'none'}."]
    return "\n".join(lines + (["", *reasons] if reasons else []) + trained(steps, out)) + "\n"


def trained(steps: list[Step], out: Path) -> list[str]:
    """A table of the cells that are done."""
    rows = []
    for step in steps:
        train, score = out / f"cells/{step.name}.train.json", out / f"cells/{step.name}.score.json"
        if train.exists() and score.exists():
            of_train, of_score = (json.loads(p.read_text(encoding="utf-8")) for p in (train, score))
            accuracy, joules = of_score["accuracy"], of_train["energy_joules"]
            rows.append(
                f"| {step.name} | {of_train['status']} | "
                f"{'' if accuracy is None else f'{accuracy:.2f}'} | {of_train['steps']:,} | "
                f"{of_train['train_seconds'] / 3600:.3g} | {'' if joules is None else f'{joules / 3.6e6:.3g}'} |"
            )
    head = [
        "",
        "| cell | status | test accuracy, % | steps | hours | kWh |",
        "|---|---|---|---|---|---|",
    ]
    return [*head, *rows] if rows else []
