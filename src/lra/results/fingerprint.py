"""What one result depends on, as a hash over code.

The modules of this project that a stage imports, directly or through others, are read as parsed
syntax without comments, docstrings and formatting. Nothing is imported, so this is fast enough to
plan with, and a mechanism that is not used is no dependency.

A module is hashed with what it imports from this project, each as (hash of the imported module,
name in it, name here), and not with the dotted name of any module: moving a file changes nothing.
Where in a file such an import stands, and in which order, does not count either.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lra.attention import steps
from lra.config.cell import Cell
from lra.core.errors import LRAError

SOURCE = Path(__file__).resolve().parents[2]
STAGES = {
    "pretrain": "lra.training.pretraining",
    "train": "lra.training.loop",
    "train_tokens": "lra.training.tokens",
    "evaluate": "lra.evaluation.accuracy",
    "evaluate_tokens": "lra.evaluation.tokens",
    "span": "lra.evaluation.attention_span",
    "generate_tokens": "lra.evaluation.generate",
    "baseline": "lra.evaluation.baselines",
    "floor": "lra.evaluation.floors",
    "profile": "lra.evaluation.profile",
    "decode": "lra.evaluation.decode",
    "collect": "lra.results.collect",
    "table": "lra.report.tables.write",
    "figure": "lra.report.figures.draw",
    "page": "lra.report.page",
    "archive": "lra.archive.write",
    "contact_sheet": "lra.data.contact_sheet",
    "generate": "lra.data.generate",
    "prepare": "lra.data.prepare",
}
PAGES = (".html", ".css", ".js")  # in a package's folder: part of the package


_own: dict[str, str] = {}  # of this process's own code, which it reads once: module -> hash


class Import(NamedTuple):
    """`import module as bound`, or `from module import name as bound`"""

    module: str
    name: str | None
    bound: str


def fingerprint(*roots: str, source: Path = SOURCE) -> str:
    """16 hex digits over the syntax of `roots` ("lra.training.loop") and all that they import.

    Raises ValueError where a root is missing or modules import each other in a circle.
    """
    known = _own if source == SOURCE else {}
    for root in roots:
        if _file(root, source) is None:
            raise ValueError(f"no module {root} below {source}")
    digests = sorted({_digest(root, source, known, ()) for root in roots})
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


def stage(name: str, extra: str | None = None) -> str:
    """Of a stage (a key of STAGES), with what it imports by name; see `roots`."""
    return fingerprint(*roots(name, extra))


def roots(name: str, extra: str | None = None) -> list[str]:
    """The modules of a stage that nothing else of it imports, but by name.

    extra: a mechanism, for the stages that build one; a module of lra.data for generate and
    prepare; a module of lra.report for table and figure.
    """
    package = {"generate": "data", "prepare": "data", "table": "report", "figure": "report"}
    by_name = [f"lra.{package.get(name, 'attention')}.{extra}"] if extra else []
    by_name += [steps.module(extra)] if name == "decode" and extra else []
    return [STAGES[name], *by_name]


def of_cell(name: str, cell: Cell) -> str:
    """Of a cell's training, pretraining or scoring; tokens have code of their own."""
    return stage(f"{name}_tokens" if cell.predicts_tokens else name, cell.encoder.attention)


def of_generation(cell: Cell, module: str) -> str:
    """Of what a cell generates, with its step form where it has steps.

    module: of lra.data, of the cell's data: it may judge sequences.
    """
    mechanism = cell.encoder.attention
    by_name = [f"lra.attention.{mechanism}", f"lra.data.{module}"]
    if cell.training.objective == "next":
        by_name.append(steps.module(mechanism))
    return fingerprint(STAGES["generate_tokens"], *by_name)


def agreed(planned: str | None, found: str) -> str:
    """`found`, or LRAError where the code is not the one that was planned with."""
    if planned is not None and planned != found:
        raise LRAError(
            f"the code changed after the plan was made (fingerprint {planned}, now {found}); "
            "run snakemake again"
        )
    return found


def modules(*roots: str, source: Path = SOURCE) -> list[str]:
    """The project's modules among the transitive imports of `roots`, with their packages."""
    known: dict[str, str] = {}
    for root in roots:
        _digest(root, source, known, ())
    return sorted(known)


def parts(*roots: str, source: Path = SOURCE) -> dict[str, str]:
    """What `fingerprint` reads, by file below `source`: two codes differ where these do."""
    files = {_file(module, source) for module in modules(*roots, source=source)}
    return {path.relative_to(source).as_posix(): _read(path, _stamp(path))[1] for path in files}


def _digest(module: str, source: Path, known: dict[str, str], above: tuple[str, ...]) -> str:
    if module in known:
        return known[module]
    if module in above:
        raise ValueError(f"modules import each other: {' -> '.join([*above, module])}")
    path = _file(module, source)
    imports, syntax = _read(path, _stamp(path))
    lines = set()
    for each in imports:
        inner = f"{each.module}.{each.name}"
        if each.name and _file(inner, source):  # `from a import b` may mean the module a.b
            of, name = inner, None
        else:
            of, name = each.module, each.name
        if _file(of, source):
            lines.add(f"{_digest(of, source, known, (*above, module))} {name} {each.bound}")
    parent = module.rpartition(".")[0]
    while parent:  # importing a module runs its packages first
        if _read(_file(parent, source), _stamp(_file(parent, source)))[1]:
            lines.add(_digest(parent, source, known, (*above, module)))
        parent = parent.rpartition(".")[0]
    text = "\n".join([syntax, *sorted(lines)])
    known[module] = hashlib.sha256(text.encode()).hexdigest()
    return known[module]


def _file(module: str, source: Path) -> Path | None:
    stem = source.joinpath(*module.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file, or an asset of its package, is edited."""
    return tuple(each.stat().st_mtime_ns for each in (path, *_assets(path)))


def _assets(path: Path) -> list[Path]:
    """Files that a module reads: those of its own name, and a package's pages."""
    if path.name == "__init__.py":
        return sorted(file for file in path.parent.iterdir() if file.suffix in PAGES)
    return [file for file in sorted(path.parent.glob(f"{path.stem}.*")) if file.suffix == ".csv"]


@cache
def _read(path: Path, stamp: tuple[int, ...]) -> tuple[tuple[Import, ...], str]:
    """Every import of this project's modules in a file, and the file's syntax without them.

    It ends with the module's assets.
    """
    imports: list[Import] = []
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    waiting: list[ast.AST] = [tree]
    while waiting:  # statements alone: a walk through expressions takes five times as long
        node = waiting.pop()
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, part, [])
            kept = []
            for statement in inner:
                found = _imports(path, statement)
                imports += found
                if not found and not _is_text(statement):
                    kept.append(statement)
            inner[:] = kept
            waiting += kept
    assets = [asset.read_text(encoding="utf-8") for asset in _assets(path)]
    return tuple(imports), "\n".join([ast.unparse(tree), *assets]).strip()


def _imports(path: Path, node: ast.AST) -> list[Import]:
    """What a statement imports from this project."""
    if isinstance(node, ast.ImportFrom) and node.level:
        raise ValueError(f"{path}:{node.lineno}: relative import; write it absolute")
    if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "lra":
        return [Import(node.module, each.name, each.asname or each.name) for each in node.names]
    if isinstance(node, ast.Import) and node.names[0].name.partition(".")[0] == "lra":
        return [Import(each.name, None, each.asname or each.name) for each in node.names]
    return []


def _is_text(node: ast.AST) -> bool:
    """A string that stands alone as a statement: a docstring."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
