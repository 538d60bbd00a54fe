"""Verbs that write what is generated from the code: JSON schemas, and two parts of README.md."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import typer

from lra import attention
from lra.attention import Info, steps
from lra.cli.options import MAKERS
from lra.core.errors import LRAError

app = typer.Typer()
STAGES = {  # of rules that do not have their stage's name
    "download": "data",
    "prepare": "data",
    "generate": "data",
    "contact_sheet": "data",
    "measure_span": "span",
    "table": "tables",
    "figure": "figures",
}


def mechanisms() -> str:
    """Markdown table of all attention mechanisms by family, oldest first."""
    families = get_args(get_type_hints(Info)["family"])
    rows = []
    for name in attention.names():
        info = attention.info(name)
        authors, year, arxiv = re.match(r"(.+?) ?(\d{4})?(?:, arXiv:(\S+))?$", info.paper).groups()
        paper = f"[{authors}](https://arxiv.org/abs/{arxiv})" if arxiv else authors
        causal = f"yes, {steps.kind(name)}" if info.causal else "no"
        row = f"| [{name}](src/lra/attention/{name}.py) | {_title(name)}, {paper} | {year or '-'} "
        row += f"| {info.family} | {info.complexity} | {causal} |"
        rows.append((families.index(info.family), year or "", row))
    head = "| model | mechanism, paper | year | family | cost | causal |\n|---|---|---|---|---|---|"
    return "\n".join([head, *(row for *_, row in sorted(rows))])


def _title(name: str) -> str:
    """The beginning of a mechanism's docstring, up to a colon, bracket or empty line."""
    source = Path(attention.__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return re.split(r"[:(]|\.?\n\n|\.$", ast.get_docstring(ast.parse(source)))[0].strip()


def diagram(root: Path) -> str:
    """The stages of the default experiment as a Mermaid flowchart, from Snakemake's graph of rules.

    An arrow that others imply is left out. A stage without an arrow to it reads config/ alone.
    """
    command = ["-m", "snakemake", "--forceall", "--rulegraph", "mermaid-js", "--", "archive"]
    done = subprocess.run([sys.executable, *command], cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise LRAError(f"snakemake --rulegraph: {done.stderr.strip().splitlines()[-1]}")
    rules = dict(re.findall(r"(id\d+)\[(\w+)\]", done.stdout))
    stages = {key: STAGES.get(rule, rule) for key, rule in rules.items()}
    pairs = re.findall(r"(id\d+) --> (id\d+)", done.stdout)
    edges = {(stages[a], stages[b]) for a, b in pairs if stages[a] != stages[b]}
    edges |= {("config", stage) for stage in set(stages.values()) - {b for _, b in edges}}
    paths = set(edges)
    while longer := {(a, d) for a, b in paths for c, d in edges if b == c} - paths:
        paths |= longer
    edges -= {(a, d) for a, b in edges for c, d in paths if b == c}
    targets: dict[str, list[str]] = {}
    for a, b in sorted(edges):
        targets.setdefault(a, []).append(b)
    order = sorted(targets, key=lambda stage: (sum(b == stage for _, b in paths), stage))
    arrows = [f"    {stage} --> {' & '.join(targets[stage])}" for stage in order]
    return "\n".join(["```mermaid", "flowchart LR", *arrows, "```"])


def replaced(text: str, name: str, block: str) -> str:
    """`text` with `block` between <!-- name --> and <!-- /name -->; LRAError without these."""
    before, start, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not end:
        raise LRAError(f"README.md: has no lines <!-- {name} --> and <!-- /{name} -->")
    return f"{before}{start}\n{block}\n\n{end}{after}"


@app.command(rich_help_panel=MAKERS)
def schemas(out: Path) -> None:
    """Write the JSON Schema of every kind of file below config/ and of every record."""
    from lra.config.schema import SCHEMAS, schema
    from lra.core.files import write_beside

    for name in SCHEMAS:
        text = json.dumps(schema(name), indent=2) + "\n"
        write_beside(out / f"{name}.schema.json", text.encode())


@app.command(rich_help_panel=MAKERS)
def readme(file: Path = Path("README.md")) -> None:
    """Write the generated parts of README.md: the picture of the workflow, the mechanisms."""
    from lra.core.files import write_beside

    text = replaced(file.read_text(encoding="utf-8"), "workflow", diagram(file.resolve().parent))
    write_beside(file, replaced(text, "mechanisms", mechanisms()).encode())
