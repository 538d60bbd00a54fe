"""Every command on a page is planned, parsed or run; one that no class below knows fails.

| command | what the test does with it |
|---|---|
| snakemake | plans it (`-n`), its placeholders filled in |
| lra, of SHORT | runs it to its end |
| lra, any other verb | has its arguments parsed: it trains, downloads or wants results |
| make | `make -n`: it installs from the network |
| pytest | the files that it names must exist: it is run by itself |
| of ELSEWHERE | nothing: it needs a cluster or another program |
| snakemake --sdm conda | plans it without conda |
| one word | nothing: it names a program, or a verb that there must be |
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest
import typer

import warm
from checkout import Checkout, commit_all
from lra.cli.app import app
from tiny import ROOT, slow

PAGES = ["README.md", "CONTRIBUTING.md", "config/README.md", "config/reference/README.md",
         "envs/README.md", "profiles/slurm/README.md", "results/README.md",
         *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]  # fmt: skip
SHORT = {"--help", "resolve", "schemas", "readme", "status", "summary", "depends"}
ELSEWHERE = {"squeue", "scontrol", "apptainer", "."}
KNOWN = {"snakemake", "lra", "make", "python", "pytest", ".venv/bin/python", *ELSEWHERE}
FILLED_IN = {
    "<name>": "linear", "<experiment>": "quick", "<task>": "listops", "<model>": "linear",
    "<k>": "1", "/where/they/are": "/tmp", "ADDRESS": "https://example.org", "--sdm conda": "",
    " ...": "", "CHECKOUT/": "", "--directory FOLDER": "--directory .",
}  # fmt: skip


def commands(page: str) -> Iterator[str]:
    """Those in code spans, and in code blocks without a language but for trees of files."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    for language, block in fenced.findall(text):
        if not language and not re.match(r"[├└]|\S+/\s", block):
            yield from (line for line in block.splitlines() if line.strip())
    for span in re.findall(r"`([^`]+)`", fenced.sub("", text)):
        if program(span) in KNOWN:
            yield span


def words(command: str) -> list[str]:
    """Without the variables before it."""
    found = shlex.split(command)
    while found and re.match(r"[A-Z_]+=", found[0]):
        del found[0]
    return found


def program(command: str) -> str:
    try:
        return next(iter(words(command)), "")
    except ValueError:  # a quotation mark in a code span that is no command
        return ""


def filled_in(command: str) -> str:
    command = re.sub(r"\s+#.*", "", command)
    for placeholder, value in FILLED_IN.items():
        command = command.replace(placeholder, value)
    return " ".join(command.split())


DOCUMENTED = sorted({filled_in(command) for page in PAGES for command in commands(page)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("documented") / "checkout")
    commit_all(checkout.folder)  # an archive records its commit
    return checkout


# In `make test` those of large experiments are left out: a plan of theirs takes seconds.
LARGE = {
    command for command in DOCUMENTED
    if program(command) == "snakemake" and re.search(r"/(paper|ar-paper|reach-full|survey)\.yaml", command)
}  # fmt: skip


@pytest.mark.parametrize("command", [*sorted({*DOCUMENTED} - LARGE), *slow(sorted(LARGE))])
def test_a_documented_command(command, folder):
    assert program(command) in KNOWN, "no test knows this program"
    name, *arguments = words(command)
    if name in ELSEWHERE or not arguments:
        return
    if name == "lra":
        lra(arguments, folder)
    elif name == "make":
        done = subprocess.run(
            ["make", "-n", *arguments], cwd=ROOT, text=True, stdout=-1, stderr=-2, timeout=60
        )
        assert done.returncode == 0, done.stdout
    elif name == "snakemake":
        done = folder.snakemake("-n", *arguments)
        assert done.returncode == 0, done.stdout
        assert "Nothing to be done" not in done.stdout
    else:
        paths = [word for word in arguments if word.startswith("tests/")]
        assert paths
        assert all((ROOT / path).exists() for path in paths)


def lra(arguments: list[str], folder: Checkout) -> None:
    verbs = typer.main.get_command(app)
    if arguments == ["<verb>"]:
        return
    if arguments[0] in SHORT and arguments != ["resolve"] and "FOLDER" not in arguments:
        done = subprocess.run(
            [warm.python(), "-m", "lra.cli", *arguments], cwd=folder.folder, text=True, stdout=-1,
            stderr=-2, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert done.stdout or arguments[0] in ("schemas", "readme")
    elif len(arguments) > 1:
        verb = verbs.commands[arguments[0]]
        verb.make_context(arguments[0], arguments[1:])  # raises what typer would print
    else:
        assert arguments[0] in verbs.commands


def test_nearly_every_page_has_commands():
    assert len(DOCUMENTED) > 40
    assert {program(command) for command in DOCUMENTED} >= {"snakemake", "lra", "make"}
