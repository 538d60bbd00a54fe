"""Verbs that write what is generated from the code: schemas, the page of mechanisms."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import get_args, get_type_hints

import typer

from lra import attention
from lra.attention import Info

app = typer.Typer()
HEAD = """\
# Attention mechanisms

One file per mechanism. N is the sequence length; the other sizes in the complexity are options of
the mechanism. A mechanism with a causal version can be built so that no token sees a later one.

`lra mechanisms` generates this page from the `INFO` of each file; a test fails where they differ.
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


@app.command()
def schemas(out: Path) -> None:
    """Write the JSON Schema of every kind of file below config/ and of every record."""
    from lra.config.schema import SCHEMAS, schema
    from lra.core.files import write_beside

    for name in SCHEMAS:
        text = json.dumps(schema(name), indent=2) + "\n"
        write_beside(out / f"{name}.schema.json", text.encode())


@app.command()
def mechanisms(out: Path) -> None:
    """Write the page of all attention mechanisms, by family."""
    from lra.core.files import write_beside

    write_beside(out, page().encode())
