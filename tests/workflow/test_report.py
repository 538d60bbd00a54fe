"""The target `report`: both pages, of what was asked for, what makes them anew, what they show."""

from __future__ import annotations

import pytest
from selenium.webdriver.support.wait import WebDriverWait

import chromium
from chromium import FETCHED, press, rows, shoot
from lra.report import registry
from lra.report.tables import neighbours
from lra.report.tables.agreement import TOO_FEW
from lra.results.rates import NO_SWEEP
from lra.stats.reach import NO_WINDOWS

FIGURES = [item.name for item in registry.FIGURES]
CONFIGURATION = ("--config", "models=[linear]", "seeds=[1]")
WIDEST = "return Math.max(0, ...[...document.images].map(i => i.naturalWidth))"
# tables without rows
ONE_LINE = {"reach": NO_WINDOWS, "rates": NO_SWEEP, "rank_agreement": TOO_FEW,
            "neighbours": neighbours.TOO_FEW}  # fmt: skip
PAGES = {"page", "Snakemake's report"}
LOSSES = """from lra.report.tables.render import Entry, Row, Table
from lra.results.records import ScoreRow, read_table


def losses(scores):
    models = read_table(scores, ScoreRow)["model"].unique().to_pylist()
    rows = [Row(model, [Entry("0.1")]) for model in models]
    return Table(f"Losses of {len(models)} models.", ["loss"], rows, []), [{"models": len(models)}]
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.mark.slow
def test_both_pages_are_of_the_configuration_of_the_run_that_makes_them(checkout):
    checkout.forget_tables()
    checkout.run("report", *CONFIGURATION)
    root = checkout.folder / "results/tiny"
    pages = {name: (root / name).read_text() for name in ("page.html", "report.html")}
    for text in pages.values():
        assert "models linear; seeds\\n1." in text.replace("\n", "\\n")
    assert pages["report.html"].count("data:image/png") == len(FIGURES)
    assert 'id="figure-speed"' in pages["page.html"] and 'alt="examples of' in pages["page.html"]
    assert checkout.plan("report", *CONFIGURATION) == set()

    checkout.edit("workflow/report/figure.rst", "Up is more accurate", "Higher is better")
    assert checkout.plan(*CONFIGURATION) == {"page"}
    assert checkout.plan("report", *CONFIGURATION) == PAGES


def test_a_table_is_added_by_one_module_and_one_line(checkout):
    checkout.write("src/lra/report/tables/losses.py", LOSSES)
    line = '    Item("losses", "Test loss", "tables.losses", ("scores",)),\n'
    checkout.edit(
        "src/lra/report/registry.py", "]  # fmt: skip\nFIGURES", f"{line}]  # fmt: skip\nFIGURES"
    )
    assert checkout.plan() == {"table losses", "page"}
    checkout.run()
    stem = checkout.folder / "results/tiny/tables/losses"
    assert all(stem.with_suffix(f".{form}").exists() for form in ("csv", "md", "tex", "html"))
    assert stem.with_suffix(".csv").read_text() == "models\n2\n"
    page = (stem.parents[1] / "page.html").read_text()
    assert '<a href="#table-losses">Test loss</a>' in page and "Losses of 2 models." in page
    assert checkout.plan() == set()


@pytest.mark.slow
@chromium.wanted
def test_in_snakemakes_report_every_figure_and_table_shows_without_a_network(checkout, browser):
    checkout.run("report")
    tables = {path.stem for path in checkout.folder.glob("results/tiny/tables/*.html")}
    wait = WebDriverWait(browser, 120)
    for category, names in (("Figures", {*FIGURES}), ("Tables", tables)):
        for name in sorted(names):
            browser.get((checkout.folder / "results/tiny/report.html").as_uri())
            wait.until(lambda b, category=category: b.find_element("link text", category)).click()
            files = wait.until(lambda b: b.find_elements("css selector", "tbody tr"))
            (row,) = [row for row in files if row.text == name]
            assert len(files) == len(names)
            row.find_element("css selector", "[iconname=eye]").click()
            if category == "Tables":
                frame = wait.until(lambda b: b.find_element("tag name", "iframe"))
                browser.switch_to.frame(frame)
                if name in ONE_LINE:
                    said = ONE_LINE[name]
                    wait.until(lambda b, said=said: said in b.find_element("tag name", "body").text)
                    browser.switch_to.default_content()
                    continue
                wait.until(lambda b: b.find_elements("css selector", "tbody td"))
                assert [press(browser, name, 0) for _ in range(2)] == ["ascending", "descending"]
                if name == "accuracy":
                    assert rows(browser, name, 0) == ["local", "linear"]
                assert browser.execute_script(FETCHED) == []
                browser.switch_to.default_content()
            else:
                wait.until(lambda b: b.execute_script(WIDEST) >= 900)
            assert browser.execute_script(FETCHED) == []
        shoot(browser, f"snakemake-{category.lower()}")
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
