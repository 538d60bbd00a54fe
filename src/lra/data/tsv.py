"""TSV files in an archive, a block at a time: no quoting, as LRA's have none."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pyarrow import csv

from lra.data.archives import members
from lra.errors import LRAError

BLOCK = 4 << 20  # bytes; no line is longer


def tsv_batches(
    archive: Path, names: Collection[str], columns: dict[str, pa.DataType], header: bool
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(name, rows) of the files of these names, in whatever folder, until all have been read.

    columns: name -> type, in the file's order where it has no `header`. Raises LRAError naming
    archive and file for a missing file or column, and for a line that is not of these columns.
    """
    found = set()
    parse = csv.ParseOptions(delimiter="\t", quote_char=False)
    read = csv.ReadOptions(column_names=None if header else list(columns), block_size=BLOCK)
    convert = csv.ConvertOptions(
        column_types=columns, include_columns=list(columns), strings_can_be_null=False
    )
    for path, file in members(archive, lambda path: PurePosixPath(path).name in names):
        name = PurePosixPath(path).name
        found.add(name)
        try:
            for batch in csv.open_csv(file, read, parse, convert):
                yield name, batch
        except KeyError as error:
            raise LRAError(f"{archive}: {name}: {error.args[0]}") from None
        except pa.ArrowInvalid as error:
            raise LRAError(f"{archive}: {name}: {str(error).splitlines()[0]}") from None
        if found == set(names):
            return  # what follows may be gigabytes of other tasks
    raise LRAError(f"{archive}: has no {min(set(names) - found)}")
