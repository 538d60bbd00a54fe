"""The page holds what it is told to, and says in one line what is missing."""

import shutil

import pytest
from fabricated import REFERENCE, experiment

from lra import figures, page, sheet
from lra.errors import LRAError
from tiny import ROOT

TEXTS = ROOT / "workflow/report"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An experiment with two figures and a table."""
    root = tmp_path_factory.mktemp("results") / "demo"
    experiment(root, models=["linear", "local"], tasks=["text"], seeds=(0, 3))
    for name in ("scores", "energy"):
        figures.draw(name, root, root / "figures" / name, REFERENCE / "scores.csv")
    table = sheet.Sheet(
        "sums", "Sums & more", "a < b", ["x"], [sheet.Row("m", [sheet.Entry("1")])], []
    )
    (root / "tables").mkdir()
    (root / "tables/sums.html").write_text(sheet.page(table))
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


@pytest.mark.parametrize("name", figures.FIGURES)
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
