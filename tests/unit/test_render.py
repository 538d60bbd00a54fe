"""The forms of a table: they say the same, and LaTeX takes them."""

import ast
import csv
import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from fabricated import MODELS, PAPER, REACH, REFERENCE, experiment, predictions, table

from lra.report import registry
from lra.report.item import Item
from lra.report.tables import render
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import write
from lra.results.records import ScoreRow, read_table, write_rows
from tiny import ROOT

NAMES = [item.name for item in registry.TABLES]
BAD = {("text", "local", 1): "diverged", ("local", 4096): "oom"}
BAD |= {("pathx", "pixels"): "oom"}
BAD |= {("image", "linear", seed): "oom" for seed in (0, 1, 2)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every table, of an experiment with all that notes are about."""
    root = tmp_path_factory.mktemp("tables")
    experiment(root, bad=BAD, joules=2e5)
    rows = read_table(root / "scores.parquet", ScoreRow).to_pylist()
    for row in rows:
        row["mechanism"] = row["model"].partition("-")[0]
        row["dataset"] = "retrieval-own" if row["task"] == "retrieval" else row["dataset"]
    write_rows(root / "scores.parquet", rows, ScoreRow)
    for name in sorted(set(NAMES) - {"significance"}):
        table(name, root)
    random = np.random.default_rng(1)
    answers = {m: [random.random(300) < 0.7 for _ in range(2)] for m in MODELS[:3]}
    predictions(root, answers, random.integers(0, 2, 300))
    table("significance", root)
    near = experiment(root / "near", [*REACH, "near-1", "near-4", "transformer"], seeds=(0, 1, 2))
    write(registry.table("reach"), near, root / "reach", PAPER)
    return root


def titled(title: str) -> Item:
    return Item("t", title, "tables.t", ())


def of_markdown(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ") and "| **" not in line[:4]]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return [[re.sub(r"\*\*|</?u>|</?sub>", "", c).replace("<br>", "\n") for c in r] for r in rows]


def of_html(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", text.partition("<tbody")[2], re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*gt_row[^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    plain = [[re.sub(r"<[^>]*>", "", cell.replace("<br>", "\n")) for cell in row] for row in cells]
    return [[html.unescape(cell) for cell in row] for row in plain if row]


def of_latex(text: str) -> list[list[str]]:
    back = sorted(((tex, c) for c, tex in render.LATEX.items()), key=lambda x: -len(x[0]))
    rows = []
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    for line in re.findall(r"^(?!\\).*(?= \\\\)", body, re.MULTILINE):
        cells = re.split(r" ?(?<!\\)& ?", line)
        cells = [re.sub(r"^\{\\scriptsize (.*)\}$|^\\\w+\{(.*)\}$", r"\1\2", c) for c in cells]
        for tex, character in back:
            cells = [cell.replace(tex, character) for cell in cells]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{a}\n{b}" if b else a for a, b in zip(rows[-1], cells, strict=True)]
    return rows


@pytest.mark.parametrize("name", sorted({*NAMES} - {"rates"}))  # test_rates.py has that of a sweep
def test_every_form_shows_the_same_cells(written, name):
    check_forms(written, name)


def check_forms(folder: Path, name: str) -> None:
    text = {suffix: (folder / f"{name}.{suffix}").read_text() for suffix in ("md", "html", "tex")}
    shown = of_markdown(text["md"])
    assert len(shown) >= 3 and len({len(row) for row in shown}) == 1
    assert of_html(text["html"]) == shown
    assert of_latex(text["tex"]) == shown


def numbers(cell: str) -> list[float]:
    return [float(x) for x in re.findall(r"[-+]?\d+\.\d+", cell.replace("−", "-"))]


def test_what_is_shown_are_the_numbers_of_the_csv(written):
    shown = {row[0]: row[1:] for row in of_markdown((written / "accuracy.md").read_text())}
    lines = list(csv.DictReader((written / "accuracy.csv").open()))
    tasks = list(dict.fromkeys(line["task"] for line in lines))
    seen = 0
    for line in lines:
        cell = shown[line["model"]][tasks.index(line["task"])]
        wanted = [line[key] for key in ("mean", "std", "low", "high")]
        wanted = [] if line["verdict"] != "ok" else [float(x) for x in wanted]
        wanted += [] if line["published"] in ("", "FAIL") else [float(line["published"])]
        wanted += [float(line["difference"])] if line["difference"] else []
        assert numbers(cell) == pytest.approx(wanted, abs=0.051)
        seen += len(wanted)
    assert seen > 200
    shown = {row[0]: row[1:] for row in of_markdown((written / "efficiency.md").read_text())}
    for line in csv.DictReader((written / "efficiency.csv").open()):
        cell = shown[line["model"]][int(line["length"]) // 1024 - 1]
        published = shown[line["model"]][int(line["length"]) // 1024 + 7]
        keys = ("train_steps_per_s", "factor")
        theirs = ("published_steps_per_s", "published_speedup", "published_peak_memory_gb")
        for text, names in ((cell, keys), (published, theirs)):
            wanted = [float(line[key]) for key in names if line[key]]
            assert numbers(text) == pytest.approx(wanted, rel=0.03)


def test_names_with_signs_survive_every_form():
    item = titled("A & B")
    page = Table("50 % < x_1", ["a|b\nc"], [Row("m_1", [Entry("<1>", "2 ± 1")])], [])
    latex = render.latex(page, item)
    assert "a\\|b<br>c" in render.markdown(page, item)
    assert r"m\_1 & $<$1$>$ \\" in latex and r"A \& B" in latex
    assert latex.startswith("% \\usepackage{booktabs,graphicx}\n")
    text = render.page(page, item)
    assert "&lt;1&gt;" in text and "A &amp; B" in text and "a|b<br>c" in text


def test_latex_has_a_form_for_every_sign_or_names_it():
    latex = render.latex(Table("≥ → é", ["c"], [], []), titled("x^2 ~ Nyströmformer"))
    assert r"x\textasciicircum{}2 \textasciitilde{} Nyströmformer" in latex
    assert r"$\geq$ $\rightarrow$ é" in latex
    with pytest.raises(ValueError, match=r"'⊕' in 'a ⊕ b': no form in LaTeX"):
        render.latex(Table("", [], [], []), titled("a ⊕ b"))


def test_every_text_that_a_table_may_show_has_a_form_in_latex():
    texts = [line["note"] for line in csv.DictReader((REFERENCE / "remarks.csv").open())]
    report = ROOT / "src/lra/report"
    others = [report / "registry.py", ROOT / "src/lra/stats/published.py"]
    for path in [*set(report.glob("tables/*.py")) - {report / "tables/render.py"}, *others]:
        nodes = ast.walk(ast.parse(path.read_text()))
        texts += [
            n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)
        ]
    assert len(texts) > 300
    render.latex(Table("", [], [], texts), titled(""))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex")
def test_latex_compiles_every_table(written, tmp_path):
    letters = "".join(sorted(render.LETTERS)) + "".join(render.LATEX)
    page = Table("", ["c"], [Row("m", [Entry(letters)])], [])
    every = render.latex(page, titled("Letters"))
    tables = "\n".join([every, *((written / f"{name}.tex").read_text() for name in NAMES)])
    head = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
    (tmp_path / "all.tex").write_text(f"{head}{tables}\n\\end{{document}}\n")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path,
        capture_output=True,
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    assert "Overfull \\hbox" not in said, said
