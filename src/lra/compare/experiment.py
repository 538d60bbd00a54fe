"""A finished experiment, read back: from its folder, or from an archive of it."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from lra.core.errors import LRAError
from lra.core.schema import leaves
from lra.results.records import PredictionRow, ScoreRecord, ScoreRow, read_record, read_table

Key = tuple[str, str, int]  # task, model, seed


@dataclass(frozen=True)
class Finished:
    """The files of one experiment, as results/README.md has them."""

    name: str  # what the user called it
    root: Path
    rows: dict[Key, dict]  # of scores.parquet

    def cell(self, key: Key) -> Path:
        task, model, seed = key
        return self.root / "cells" / task / model / f"seed{seed}"

    def dataset(self, name: str) -> Path:
        """What says which bytes the data set has now; it may have been made anew since."""
        return self.root.parent / "data" / name / "dataset.json"

    @property
    def source(self) -> Path:
        """The code in the checkout or archive that the results lie in, if they lie in one."""
        top = self.root.parent.parent
        return top / "source/src" if (top / "source").is_dir() else top / "src"

    def config(self, key: Key) -> dict[str, object] | None:
        """`encoder.dim` -> value; None where the cell has no config.yaml.

        It is not read as a `Cell`, for other versions of this code have other keys.
        """
        path = self.cell(key) / "config.yaml"
        if not path.exists():
            return None
        try:
            return dict(leaves(yaml.safe_load(path.read_text())))
        except (yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
            raise LRAError(f"{path}: no configuration: {' '.join(str(error).split())}") from None

    def score(self, key: Key) -> ScoreRecord | None:
        path = self.cell(key) / "score.json"
        return read_record(path, ScoreRecord) if path.exists() else None

    def answers(self, key: Key) -> tuple[np.ndarray, np.ndarray] | None:
        """Labels and predictions of the test examples; None where they were not kept."""
        path = self.cell(key) / "predictions.parquet"
        if not path.exists():
            return None
        table = read_table(path, PredictionRow)
        row = self.rows[key]
        if row["status"] == "ok" and len(table) != row["n_test"]:
            raise LRAError(f"{path}: has {len(table)} rows, scores.parquet says {row['n_test']}")
        return table["label"].to_numpy(), table["prediction"].to_numpy()

    def checkpoint(self, key: Key) -> bytes | None:
        path = self.cell(key) / "checkpoint.safetensors"
        return path.read_bytes() if path.exists() else None

    def every(self, column: str) -> list:
        """The distinct values of a column of scores.parquet, in its order."""
        return list(dict.fromkeys(row[column] for row in self.rows.values()))


@contextmanager
def finished(path: Path) -> Iterator[Finished]:
    """Read a folder like results/quick, or a zip with one such folder below results/.

    What a zip holds is unpacked for as long as the context lasts. Raises LRAError naming the file
    where it is neither, or is damaged.
    """
    if path.is_dir():
        yield _read(path.resolve(), str(path))
        return
    if not path.exists():
        raise LRAError(f"{path}: no such folder or archive")
    with tempfile.TemporaryDirectory(prefix="lra-") as folder:
        try:
            yield _read(_unpack(path, Path(folder)), str(path))
        except LRAError as error:
            raise LRAError(str(error).replace(folder, str(path))) from None


def _read(root: Path, name: str) -> Finished:
    path = root / "scores.parquet"
    if not path.exists():
        raise LRAError(f"{path}: no such file; {name} is no finished experiment")
    rows = read_table(path, ScoreRow).to_pylist()
    return Finished(name, root, {(row["task"], row["model"], row["seed"]): row for row in rows})


def _unpack(path: Path, folder: Path) -> Path:
    """Unpack what is read here; return the experiment's folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            tables = [Path(name) for name in names if Path(name).name == "scores.parquet"]
            roots = [table.parent for table in tables if table.parent.parent.name == "results"]
            if len(roots) != 1:
                found = ", ".join(map(str, roots)) or "none"
                raise LRAError(f"{path}: not one experiment below results/ but: {found}")
            root = roots[0]
            top = root.parent.parent
            parts = (root, root.parent / "data", top / "source/src")
            folders = tuple(f"{part.as_posix()}/" for part in parts)
            wanted = [n for n in names if n.startswith(folders) and not n.endswith((".arrow", "/"))]
            archive.extractall(folder, wanted)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise LRAError(f"{path}: not a whole zip archive ({error})") from None
    return folder / root
