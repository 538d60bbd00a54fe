"""Writes the three files of a figure: SVG, PNG and PDF."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib

from lra.core.files import write_beside
from lra.report.figures import style
from lra.report.item import Item

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
        for suffix, metadata in FORMS.items():
            content = io.BytesIO()
            figure.savefig(content, format=suffix, metadata=metadata)
            write_beside(stem.with_name(f"{stem.name}.{suffix}"), content.getvalue())
