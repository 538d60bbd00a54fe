"""One table or figure: its name, its module and the files that it reads."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lra.results import layout

# `what` of layout.PARQUET
PARQUET = ("scores", "history", "span", "speed", "memory", "baselines", "parts", "generate",
           "decode", "directions")  # fmt: skip


@dataclass(frozen=True)
class Item:
    """A line of the registry (registry.py).

    The function `name` in `module` takes the paths in `reads`, in that order. It returns a
    matplotlib figure, or for a table a `Table` and the lines of its csv.
    """

    name: str  # of the function and of the files
    title: str
    module: str  # below lra.report
    # of PARQUET; `reference`: csv of published accuracies; `efficiency`: csv of published speeds;
    # `cells`: the experiment's folder, for the predictions of every cell; `data`: that of data sets
    reads: tuple[str, ...]

    def make(self, root: Path, reference: Path) -> Any:
        """Make the table or figure of the experiment in `root`.

        reference: csv of published accuracies; that of published speeds lies beside it.
        """
        places = {what: root / layout.PARQUET.format(what=what) for what in PARQUET}
        places |= {"reference": reference, "efficiency": reference.with_name("efficiency.csv")}
        places |= {"cells": root, "data": root.parent / Path(layout.DATA).name}
        function = getattr(import_module(f"lra.report.{self.module}"), self.name)
        return function(*(places[name] for name in self.reads))
