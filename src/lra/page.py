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

from lra import sortable
from lra.errors import LRAError
from lra.files import write_beside
from lra.records import ScoreRow, read_table

SCALE = 140 / 300  # pixels of the screen for one of the figure, which has 300 to the inch


def write(
    root: Path, tables: Sequence[str], figures: Sequence[str], texts: Path, out: Path
) -> None:
    """Write the page of the experiment in `root`, in the order of the names given.

    `texts` holds page.html, workflow.rst, figure.rst and where there is one table_<name>.rst.
    Raises LRAError naming the file that is missing or not a table's page.
    """
    facts = _facts(root)
    templates = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = templates.from_string(_read(texts / "page.html"))
    content = page.render(
        facts=facts,
        result=_result(root / "tables/accuracy.csv") if "accuracy" in tables else None,
        overview=caption(texts / "workflow.rst", facts, {}),
        tables=[_table(root, name, texts, facts) for name in tables],
        figures=[_figure(root, name, texts, facts) for name in figures],
        head=sortable.HEAD,
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


def _table(root: Path, name: str, texts: Path, facts: dict) -> dict[str, str]:
    path = root / "tables" / f"{name}.html"
    text = _read(path)
    body = re.search(r"<body>(.*)</body>", text, re.DOTALL)
    title = re.search(r"<title>(.*?)</title>", text)
    if not body or not title:
        raise LRAError(f"{path}: not the page of a table; delete it to make it again")
    own = texts / f"table_{name}.rst"
    see = caption(own, facts, {"table": name}) if own.exists() else ""
    return {"name": name, "title": html.unescape(title[1]), "body": body[1], "see": see}


def _figure(root: Path, name: str, texts: Path, facts: dict) -> dict[str, object]:
    path = root / "figures" / f"{name}.png"
    try:
        with Image.open(path) as image:
            width, height = (round(SCALE * side) for side in image.size)
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise LRAError(f"{path}: cannot be read: {error.strerror or error}") from None
    see = caption(texts / "figure.rst", facts, {"figure": name})
    plain = " ".join(re.sub(r"<[^>]*>", "", see).split())
    own = {"name": name, "title": name.replace("_", " ").capitalize(), "see": see}
    own |= {"plain": html.unescape(plain)}
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
