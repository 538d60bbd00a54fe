"""The page and the tables in a real browser without network: Debian's chromium, by selenium."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from fabricated import REFERENCE, answers, experiment
from typer.testing import CliRunner

import chromium
from chromium import FETCHED, press, rows, shoot
from lra.cli.app import app
from lra.report import registry
from lra.report.item import Item
from lra.report.tables import render
from lra.results.records import ScoreRow, read_table, write_rows
from lra.stats.reach import NO_WINDOWS
from tiny import ROOT

pytestmark = chromium.wanted
MODELS = ["transformer", "local", "linear", "transformer-materialised"]
TEXTS = ROOT / "workflow/report"
EMPTY = ("reach", "rates", "rank_agreement")  # no windows, one rate, too few mechanisms
TABLES = [item.name for item in registry.TABLES if item.name not in EMPTY]
DRAWN = [i for i in registry.FIGURES if i.name not in ("energy", *EMPTY)]  # on a CPU
SEARCHED = 15  # rows: a longer table has a field for search
WIDE, TABLET, PHONE = (1280, 900), (800, 900), (390, 844)
# Script: names of SVG texts that their SVG cuts; of every text its colour and that below it; names
# of notes that the box around them cuts.
LAID_OUT = """
const style = getComputedStyle;
const ground = node => {
  for (; node; node = node.parentElement) {
    const colour = style(node).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
  return style(document.documentElement).colorScheme.includes("dark") &&
    matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)";
};
const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1 &&
  a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
const cut = [], texts = [], wide = [];
for (const text of document.querySelectorAll("svg text")) {
  const box = text.getBoundingClientRect(), svg = text.ownerSVGElement;
  if (!inside(box, svg.getBoundingClientRect())) cut.push(text.textContent);
  const cell = text.closest(".cell");
  let below = ground(svg);
  if (cell) {
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    const path = [...svg.querySelectorAll(".cell path")].find(p => {
      const b = p.getBoundingClientRect();
      return b.left < x && x < b.right && b.top < y && y < b.bottom;
    });
    below = style(path).fill;
  }
  texts.push([(cell ? "cell " : "") + text.textContent, style(text).fill, below]);
}
for (const node of document.querySelectorAll(
  "h1, h2, h3, p, a, li, label, summary, legend, td, th, td span, .wrap, input[type=search]"))
  texts.push([node.outerHTML.slice(0, 80), style(node).color, ground(node)]);
for (const note of document.querySelectorAll(".wrap, p, li, h3, nav a, label")) {
  const box = note.getBoundingClientRect();
  const frame = note.closest("section > div, body > div")?.getBoundingClientRect().right;
  if (box.right > (frame ?? innerWidth) || box.left < 0) wide.push(note.textContent);
}
return [cut, texts, wide];
"""
BAD = {("text", "local", 1): "diverged", ("transformer", 4096): "oom"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of a made-up experiment, and what it was made of."""
    root = tmp_path_factory.mktemp("pages") / "demo"
    experiment(root, models=MODELS, tasks=["listops", "text", "image"], bad=BAD)
    rows = read_table(root / "scores.parquet", ScoreRow).to_pylist()
    rows = [row | {"mechanism": row["model"].partition("-")[0]} for row in rows]
    write_rows(root / "scores.parquet", rows, ScoreRow)
    answers(root)
    for verb, folder, items in (
        ("tables", "tables", registry.TABLES),
        ("figure", "figures", registry.FIGURES),
    ):
        for item in items:
            where = ["--root", root, "--stem", root / folder / item.name]
            lra(verb, item.name, *where, "--reference", REFERENCE / "scores.csv")
    lra("page", "--root", root, "--captions", TEXTS, "--out", root / "page.html")
    return root


def lra(*arguments) -> None:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


def opened(browser, path: Path, size=WIDE):
    width, height = size
    look = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", look)
    seen(browser, "light")
    browser.get_log("browser")
    browser.get(path.as_uri())


def seen(browser, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def visible(browser, selector: str) -> list[str]:
    """What the elements that can be seen say."""
    found = browser.find_elements("css selector", selector)
    return [" ".join(each.text.split()) for each in found if each.is_displayed()]


def names_in(browser, part) -> list[str]:
    """Of which models a table or figure shows rows, marks or labels."""
    return browser.execute_script(
        "return [...new Set([...arguments[0].querySelectorAll('[data-model], th.gt_stub, svg text')]"
        ".filter(e => e.getClientRects().length)"
        ".map(e => e.dataset.model ?? e.textContent.trim()))].sort()",
        part,
    )


def groups(browser, label: str, column: int) -> list[list[str]]:
    """As `rows`, a list for each group of rows."""
    return browser.execute_script(
        "const found = [[]];"
        "for (const r of document.querySelectorAll(`#${arguments[0]} tbody tr`))"
        "  if (r.classList.contains('gt_group_heading_row')) found.push([]);"
        "  else found.at(-1).push(r.cells[arguments[1]].innerText.split('\\n')[0]);"
        "return found.filter(g => g.length)",
        label,
        column,
    )


def test_every_figure_and_table_shows_and_nothing_is_fetched(browser, written):
    opened(browser, written / "page.html")
    assert set(visible(browser, "section.figure > h3")) == {item.title for item in DRAWN}
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('section.figure .whole > svg')].map("
        "s => [s.clientWidth, s.ariaLabel])"
    )
    assert all(width > 400 and label for width, label in sizes)
    assert "Accuracy against energy: Energy not measured" in visible(browser, "#empty")[0]
    counts = {label: len(rows(browser, label, 0)) for label in TABLES}
    assert all(counts.values()) and (counts["accuracy"], counts["costs"]) == (4, 16)
    links = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a => a.hash)"
    )
    assert len(links) == len(TABLES) + len(DRAWN)
    assert f"Required span by intervention: {NO_WINDOWS}" in visible(browser, "#empty")[0]
    assert all(browser.find_elements("css selector", link) for link in links)
    assert browser.execute_script(FETCHED) == [] and browser.get_log("browser") == []


