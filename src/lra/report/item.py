"""One table or figure: what it is called, which module makes it, what it reads."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

PARQUET = ("scores", "history", "span", "speed", "memory")  # results/<experiment>/<name>.parquet


@dataclass(frozen=True)
class Item:
    """A line of the registry (registry.py).

    The function `name` in `module` takes the paths of what the item reads, in that order. It
    returns a matplotlib figure, or for a table its `Table` and the lines of its csv.
    """

    name: str  # of the function, and of the files
    title: str
    module: str  # below lra.report
    # of PARQUET; `reference`: csv of published accuracies; `efficiency`: csv of published speeds;
    # `cells`: the folder with every cell's predictions
    reads: tuple[str, ...]

    def make(self, root: Path, reference: Path) -> Any:
        """The table or figure of the experiment in `root`.

        reference: csv of published accuracies; that of published speeds lies beside it.
        """
        places = {name: root / f"{name}.parquet" for name in PARQUET}
        places |= {"reference": reference, "efficiency": reference.with_name("efficiency.csv")}
        places |= {"cells": root / "cells"}
        function = getattr(import_module(f"lra.report.{self.module}"), self.name)
        return function(*(places[name] for name in self.reads))
