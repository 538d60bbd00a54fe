"""What was found, tables and figures with their captions on one HTML page, without a network.

Snakemake's own report shows one file at a time, covers a phone's screen with its menu, has no dark
mode and contains the time at which it was made. This page scrolls, and the same results give the
same bytes.
"""

from __future__ import annotations

import base64
import html
import io
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
from lra.report.inline_svg import GROUNDS, Inline, inline
from lra.report.item import Item
from lra.results import layout
from lra.results.points import KINDS, read_fast
from lra.results.rates import read_chosen
from lra.stats.published import LEVEL

COLUMN = 252.0  # points: the width of a figure of one column (figures/style.py)
GREYS = 16  # of a contact sheet on the page


def write(
    root: Path, tables: Sequence[Item], figures: Sequence[Item], captions: Path, out: Path
) -> None:
    """Write the page of the experiment in `root`, with tables and figures in the order given.

    captions: folder with workflow.rst, tokens.rst, table.rst and figure.rst. What has nothing to
    show is left out, with its reason. Contact sheets are shown where the data folder beside `root`
    has them. Raises LRAError naming the file that is missing or not a table's page.
    """
    rows = read_chosen(root / layout.PARQUET.format(what="scores"))
    configuration = _configuration(root, rows)
    drawings = {
        item.name: inline(root / f"{layout.FIGURE.format(figure=item.name)}.svg", item.name)
        for item in figures
    }
    shown = [item for item in figures if not drawings[item.name].nothing]
    bodies = {item: _body(root, item) for item in tables}
    empty = {item: why for item, body in bodies.items() if (why := _without_rows(body))}
    empty |= {item: drawings[item.name].nothing for item in figures if item not in shown}
    templates = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = templates.from_string(asset("page.html"))
    content = page.render(
        experiment=root.name,
        models=_models(root, rows),
        result=_result(root, tables),
        overview=caption(captions / _overview(rows), configuration, {}),
        tables=[
            _table(item, body, captions, configuration)
            for item, body in bodies.items()
            if item not in empty
        ],
        figures=[_figure(i, drawings[i.name], captions, configuration) for i in shown],
        empty={item.title: why for item, why in empty.items()},
        samples=_samples(root, rows),
        made={
            key: distinct((r for r in rows if r[key]), key)
            for key in ("git_commit", "torch_version", "device")
        },
        style=asset("page.css") + _palette(drawings.values()),
        head=head(),
        script=asset("filter.js"),
    )
    write_beside(out, content.encode())


def _overview(rows: list[dict]) -> str:
    return "tokens.rst" if any(row["objective"] for row in rows) else "workflow.rst"


def _configuration(root: Path, rows: list[dict]) -> dict[str, object]:
    """The keys of the configuration that captions use, from the scores."""
    found = {f"{column}s": distinct(rows, column) for column in ("task", "model", "seed")}
    return found | {"experiment": root.name, "protocol": listed(distinct(rows, "protocol"))}


def _models(root: Path, rows: list[dict]) -> list[str]:
    """Of all tables and figures: those that were trained, and the rows of the profiles."""
    found = distinct(rows, "model")
    for what, (_, kind, _) in KINDS.items():
        path = root / layout.PARQUET.format(what=what)
        found += distinct(read_fast(path, kind), "model") if path.exists() else []
    return unique(found)


def _result(root: Path, tables: Sequence[Item]) -> dict[str, object]:
    """What was found; counts of verdicts in the accuracy table, and on the published values.

    Nothing where there is no such table, as cells predict tokens.
    """
    if not any(item.name == "accuracy" for item in tables):
        return {}
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


def _body(root: Path, item: Item) -> str:
    """Of a table's own page."""
    path = root / f"{layout.TABLE.format(table=item.name)}.html"
    body = re.search(r"<body>(.*)</body>", _read(path), re.DOTALL)
    if not body:
        raise LRAError(f"{path}: not the page of a table; delete it to make it again")
    return body[1]


def _without_rows(body: str) -> str:
    """The sentence that stands in place of a table's rows; empty where it has some."""
    if not re.search(r"<tbody[^>]*>\s*</tbody>", body):
        return ""
    return html.unescape(re.search(r'<span class="wrap">(.*?)</span>', body, re.DOTALL)[1])


def _table(item: Item, body: str, captions: Path, configuration: dict) -> dict[str, object]:
    stem = layout.TABLE.format(table=item.name)
    see = caption(captions / "table.rst", configuration, {"table": item.name})
    table = re.sub(r"<style>.*?</style>", "", body, flags=re.DOTALL)  # page.css has one for all
    links = {form: f"{stem}.{form}" for form in ("csv", "md", "tex")}
    return {"name": item.name, "title": item.title, "body": table, "see": see, "links": links}


def _figure(item: Item, drawing: Inline, captions: Path, configuration: dict) -> dict[str, object]:
    stem = layout.FIGURE.format(figure=item.name)
    see = caption(captions / "figure.rst", configuration, {"figure": item.name})
    plain = html.unescape(" ".join(re.sub(r"<[^>]*>", "", see).split())) or item.title
    links = {form: f"{stem}.{form}" for form in ("svg", "png", "pdf")}
    own = {"name": item.name, "title": item.title, "see": see, "links": links}
    svg = drawing.markup.replace("<svg", f'<svg aria-label="{html.escape(plain)}"', 1)
    return own | {
        "svg": svg,
        "narrow": drawing.narrow,
        "notes": drawing.notes,
        "wide": drawing.width > COLUMN,
    }


def _samples(root: Path, rows: list[dict]) -> dict[str, str]:
    """Contact sheets by task, as PNG in base64 of few greys."""
    found = {}
    for row in rows:
        sheet = root.parent / Path(layout.DATA).name / row["dataset"] / "contact_sheet.png"
        if row["task"] in found or not sheet.exists():
            continue
        content = io.BytesIO()
        with Image.open(sheet) as image:
            image.convert("L").quantize(GREYS).save(content, "PNG", optimize=True)
        found[row["task"]] = base64.b64encode(content.getvalue()).decode()
    return found


def _palette(drawings) -> str:
    """The figures' colours in both schemes, as CSS variables."""
    colours = {key: value for drawing in drawings for key, value in drawing.colours.items()}
    light, dark = (
        "".join(f"{key}:{colours[key][scheme]};" for key in sorted(colours)) for scheme in GROUNDS
    )
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


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