@pytest.mark.parametrize("size", [WIDE, TABLET, PHONE], ids=lambda size: str(size[0]))
def test_at_every_width_all_can_be_read_in_both_schemes(browser, written, size):
    """Nothing is wider than the screen but in a box that scrolls; no letters are cut or pale."""
    opened(browser, written / "page.html", size)
    for scheme in ("light", "dark"):
        seen(browser, scheme)
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= size[0], scheme
        cut, texts, wide = browser.execute_script(LAID_OUT)
        assert cut == [] and wide == [], (scheme, cut[:5], wide[:5])
        assert len(texts) > 400
        pale = [what for what, *on in texts if contrast(*on) < 4.5]  # WCAG 2.2, AA
        assert pale == [], scheme
        shoot(browser, f"page-{size[0]}-{scheme}")
    pieces = browser.execute_script(
        "return [...document.querySelectorAll('.narrow > svg')]"
        ".map(s => [s.clientWidth, s.viewBox.baseVal.width])"
    )
    assert len(pieces) > 15
    for shown, points in pieces:  # of 6.5 points are the smallest letters
        assert shown / points >= 1.2 if size == PHONE else shown == 0, (shown, points)


def test_the_filter_hides_a_model_everywhere_and_points_say_their_values(browser, written):
    opened(browser, written / "page.html")
    titles = browser.execute_script(
        "return [...document.querySelectorAll('svg [data-model=linear] title')]"
        ".map(t => t.textContent)"
    )
    assert any(re.fullmatch(r"linear: sequence length 1,024 tokens, .* [\d.]+", t) for t in titles)
    everywhere = browser.find_elements("css selector", ".figure, .table")
    having = [part for part in everywhere if "linear" in names_in(browser, part)]
    assert len(having) > 9
    browser.find_element("css selector", "#filter input[value=linear]").click()
    for part in everywhere:
        assert "linear" not in names_in(browser, part)
    assert visible(browser, "#filter summary") == ["Models (3 of 4)"]
    buttons = browser.find_elements("css selector", "#filter button")
    buttons[1].click()
    assert not [head for head in visible(browser, ".gt_group_heading_row") if "tokens" in head]
    assert rows(browser, "accuracy", 0) == []
    buttons[0].click()
    assert [part for part in everywhere if "linear" in names_in(browser, part)] == having


@pytest.mark.parametrize("form", ["page", "table", "data URI"])
def test_a_heading_sorts_by_its_figures_and_gives_the_order_back(browser, written, form):
    if form == "data URI":  # as Snakemake's report holds it
        opened(browser, written / "page.html")
        data = base64.b64encode((written / "tables/accuracy.html").read_bytes()).decode()
        browser.execute_script(
            "document.body.innerHTML = '<iframe width=900 height=600></iframe>';"
            "document.querySelector('iframe').src = 'data:text/html;base64,' + arguments[0]",
            data,
        )
        browser.switch_to.frame(0)
    else:
        opened(browser, written / ("page.html" if form == "page" else "tables/accuracy.html"))
    before = rows(browser, "accuracy", 2)
    assert before[1] == "2/3 ok" or not before[1][0].isdigit()
    numbers = [float(text.split()[0]) for i, text in enumerate(before) if i != 1]
    assert press(browser, "accuracy", 2) == "descending"
    found = rows(browser, "accuracy", 2)
    assert [float(text.split()[0]) for text in found[:3]] == sorted(numbers, reverse=True)
    assert press(browser, "accuracy", 2) == "ascending"
    found = rows(browser, "accuracy", 2)
    assert [float(text.split()[0]) for text in found[:3]] == sorted(numbers)
    assert found[3] == before[1]  # what is no figure comes last either way
    assert press(browser, "accuracy", 2) is None
    assert rows(browser, "accuracy", 2) == before
    assert press(browser, "accuracy", 0) == "ascending"
    assert rows(browser, "accuracy", 0) == sorted(MODELS)
    browser.switch_to.default_content()
    assert browser.get_log("browser") == []


