"""The results of one experiment, read from its folder or from an archive of it."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lra.config.yaml_file import read_yaml
from lra.core.errors import LRAError
from lra.core.schema import leaves
from lra.core.unique import distinct
from lra.results import layout
from lra.results.records import PredictionRow, ScoreRecord, ScoreRow, read_record, read_table

Key = tuple[str, str, int]  # task, model, seed


@dataclass(frozen=True)
class Results:
    """The files of one experiment, by the paths of layout.py."""

    name: str  # as the user wrote it
    root: Path
    rows: dict[Key, dict]  # of scores.parquet

    def file(self, pattern: str, key: Key) -> Path | None:
        """A cell's file; None where it was not kept."""
        task, model, seed = key
        path = self.root / pattern.format(task=task, model=model, seed=seed)
        return path if path.exists() else None

    def dataset(self, name: str) -> Path:
        """The checksums of the data set as it is now, which may be newer than the results."""
        return self.root.parent / "data" / name / "dataset.json"

    @property
    def source(self) -> Path:
        """The code of the checkout or archive that the results lie in, if there is one."""
        top = self.root.parent.parent
        return top / "source/src" if (top / "source").is_dir() else top / "src"

    def config(self, key: Key) -> dict[str, object] | None:
        """`encoder.dim` -> value; None where config.yaml was not kept.

        It is not read as a `Cell`: other versions of this code have other keys.
        """
        path = self.file(layout.CONFIG, key)
        return None if path is None else dict(leaves(read_yaml(path)))

    def score(self, key: Key) -> ScoreRecord | None:
        path = self.file(layout.SCORE_RECORD, key)
        return path and read_record(path, ScoreRecord)

    def answers(self, key: Key) -> tuple[np.ndarray, np.ndarray] | None:
        """Labels and predictions (n_test) of the test examples; None where they were not kept, as
        those of tokens are not."""
        path, row = self.file(layout.PREDICTIONS, key), self.rows[key]
        if path is None or row["objective"]:
            return None
        table = read_table(path, PredictionRow)
        if row["status"] == "ok" and len(table) != row["n_test"]:
            raise LRAError(f"{path}: has {len(table)} rows, scores.parquet says {row['n_test']}")
        return table["label"].to_numpy(), table["prediction"].to_numpy()

    def checkpoint(self, key: Key) -> bytes | None:
        path = self.file(layout.CHECKPOINT, key)
        return path and path.read_bytes()

    def distinct(self, column: str) -> list:
        """The distinct values of a column of scores.parquet."""
        return distinct(self.rows.values(), column)


@contextmanager
def opened(path: Path) -> Iterator[Results]:
    """Read a folder like results/quick, or a zip with one such folder below results/.

    A zip is unpacked for as long as the context lasts. Raises LRAError naming the file where `path`
    is neither, or is damaged.
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


def _read(root: Path, name: str) -> Results:
    path = root / "scores.parquet"
    if not path.exists():
        raise LRAError(f"{path}: no such file; {name} is not a finished experiment")
    rows = read_table(path, ScoreRow).to_pylist()
    return Results(name, root, {(row["task"], row["model"], row["seed"]): row for row in rows})


def _unpack(path: Path, folder: Path) -> Path:
    """Unpack all but the data's splits; return the experiment's folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith(".arrow")]
            archive.extractall(folder, names)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise LRAError(f"{path}: not a whole zip archive ({error})") from None
    roots = [table.parent for table in folder.glob("**/results/*/scores.parquet")]
    if len(roots) != 1:
        found = ", ".join(root.name for root in roots) or "none"
        raise LRAError(f"{path}: one experiment below results/ is needed, found {found}")
    return roots[0]
