"""README.md and the other pages agree with the code, the files and the measured results."""

from __future__ import annotations

import re

import pytest
import typer
import yaml

from lra.cli import docs
from lra.cli.app import app
from lra.config.resolve import Arena
from lra.core.errors import LRAError
from tiny import ROOT

PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "config/**/*.md", "docs/*.md", "envs/*.md", "profiles/**/*.md", "results/*.md")
    for path in ROOT.glob(pattern)
)  # fmt: skip
README = (ROOT / "README.md").read_text()


def heading_anchor(title: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_files_and_headings(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text):
        link = "".join(target)
        if re.match("https?:", link):
            continue
        path, _, anchor = link.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in map(heading_anchor, titles), link


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_are_verbs_that_there_are(page):
    verbs = set(typer.main.get_command(app).commands)
    named = re.findall(r"(?:^|`)lra ([a-z][a-z-]+)", (ROOT / page).read_text(), re.MULTILINE)
    gone = {"mechanisms"} if page.name == "CHANGELOG.md" else set()
    assert set(named) <= verbs | gone


@pytest.mark.parametrize(
    "page", [p for p in PAGES if str(p) not in ("README.md", "CHANGELOG.md")], ids=str
)
def test_a_page_is_short(page):
    assert len((ROOT / page).read_text().splitlines()) < 100


def test_the_mechanisms_in_the_readme_are_those_that_there_are():
    assert docs.replaced(README, "mechanisms", docs.mechanisms()) == README, "run 'lra readme'"


def test_the_picture_in_the_readme_is_of_the_rules():
    assert docs.replaced(README, "workflow", docs.diagram(ROOT)) == README, "run 'lra readme'"


def test_a_readme_without_the_marks_is_refused():
    with pytest.raises(LRAError, match="has no lines <!-- workflow --> and <!-- /workflow -->"):
        docs.replaced("# Title\n<!-- workflow -->\n", "workflow", "")


def test_the_tasks_in_the_readme_are_the_default_experiments():
    tasks = Arena.read(ROOT / "config/config.yaml").experiment.tasks
    assert f"small versions of four tasks ({', '.join(tasks)})" in README


def test_the_accuracies_in_the_readme_are_those_measured():
    measured = rows((ROOT / "results/reference/quick-cpu/accuracy.md").read_text(), "model ")
    shown = rows(README, "model | ListOps")
    assert len(shown) == 5
    for model, *values in shown:
        expected = next(line for line in measured if line[0] == model)
        found = [re.sub("</?u>|[ᵃ-ᶻ]", "", cell.split("<br>")[0]) for cell in expected[1:5]]
        assert values == found, model


def rows(text: str, head: str) -> list[list[str]]:
    """Cells of the table whose first line begins with `head`."""
    lines = text[text.index(f"| {head}") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_files_in_the_readme_exist():
    above: list[str] = []
    tree = README[README.index("├── Snakefile") :].split("```")[0]
    for line in tree.splitlines():
        marks, name = re.match(r"([│ ]*)[├└]── (\S+)", line).groups()
        above = [*above[: len(marks) // 4], name]
        assert ROOT.joinpath(*above).exists(), "/".join(above)
    packages = {
        path.name for path in (ROOT / "src/lra").iterdir() if (path / "__init__.py").exists()
    }
    assert packages == set(re.findall(r"^│   [├└]── (\w+)/", tree, re.MULTILINE))


def test_the_tables_and_figures_are_listed():
    from lra.report import registry

    text = (ROOT / "results/README.md").read_text()
    for title, items in (("Tables", registry.TABLES), ("Figures", registry.FIGURES)):
        names = ", ".join(item.name for item in items)
        assert f"- **{title}**: {names}." in text


def test_the_least_snakemake_is_not_newer_than_the_locked_one():
    least = re.search(r'^min_version\("([\d.]+)"\)', (ROOT / "Snakefile").read_text(), re.MULTILINE)
    locked = re.search(
        r"^snakemake==([\d.]+)", (ROOT / "envs/requirements.txt").read_text(), re.MULTILINE
    )
    assert number(least[1]) <= number(locked[1])
    text = (ROOT / "envs/README.md").read_text()
    assert f"Snakemake {locked[1]}" in text and f"demands {least[1]}" in text


def number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_the_catalogue_is_told_what_it_reads():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment"}