def figure_in(text: str) -> float | None:
    """What a cell is sorted by: its number, or its ratio; None where it holds neither."""
    if share := re.fullmatch(r"(\d+)/(\d+)(?: \[\d+\])?", text):
        return int(share[1]) / int(share[2])
    found = re.match(r"[<>~]?\s*([-+]?[\d.]*\d)(?!/)", text.replace(",", "").replace("−", "-"))
    return float(found[1]) if found and not re.match(r"\d+/", text) else None


def sort_and_check(browser, label: str, column: int) -> None:
    """Press a heading three times, and compare with Python's order within each group of rows."""
    before = groups(browser, label, column)
    words = column == 0 or all(figure_in(text) is None for group in before for text in group)
    for way in ("ascending", "descending") if words else ("descending", "ascending"):
        assert press(browser, label, column) == way
        found = groups(browser, label, column)
        assert [sorted(group) for group in found] == [sorted(group) for group in before]
        for group in found:
            if words:
                values = [text.casefold().replace("-", " ") for text in group]  # as ICU has them
            else:
                values = [v for v in map(figure_in, group) if v is not None]
                assert [figure_in(text) for text in group[: len(values)]] == values, "words last"
            assert values == sorted(values, reverse=way == "descending"), (label, column)
    assert press(browser, label, column) is None
    assert groups(browser, label, column) == before


def test_every_table_is_sorted_by_each_column_and_a_long_one_is_searched(browser, written):
    opened(browser, written / "page.html")
    for name in TABLES:
        heads = browser.find_elements("css selector", f"#{name} th.gt_col_heading")
        assert len(heads) > 3
        for column in range(len(heads)):
            sort_and_check(browser, name, column)
        names = rows(browser, name, 0)
        fields = browser.find_elements("css selector", f"#{name} input[type=search]")
        assert len(fields) == (len(names) > SEARCHED), name
        for field in fields:
            field.send_keys(names[-1])
            assert set(rows(browser, name, 0)) == {n for n in names if names[-1] in n}
    assert browser.execute_script(FETCHED) == [] and browser.get_log("browser") == []


def test_words_and_shares_are_sorted_as_such_also_those_out_of_sight(browser, tmp_path):
    columns = {
        "share": ["10/12 [3]", "2/3 ok", "4/12", "-", "0/12"],
        "models": ["linear", "bigbird", "xl", "performer", "set"],
        "span": ["9.5", "123", "FAIL", "1,200", "20"],
    }
    cells = list(zip(*columns.values(), strict=True))
    made = [
        render.Row(f"row {i}", [render.Entry(text, "0.85") for text in own])
        if i else render.Row("row 0", [render.Entry(text) for text in own])
        for i, own in enumerate(cells)
    ]  # fmt: skip
    made += [render.Row(f"more {i}", [render.Entry("-")] * 3) for i in range(SEARCHED)]
    path = tmp_path / "made.html"
    item = Item("made", "Made", "tables.made", ())
    path.write_text(render.page(render.Table("up", list(columns), made, []), item))
    opened(browser, path)
    orders = []
    for column in (1, 1, 2, 2, 3, 3):
        press(browser, "made", column)
        orders.append(rows(browser, "made", column))
    shares, models = ["10/12 [3]", "4/12", "0/12"], sorted(columns["models"])
    assert [order[:3] for order in orders[:2]] == [shares, shares[::-1]]
    assert [set(order[3:]) for order in orders[:2]] == [{"-", "2/3 ok"}] * 2
    assert [[x for x in order if x != "-"] for order in orders[2:4]] == [models, models[::-1]]
    spans = ["1,200", "123", "20", "9.5"]
    assert [order[:4] for order in orders[4:]] == [spans, spans[::-1]]

    field = browser.find_element("css selector", "#made input[type=search]")
    press(browser, "made", 3)
    field.send_keys("nothing like it")
    press(browser, "made", 3)
    field.clear()
    field.send_keys("row")
    assert rows(browser, "made", 3) == [*spans, "FAIL"]


def test_groups_stay_together_and_search_hides_the_others(browser, written):
    opened(browser, written / "page.html")
    press(browser, "costs", 0)
    assert rows(browser, "costs", 0) == sorted(MODELS) * 4
    field = browser.find_element("css selector", "#costs input[type=search]")
    field.send_keys("linear 4,096")
    assert rows(browser, "costs", 0) == ["linear"]
    heads = browser.find_elements("css selector", "#costs .gt_group_heading")
    assert [head.text for head in heads if head.is_displayed()] == ["4,096 tokens"]
    field.clear()
    field.send_keys("nothing like it")
    assert rows(browser, "costs", 0) == []
    assert len(rows(browser, "accuracy", 0)) == 4


def test_a_tables_own_file_fits_a_phone_and_a_dark_room(browser, written):
    opened(browser, written / "tables/costs.html", PHONE)
    seen(browser, "dark")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    cut, texts, wide = browser.execute_script(LAID_OUT)
    assert cut == [] and wide == [] and len(texts) > 50
    for what, *on in texts:
        assert contrast(*on) >= 4.5, what  # WCAG 2.2, AA
    shoot(browser, "table-390-dark")


def contrast(one: str, other: str) -> float:
    """Of two CSS colours `rgb(r, g, b)`: 1 to 21 (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in colour.strip("rgba()").split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)
