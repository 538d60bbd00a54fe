"""Writes the three files of a figure: SVG, PNG and PDF."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import pyarrow.parquet as pq

from lra.config.rates import unswept
from lra.core.files import write_beside
from lra.report.figures import style
from lra.report.figures.marks import annotate, mark
from lra.report.figures.pieces import pieces
from lra.report.item import PARQUET, Item
from lra.results import layout

FORMS = {  # without the metadata that differ from run to run
    "svg": {"Date": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
}


def draw(item: Item, root: Path, stem: Path, reference: Path) -> None:
    """Write a figure of the registry, of the experiment in `root`: STEM.svg, .png and .pdf.

    reference: csv of published accuracies. The same results give the same bytes.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own settings are
        matplotlib.rcParams.update(style.STYLE)
        figure = item.make(root, reference)
        marks = mark(figure, _models(item, root))
        cut = pieces(figure) if figure.get_size_inches()[0] > style.COLUMN else {}
        for suffix, metadata in FORMS.items():
            content = io.BytesIO()
            figure.savefig(content, format=suffix, metadata=metadata)
            written = content.getvalue()
            written = annotate(written, marks, cut) if suffix == "svg" else written
            write_beside(stem.with_name(f"{stem.name}.{suffix}"), written)


def _models(item: Item, root: Path) -> set[str]:
    """Of which models there are rows in what the figure reads."""
    of_models = {*PARQUET} - {"baselines"}
    tables = [root / layout.PARQUET.format(what=what) for what in item.reads if what in of_models]
    found = (pq.read_table(path, columns=["model"])["model"].unique() for path in tables)
    return {unswept(model)[0] for models in found for model in models.to_pylist()}
