"""What a new table of results would no longer have: a run of fewer cells must not replace a whole
experiment's tables unseen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lra.config.cell import profile_row
from lra.core.errors import LRAError

CELLS, POINTS = ("task", "model", "seed"), ("model", "setting", "length")
COLUMNS = {  # that tell the rows of a table apart; history has the rows of scores
    "scores": CELLS, "span": CELLS, "generate": CELLS, "parts": CELLS, "baselines": ("task",),
    "speed": POINTS, "memory": POINTS, "decode": POINTS, "directions": POINTS,
}  # fmt: skip


def refuse_fewer(table: Path, rows: Iterable[tuple]) -> None:
    """Raise LRAError where the Parquet file `table` has others beside `rows`.

    rows: (task, model, seed), (task,) or (profile row, length), as `table` is collected from.
    """
    columns = COLUMNS.get(table.stem)
    if columns is None or not table.exists():
        return
    import pyarrow as pa  # only where there is a table
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(table, columns=list(columns)).to_pylist()
    except (pa.ArrowInvalid, OSError):  # nobody can read it, so nothing gets lost
        return
    keys = [tuple(row.get(name) for name in columns) for row in found]
    if columns == POINTS:
        keys = [(profile_row(model, setting), length) for model, setting, length in keys]
    wanted = set(rows)
    lost = [key for key in dict.fromkeys(keys) if key not in wanted]
    if lost:
        first = "/".join(map(str, lost[0]))
        raise LRAError(
            f"{table}: has {len(lost)} entries that this run leaves out, the first is {first}; for "
            "tables of their own name the run (--config experiment=NAME), for none ask for the "
            f"target cells, for smaller ones delete {table.parent}/*.parquet"
        )
