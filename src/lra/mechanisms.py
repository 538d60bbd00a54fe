"""The page of all mechanisms by family, from each one's `INFO` and its file's first line."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args, get_type_hints

from lra import attention
from lra.attention import Info

HEAD = """\
# Mechanisms

One file each, as its paper describes it. Complexity in sequence length N; sizes named in it are the
mechanism's options. Generated from each file's `INFO` by `lra mechanisms`; a test fails on drift.
"""


def page() -> str:
    """Markdown: one table per family."""
    parts = [HEAD]
    infos = {name: attention.info(name) for name in attention.names()}
    for family in get_args(get_type_hints(Info)["family"]):
        rows = [_row(name, info) for name, info in infos.items() if info.family == family]
        if rows:
            columns = "| name | mechanism | paper | complexity | causal version |"
            parts += [f"## {family.capitalize()}\n", columns, "|---|---|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _row(name: str, info: Info) -> str:
    source = (Path(attention.__file__).with_name(f"{name}.py")).read_text()
    title = ast.get_docstring(ast.parse(source)).split("\n\n")[0].split("(")[0].strip(" \n.:")
    causal = "yes" if info.causal else "no"
    return f"| [{name}]({name}.py) | {title} | {info.paper} | {info.complexity} | {causal} |"
