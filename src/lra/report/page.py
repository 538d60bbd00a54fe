"""The results on one page: tables and figures with what to see in them, one file to read offline.

Snakemake's own report shows one file at a time beside a menu that covers a phone's screen, has no
dark mode and holds the time at which it was made; this page scrolls, and the same results give the
same bytes. Figures are PNG, for an SVG's text would be set in whatever font a reader has.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path

from docutils.core import publish_parts
from jinja2 import Environment
from PIL import Image

from lra.core.errors import LRAError
from lra.core.files import write_beside
from lra.report.html import asset, head
from lra.report.item import Item
from lra.results.records import ScoreRow, read_table

SCALE = 140 / 300  # pixels of the screen for one of the figure, which has 300 to the inch


def write(
    root: Path, tables: Sequence[Item], figures: Sequence[Item], captions: Path, out: Path
) -> None:
    """Write the page of the experiment in `root`, its tables and figures in the order given.

    captions: folder with workflow.rst, table.rst and figure.rst.
    Raises LRAError naming the file that is missing or not a table's page.
    """
    facts = _facts(root)
    templates = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = templates.from_string(asset("page.html"))
    content = page.render(
        facts=facts,
        result=_result(root / "tables/accuracy.csv"),
        overview=caption(captions / "workflow.rst", facts, {}),
        tables=[_table(root, item, captions, facts) for item in tables],
        figures=[_figure(root, item, captions, facts) for item in figures],
        style=asset("page.css"),
        head=head(),
    )
    write_beside(out, content.encode())


def _facts(root: Path) -> dict[str, object]:
    """What the captions may ask of the configuration, from the scores."""
    rows = read_table(root / "scores.parquet", ScoreRow).to_pylist()
    several = {"tasks": "task", "models": "model", "seeds": "seed"}
    facts = {key: list(dict.fromkeys(r[own] for r in rows)) for key, own in several.items()}
    protocols = dict.fromkeys(r["protocol"] for r in rows)
    return facts | {"experiment": root.name, "protocol": ", ".join(protocols)}


def _result(path: Path) -> dict[str, object]:
    """Counts of the (model, task) of the accuracy table, and of the figures published for them."""
    lines = [x for x in csv.DictReader(io.StringIO(_read(path))) if x["task"] != "average"]
    verdicts = [x["verdict"] for x in lines]
    known = {"n": len(lines), "ok": verdicts.count("ok"), "chance": verdicts.count("FAIL")}
    met = [x["replication"] for x in lines if x["replication"] not in ("", "not comparable")]
    known |= {"compared": len(met)} | {v: met.count(v) for v in ("reproduced", "above", "below")}
    odd = [x["replication_why"] for x in lines if x["replication"] == "not comparable"]
    return known | {"odd": len(odd), "why": "; ".join(dict.fromkeys(odd))}


def _table(root: Path, item: Item, captions: Path, facts: dict) -> dict[str, str]:
    path = root / "tables" / f"{item.name}.html"
    body = re.search(r"<body>(.*)</body>", _read(path), re.DOTALL)
    if not body:
        raise LRAError(f"{path}: not the page of a table; delete it to make it again")
    see = caption(captions / "table.rst", facts, {"table": item.name})
    return {"name": item.name, "title": item.title, "body": body[1], "see": see}


def _figure(root: Path, item: Item, captions: Path, facts: dict) -> dict[str, object]:
    path = root / "figures" / f"{item.name}.png"
    try:
        with Image.open(path) as image:
            width, height = (round(SCALE * side) for side in image.size)
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise LRAError(f"{path}: cannot be read: {error.strerror or error}") from None
    see = caption(captions / "figure.rst", facts, {"figure": item.name})
    plain = html.unescape(" ".join(re.sub(r"<[^>]*>", "", see).split()))
    own = {"name": item.name, "title": item.title, "see": see, "plain": plain or item.title}
    return own | {"data": data, "width": width, "height": height}


def caption(path: Path, facts: dict, wildcards: dict) -> str:
    """HTML of a caption as Snakemake's report would have it."""
    snakemake = {"config": facts, "wildcards": wildcards}
    text = Environment().from_string(_read(path)).render(snakemake=snakemake)
    settings = {"report_level": 5, "file_insertion_enabled": False, "raw_enabled": False}
    return publish_parts(text, writer="html5", settings_overrides=settings)["body"]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise LRAError(f"{path}: {error.strerror}") from None
