"""`lra resolve`: a cell as text, with the file of each value and what the protocol's source has."""

from __future__ import annotations

from lra.config import protocol_source
from lra.config.resolve import Arena
from lra.core.errors import one_of
from lra.core.schema import leaves


def annotated(arena: Arena, task: str, model: str, seed: int | None = None) -> str:
    """A cell as YAML; behind each key the file that it comes from, and what the source has.

    seed: None is the experiment's first.
    """
    seed = arena.experiment.seeds[0] if seed is None else seed
    one_of(f"{arena.where}: tasks", task, arena.experiment.tasks)
    one_of(f"{arena.where}: models", model, arena.experiment.trained)
    cell, files = arena.resolve(task, model, seed)
    table = protocol_source.path(arena.root / "config/reference", arena.experiment.protocol)
    sourced = protocol_source.read(table)
    theirs = protocol_source.of_cell(sourced, [arena.tasks[task], task], model)
    lines = []
    for key, value in leaves(cell.model_dump(mode="json")):
        line = f"{key + ':':32} {value!s:24} # {files.get(key, 'default')}"
        if key in theirs:
            found = theirs[key]
            line += f"; source: {found.value} ({found.source})"
            line += f", not so here: {found.reason}" if found.differs else ""
        lines.append(line)
    return "\n".join(lines)
