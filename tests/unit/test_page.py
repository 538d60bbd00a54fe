"""The page holds what it is told to, and says in one line what is missing."""

import re
import shutil

import pytest
from fabricated import REFERENCE, experiment, score_row

from lra.core.errors import LRAError
from lra.report import page
from lra.report.figures import draw
from lra.report.tables import render
from lra.report.tables.accuracy import accuracy
from lra.results.records import ScoreRow, write_rows
from tiny import ROOT

TEXTS = ROOT / "workflow/report"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An experiment with two figures and a table."""
    root = tmp_path_factory.mktemp("results") / "demo"
    experiment(root, models=["linear", "local"], tasks=["text"], seeds=(0, 3))
    for name in ("scores", "energy"):
        draw.draw(name, root, root / "figures" / name, REFERENCE / "scores.csv")
    table = render.Sheet(
        "sums", "Sums & more", "a < b", ["x"], [render.Row("m", [render.Entry("1")])], []
    )
    (root / "tables").mkdir()
    (root / "tables/sums.html").write_text(render.page(table))
    return root


def written(root, out, texts=TEXTS) -> str:
    page.write(root, ["sums"], ["scores", "energy"], texts, out / "page.html")
    return (out / "page.html").read_text()


def test_the_same_results_give_the_same_bytes(made, tmp_path):
    copy = tmp_path / "elsewhere/demo"
    shutil.copytree(made, copy)
    assert written(made, tmp_path / "one") == written(copy, tmp_path / "other")


def test_the_page_says_what_it_is_of_and_escapes_once(made, tmp_path):
    text = written(made, tmp_path)
    assert "models linear, local; seeds\n0, 3" in text
    assert "Sums &amp; more</a>" in text and "a &lt; b" in text
    assert text.index('id="figure-scores"') < text.index('id="figure-energy"')


def test_a_table_has_its_caption_where_there_is_one(made, tmp_path):
    texts = tmp_path / "texts"
    shutil.copytree(TEXTS, texts)
    (texts / "table_sums.rst").write_text("Look at *{{ snakemake.wildcards.table }}*.")
    assert "Look at <em>sums</em>." in written(made, tmp_path, texts)


def test_the_page_begins_with_what_was_found_and_names_figures_in_full(made, tmp_path):
    root = tmp_path / "demo"
    shutil.copytree(made, root)
    published = {"listops": 16.13, "text": 65.90, "image": 42.34}  # of linear, by the paper
    rows = [
        score_row(task, "linear", seed, accuracy=value + off)
        for task, value, off in zip(published, published.values(), (0.5, -4.0, 2.0), strict=True)
        for seed in (0, 1)
    ]
    rows += [
        score_row("text", "local", 0, accuracy=50.0),
        score_row("text", "sparse", status="oom"),
    ]
    write_rows(root / "scores.parquet", rows, ScoreRow)
    accuracy(root / "scores.parquet", REFERENCE / "scores.csv", root / "tables/accuracy")
    lines = (root / "tables/accuracy.csv").read_text().splitlines()
    average = dict.fromkeys(lines[0].split(","), "") | {"task": "average", "verdict": "ok"}
    average |= {"replication": "above"}
    (root / "tables/accuracy.csv").write_text("\n".join([*lines, ",".join(average.values())]))

    page.write(root, ["accuracy"], ["scores", "energy"], TEXTS, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    said = " ".join(re.sub("<[^>]*>", "", text[text.index("<h1>") : text.index("<h2>")]).split())
    for words in (
        "Of 5 results, each a model on a task, 2 are above chance and 2 at chance (FAIL); in 1 a run was",
        "Of 4 published figures that compare, reproduced: 1; ours is above in 1, below in 2.",
        "Published figures that do not compare: 1 (ours is oom).",
    ):
        assert words in said
    assert said.index("Of 5 results") < said.index("Six tasks on long sequences")
    assert '<a href="#figure-scores">Accuracy (heat map)</a>' in text


@pytest.mark.parametrize("name", draw.FIGURES)
def test_every_figure_has_a_caption(name):
    text = page.caption(TEXTS / "figure.rst", {}, {"figure": name})
    assert len(text) > 80 and "problematic" not in text


def test_what_is_missing_is_one_line(made, tmp_path):
    with pytest.raises(LRAError, match="figures/ranks.png: cannot be read: No such file"):
        page.write(made, ["sums"], ["ranks"], TEXTS, tmp_path / "page.html")
    with pytest.raises(LRAError, match="tables/none.html: No such file"):
        page.write(made, ["none"], ["scores"], TEXTS, tmp_path / "page.html")
    broken = tmp_path / "demo"
    shutil.copytree(made, broken)
    (broken / "tables/sums.html").write_text("<p>half")
    with pytest.raises(LRAError, match=r"sums\.html: not the page of a table"):
        page.write(broken, ["sums"], ["scores"], TEXTS, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
