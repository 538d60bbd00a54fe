"""The page contains what it was given, and names in one line what is missing."""

import re
import shutil

import drawn
import pytest
from fabricated import experiment, score_row, table
from PIL import Image

from lra.core.errors import LRAError
from lra.report import page, registry
from lra.report.item import Item
from lra.report.tables import render
from lra.results.records import ScoreRow, write_rows
from tiny import ROOT

TEXTS = ROOT / "workflow/report"
SUMS = Item("sums", "Sums & more", "tables.sums", ())
TWO = [registry.figure(name) for name in ("scores", "energy")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An experiment with two figures and a table."""
    root = tmp_path_factory.mktemp("results") / "demo"
    experiment(root, models=["linear", "local"], tasks=["text"], seeds=(0, 3))
    for item in TWO:
        drawn.files(item.name, root, root / "figures")
    sums = render.Table("a < b", ["x"], [render.Row("m", [render.Entry("1")])], [])
    (root / "tables").mkdir()
    (root / "tables/sums.html").write_text(render.page(sums, SUMS))
    write_accuracy(root)
    return root


def write_accuracy(root):
    table("accuracy", root)
    for path in root.glob("accuracy.*"):
        path.replace(root / "tables" / path.name)


def written(root, out, texts=TEXTS) -> str:
    page.write(root, [SUMS], TWO, texts, out / "page.html")
    return (out / "page.html").read_text()


def test_the_same_results_give_the_same_bytes(made, tmp_path):
    copy = tmp_path / "elsewhere/demo"
    shutil.copytree(made, copy)
    assert written(made, tmp_path / "one") == written(copy, tmp_path / "other")


def test_the_page_says_what_it_is_of_and_escapes_once(made, tmp_path):
    text = written(made, tmp_path)
    assert "models linear, local; seeds\n0, 3" in text
    assert "Sums &amp; more</a>" in text and "a &lt; b" in text
    assert "models linear, local; seeds" in " ".join(text.split())


def test_a_figure_without_anything_to_show_is_left_out_with_its_reason(made, tmp_path):
    text = written(made, tmp_path)
    assert 'id="figure-scores"' in text and 'id="figure-energy"' not in text
    why = " ".join(text[text.index('id="empty"') :].split("</p>")[0].split())
    assert "<i>Accuracy against energy</i>: Energy not measured: no driver" in why
    assert (made / "figures/energy.png").exists() and text.count("Energy not measured") == 1


def test_a_table_without_rows_is_left_out_with_its_reason(made, tmp_path):
    root = tmp_path / "demo"
    shutil.copytree(made, root)
    none = render.Table("Nothing & nobody.", [], [], [])
    (root / "tables/sums.html").write_text(render.page(none, SUMS))
    text = written(root, tmp_path)
    assert 'id="table-sums"' not in text and "#table-sums" not in text
    assert "<i>Sums &amp; more</i>: Nothing &amp; nobody." in " ".join(text.split())


def test_ids_are_unique_and_each_colour_is_known_in_both_schemes(made, tmp_path):
    text = written(made, tmp_path)
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids)) > 5
    for used in re.findall(r'(?:href="|url\()#([^")]+)', text):
        assert used in ids
    colours = set(re.findall(r"var\((--(?:mark|cell)[\w-]+)\)", text))
    assert colours and all(text.count(f"{name}:#") == 2 for name in colours)
    assert "DejaVu Sans'" not in text and "metadata" not in text


def test_the_footer_says_what_the_records_say(made, tmp_path):
    footer = " ".join(written(made, tmp_path).partition("<footer>")[2].split())
    assert "commit unknown; torch 2; on cpu: demo." in footer


def test_links_lead_to_files_beside_the_page(made, tmp_path):
    text = written(made, tmp_path)
    links = re.findall(r'<a href="((?:tables|figures)/[^"]*)"', text)
    assert "tables/sums.csv" in links and "figures/scores.svg" in links
    assert all((made / link).exists() for link in links if "scores" in link)


def test_contact_sheets_are_shown_where_the_data_has_some(made, tmp_path):
    root = tmp_path / "results/demo"
    shutil.copytree(made, root)
    assert "<img" not in written(root, tmp_path)
    sheet = tmp_path / "results/data/text/contact_sheet.png"
    sheet.parent.mkdir(parents=True)
    Image.new("L", (20, 10), 90).save(sheet)
    assert 'alt="examples of text by label"' in written(root, tmp_path)


def test_a_table_has_its_caption_where_there_is_one(made, tmp_path):
    texts = tmp_path / "texts"
    shutil.copytree(TEXTS, texts)
    (texts / "table.rst").write_text("Look at *{{ snakemake.wildcards.table }}*.")
    assert "Look at <em>sums</em>." in written(made, tmp_path, texts)


def test_the_page_begins_with_what_was_found_and_names_figures_in_full(made, tmp_path):
    root = tmp_path / "demo"
    shutil.copytree(made, root)
    published = {"listops": 16.13, "text": 65.90, "image": 42.34}  # of linear, by the paper
    rows = [
        score_row(task, "linear", seed, accuracy=value + off)
        for task, value, off in zip(published, published.values(), (0.5, -4.0, 2.5), strict=True)
        for seed in (0, 1, 2)
    ]
    rows += [score_row("text", "bigbird", s, accuracy=60.0 + 4 * s) for s in range(3)]
    rows += [
        score_row("text", "local", 0, accuracy=50.0),
        score_row("text", "sparse", status="oom"),
    ]
    write_rows(root / "scores.parquet", rows, ScoreRow)
    write_accuracy(root)
    lines = (root / "tables/accuracy.csv").read_text().splitlines()
    average = dict.fromkeys(lines[0].split(","), "") | {"task": "average", "verdict": "ok"}
    average |= {"replication": "above"}
    (root / "tables/accuracy.csv").write_text("\n".join([*lines, ",".join(average.values())]))

    page.write(root, [registry.table("accuracy")], TWO, TEXTS, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    said = " ".join(re.sub("<[^>]*>", "", text[text.index("<h1>") : text.index("<h2>")]).split())
    for words in (
        "Of 6 results (a model on a task), 3 are above chance, 2 are at chance (FAIL) and 1 have an",
        "Of 5 comparable published values, 1 are reproduced; ours is above in 1 and below in 1.",
        "Inconclusive, and not counted as reproduced: 2 (90 % interval too wide; fewer than 3 seeds; "
        "90 % intervals are up to 13.5 points wide).",
        "Published values that are not comparable: 1 (ours is oom).",
    ):
        assert words in said
    assert said.index("Of 6 results") < said.index("A replication of the Long Range Arena")
    assert '<a href="#figure-scores">Accuracy (heat map)</a>' in text


@pytest.mark.parametrize(
    ("kind", "item"),
    [("figure", item) for item in registry.FIGURES] + [("table", item) for item in registry.TABLES],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_figure_and_table_has_a_caption(kind, item):
    text = page.caption(TEXTS / f"{kind}.rst", {}, {kind: item.name})
    assert len(text) > 80 and "problematic" not in text


def test_what_is_missing_is_one_line(made, tmp_path):
    with pytest.raises(LRAError, match="figures/ranks.svg: no such file"):
        page.write(made, [SUMS], [registry.figure("ranks")], TEXTS, tmp_path / "page.html")
    with pytest.raises(LRAError, match="tables/none.html: No such file"):
        none = Item("none", "None", "tables.none", ())
        page.write(made, [none], TWO, TEXTS, tmp_path / "page.html")
    broken = tmp_path / "demo"
    shutil.copytree(made, broken)
    (broken / "tables/sums.html").write_text("<p>half")
    with pytest.raises(LRAError, match=r"sums\.html: not the page of a table"):
        page.write(broken, [SUMS], TWO, TEXTS, tmp_path / "page.html")
    (broken / "figures/scores.svg").write_text("<svg")
    with pytest.raises(LRAError, match=r"scores\.svg: not an SVG file: .*; delete it"):
        page.write(broken, [], TWO, TEXTS, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
