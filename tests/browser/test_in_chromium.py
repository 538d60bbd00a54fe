"""The page and the tables in a real browser without network: Debian's chromium, by selenium.

Screenshots go to the folder that LRA_SCREENSHOTS names, else to build/screenshots.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from fabricated import REFERENCE, experiment

import chromium
from lra import figures, page
from lra.tables.accuracy import accuracy
from lra.tables.efficiency import costs, efficiency
from tiny import ROOT

pytestmark = chromium.wanted
SHOTS = Path(os.environ.get("LRA_SCREENSHOTS", ROOT / "build/screenshots"))
MODELS = ["transformer", "local", "linear", "transformer-materialised"]
SHEETS = ["accuracy", "efficiency", "costs"]
WIDE, PHONE = (1280, 900), (390, 844)
BAD = {("text", "local", 1): "diverged", ("transformer", 4096): "oom"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of a made-up experiment, and what it was made of."""
    root = tmp_path_factory.mktemp("pages") / "demo"
    experiment(root, models=MODELS, tasks=["listops", "text", "image"], bad=BAD)
    speed, memory = root / "speed.parquet", root / "memory.parquet"
    accuracy(root / "scores.parquet", REFERENCE / "scores.csv", root / "tables/accuracy")
    for table in (efficiency, costs):
        stem = root / "tables" / table.__name__
        table(speed, memory, REFERENCE / "efficiency.csv", stem)
    for name in figures.FIGURES:
        figures.draw(name, root, root / "figures" / name, REFERENCE / "scores.csv")
    page.write(root, SHEETS, list(figures.FIGURES), ROOT / "workflow/report", root / "page.html")
    return root


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


def shoot(browser, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    whole = {"captureBeyondViewport": True}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", whole)["data"]
    (SHOTS / f"{name}.png").write_bytes(base64.b64decode(shot))


def rows(browser, label: str, column: int) -> list[str]:
    """The first line of a column's cells in sight; group headings are left out."""
    return browser.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
        ".filter(r => !r.hidden && r.cells.length > 1)"
        ".map(r => r.cells[arguments[1]].innerText.split('\\n')[0])",
        label,
        column,
    )


def press(browser, label: str, column: int) -> str | None:
    return browser.execute_script(
        "const h = document.querySelectorAll(`#${arguments[0]} th.gt_col_heading`)[arguments[1]];"
        "h.querySelector('button').click(); return h.ariaSort",
        label,
        column,
    )


def test_every_figure_and_table_shows_and_nothing_is_fetched(browser, written):
    opened(browser, written / "page.html")
    images = browser.execute_script(
        "return [...document.images].map(i => [i.naturalWidth, i.clientWidth, i.alt])"
    )
    assert len(images) == len(figures.FIGURES)
    assert all(natural >= 900 and shown > 300 and alt for natural, shown, alt in images)
    assert [len(rows(browser, label, 0)) for label in SHEETS] == [4, 4, 16]
    links = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a => a.hash)"
    )
    assert len(links) == len(SHEETS) + len(figures.FIGURES)
    assert all(browser.find_elements("css selector", link) for link in links)
    fetched = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert [n for n in browser.execute_script(fetched) if not n.startswith("data:")] == []
    assert browser.get_log("browser") == []
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
