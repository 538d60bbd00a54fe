"""All tables and figures with their captions on one HTML page, which opens without a network.

Snakemake's own report shows one file at a time, covers a phone's screen with its menu, has no dark
mode and contains the time at which it was made. This page scrolls, and the same results give the
same bytes. Figures are PNG, because an SVG's text changes with the fonts of the reader's machine.
"""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from docutils.core import publish_parts
from jinja2 import Environment
from PIL import Image

from lra.core.errors import LRAError
from lra.core.files import write_beside
from lra.core.formats import listed
from lra.core.unique import distinct, unique
from lra.report.glance import accuracies, findings
from lra.report.html import asset, head
from lra.report.item import Item
from lra.results import layout
from lra.results.records import ScoreRow, read_table
from lra.stats.published import LEVEL

SCALE = 140 / 300  # pixels of the screen for one pixel of a figure, at 300 pixels an inch


def write(
    root: Path, tables: Sequence[Item], figures: Sequence[Item], captions: Path, out: Path
) -> None:
    """Write the page of the experiment in `root`, with tables and figures in the order given.

    captions: folder with workflow.rst, table.rst and figure.rst.
    Raises LRAError naming the file that is missing or not a table's page.
    """
    configuration = _configuration(root)
    templates = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = templates.from_string(asset("page.html"))
    content = page.render(
        experiment=root.name,
        result=_result(root),
        overview=caption(captions / "workflow.rst", configuration, {}),
        tables=[_table(root, item, captions, configuration) for item in tables],
        figures=[_figure(root, item, captions, configuration) for item in figures],
        style=asset("page.css"),
        head=head(),
    )
    write_beside(out, content.encode())


def _configuration(root: Path) -> dict[str, object]:
    """The keys of the configuration that captions use, from the scores."""
    path = root / layout.PARQUET.format(what="scores")
    rows = read_table(path, ScoreRow).to_pylist()
    found = {f"{column}s": distinct(rows, column) for column in ("task", "model", "seed")}
    return found | {"experiment": root.name, "protocol": listed(distinct(rows, "protocol"))}


def _result(root: Path) -> dict[str, object]:
    """What was found; counts of verdicts in the accuracy table, and on the published values."""
    every = accuracies(root)
    lines = [x for x in every if x["task"] != "average"]
    verdicts = Counter(x["verdict"] for x in lines)
    known = {"n": len(lines), "ok": verdicts["ok"], "chance": verdicts["FAIL"]}
    published = Counter(x["replication"] for x in lines if x["replication"])
    known |= {v: published[v] for v in ("reproduced", "above", "below", "inconclusive")}
    unsure = [x for x in lines if x["replication"] == "inconclusive"]
    wide = [float(x["high_90"]) - float(x["low_90"]) for x in unsure if x["low_90"]]
    whys = unique(x["replication_why"] for x in unsure)
    if wide:
        whys.append(f"{LEVEL:g} % intervals are up to {max(wide):.1f} points wide")
    known |= {"unsure": "; ".join(whys)}
    odd = [x["replication_why"] for x in lines if x["replication"] == "not comparable"]
    known |= {"compared": published.total() - len(odd), "odd": len(odd)}
    return known | {"why": "; ".join(unique(odd)), "findings": findings(every, root)}


def _table(root: Path, item: Item, captions: Path, configuration: dict) -> dict[str, str]:
    path = root / f"{layout.TABLE.format(table=item.name)}.html"
    body = re.search(r"<body>(.*)</body>", _read(path), re.DOTALL)
    if not body:
        raise LRAError(f"{path}: not the page of a table; delete it to make it again")
    see = caption(captions / "table.rst", configuration, {"table": item.name})
    return {"name": item.name, "title": item.title, "body": body[1], "see": see}


def _figure(root: Path, item: Item, captions: Path, configuration: dict) -> dict[str, object]:
    path = root / f"{layout.FIGURE.format(figure=item.name)}.png"
    try:
        with Image.open(path) as image:
            width, height = (round(SCALE * side) for side in image.size)
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise LRAError(f"{path}: cannot be read: {error.strerror or error}") from None
    see = caption(captions / "figure.rst", configuration, {"figure": item.name})
    plain = html.unescape(" ".join(re.sub(r"<[^>]*>", "", see).split()))
    own = {"name": item.name, "title": item.title, "see": see, "plain": plain or item.title}
    return own | {"data": data, "width": width, "height": height}


def caption(path: Path, configuration: dict, wildcards: dict) -> str:
    """HTML of a caption, as in Snakemake's report."""
    snakemake = {"config": configuration, "wildcards": wildcards}
    text = Environment().from_string(_read(path)).render(snakemake=snakemake)
    settings = {"report_level": 5, "file_insertion_enabled": False, "raw_enabled": False}
    return publish_parts(text, writer="html5", settings_overrides=settings)["body"]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise LRAError(f"{path}: {error.strerror}") from None
