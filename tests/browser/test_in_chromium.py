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
from tiny import ROOT

pytestmark = chromium.wanted
MODELS = ["transformer", "local", "linear", "transformer-materialised"]
TEXTS = ROOT / "workflow/report"
TABLES = [item.name for item in registry.TABLES]
WIDE, PHONE = (1280, 900), (390, 844)
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


def opened(browser, path: Path, size=WIDE, scheme="light"):
    width, height = size
    look = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", look)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get_log("browser")
    browser.get(path.as_uri())
    return browser


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
    images = browser.execute_script(
        "return [...document.images].map(i => [i.naturalWidth, i.clientWidth, i.alt])"
    )
    assert len(images) == len(registry.FIGURES)
    assert all(natural >= 900 and shown > 300 and alt for natural, shown, alt in images)
    counts = {label: len(rows(browser, label, 0)) for label in TABLES}
    assert all(counts.values()) and (counts["accuracy"], counts["costs"]) == (4, 16)
    links = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a => a.hash)"
    )
    assert len(links) == len(TABLES) + len(registry.FIGURES)
    assert all(browser.find_elements("css selector", link) for link in links)
    assert browser.execute_script(FETCHED) == [] and browser.get_log("browser") == []
    shoot(browser, "page")


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


@pytest.mark.parametrize("form", ["page", "table"])
@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_sorted_by_each_column_and_searched(browser, written, name, form):
    opened(browser, written / ("page.html" if form == "page" else f"tables/{name}.html"))
    heads = browser.find_elements("css selector", f"#{name} th.gt_col_heading")
    assert len(heads) > 3
    for column in range(len(heads)):
        sort_and_check(browser, name, column)
    names = rows(browser, name, 0)
    browser.find_element("css selector", f"#{name} input[type=search]").send_keys(names[-1])
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
    assert orders[2:4] == [models, models[::-1]]
    spans = ["1,200", "123", "20", "9.5"]
    assert orders[4:] == [[*spans, "FAIL"], [*spans[::-1], "FAIL"]]

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


@pytest.mark.parametrize("name", ["page.html", "tables/costs.html"])
def test_a_phone_scrolls_tables_and_not_the_page(browser, written, name):
    opened(browser, written / name, PHONE)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    notes = browser.execute_script(
        "return [...document.querySelectorAll('.wrap')].map(w => w.getBoundingClientRect().right)"
    )
    assert notes and max(notes) <= PHONE[0]
    shoot(browser, f"phone-{Path(name).stem}")


@pytest.mark.parametrize("name", ["page.html", "tables/accuracy.html"])
def test_dark_mode_has_light_letters_on_dark_ground(browser, written, name):
    opened(browser, written / name, scheme="dark")
    found = browser.execute_script(
        """
        const ground = node => {
          const colour = getComputedStyle(node).backgroundColor;
          return colour === "rgba(0, 0, 0, 0)" && node.parentElement
            ? ground(node.parentElement) : colour;
        };
        return [...document.querySelectorAll("h1, p, a, td, th, td span, .wrap, input")].map(
          node => [node.outerHTML.slice(0, 80), getComputedStyle(node).color, ground(node)]);
        """
    )
    assert len(found) > 20
    for what, letters, ground in found:
        # the ground of a page that sets none is the browser's own, #121212
        ground = "rgb(18, 18, 18)" if ground == "rgba(0, 0, 0, 0)" else ground
        assert contrast(letters, ground) >= 4.5, what  # WCAG 2.2, AA
    shoot(browser, f"dark-{Path(name).stem}")


def contrast(one: str, other: str) -> float:
    """Of two CSS colours `rgb(r, g, b)`: 1 to 21 (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in colour.strip("rgba()").split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)
