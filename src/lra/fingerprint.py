"""What one cell's result depends on, as a hash over code.

The project modules that a stage imports, directly or through others, are read as parsed syntax
without comments, docstrings and formatting. Nothing is imported, so this is fast enough to plan
with, and a mechanism that is not used is no dependency.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent


def fingerprint(*roots: str, source: Path = SOURCE) -> str:
    """16 hex digits over the syntax of `roots` ("lra.train") and all that they import."""
    digest = hashlib.sha256()
    for module in modules(*roots, source=source):
        digest.update(f"{module}\n{_syntax(_file(module, source))}\n".encode())
    return digest.hexdigest()[:16]


def parts(*roots: str, source: Path = SOURCE) -> dict[str, str]:
    """What `fingerprint` hashes, by file below `source`: two codes differ where these do."""
    files = [_file(module, source) for module in modules(*roots, source=source)]
    return {path.relative_to(source).as_posix(): _syntax(path) for path in files}


def stage(name: str, mechanism: str | None = None) -> str:
    """Of a stage's module (`train`, `data.listops`), with the mechanism that it builds by name."""
    return fingerprint(f"lra.{name}", *([f"lra.attention.{mechanism}"] if mechanism else []))


def generator(name: str) -> str:
    """Of a generated data set: the driver and the task's module, which it finds by name."""
    return fingerprint("lra.data.generate", f"lra.data.{name}")


def reader(module: str) -> str:
    """Of a prepared data set, likewise."""
    return fingerprint("lra.data.prepare", f"lra.data.{module}")


def modules(*roots: str, source: Path = SOURCE) -> list[str]:
    """The project's modules among the transitive imports of `roots`, with their packages."""
    found: set[str] = set()
    ours = {path.stem for path in source.iterdir()}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module in found or _file(module, source) is None:
            continue
        found.add(module)
        names = _imports(_file(module, source))
        waiting += [name for name in names if name.partition(".")[0] in ours]
        if "." in module:
            waiting.append(module.rpartition(".")[0])
    missing = [root for root in roots if root not in found]
    if missing:
        raise ValueError(f"no module {missing[0]} below {source}")
    return sorted(found)


def _file(module: str, source: Path) -> Path | None:
    stem = source.joinpath(*module.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(path: Path) -> tuple[str, ...]:
    return _read(path, path.stat().st_mtime_ns)[0]


def _syntax(path: Path) -> str:
    return _read(path, path.stat().st_mtime_ns)[1]


@cache
def _read(path: Path, mtime: int) -> tuple[tuple[str, ...], str]:
    """Every module that a file may import, and its syntax without docstrings.

    `from a import b` may mean the module a.b.
    """
    names: list[str] = []
    tree = ast.parse(path.read_text(), str(path))
    waiting: list[ast.AST] = [tree]
    while waiting:  # statements alone: a walk through expressions takes five times as long
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}:{node.lineno}: relative import; write it absolute")
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, part, [])
            inner[:] = [statement for statement in inner if not _is_text(statement)]
            waiting += inner
    return tuple(names), ast.unparse(tree)


def _is_text(node: ast.AST) -> bool:
    """A string that stands alone as a statement: a docstring."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
