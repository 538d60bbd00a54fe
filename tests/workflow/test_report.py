"""The target `report`: both pages, of the experiment that was asked for, and what makes them anew."""

from __future__ import annotations

from lra.figures import FIGURES

CONFIGURATION = ("--config", "models=[linear]", "seeds=[1]")
PAGES = {"page", "Snakemake's report"}


def test_both_pages_are_of_the_configuration_of_the_run_that_makes_them(checkout):
    checkout.run("report", *CONFIGURATION)
    root = checkout.folder / "results/tiny"
    pages = {name: (root / name).read_text() for name in ("page.html", "report.html")}
    for text in pages.values():
        assert "models linear; seeds\\n1." in text.replace("\n", "\\n")
    assert [text.count("data:image/png") for text in pages.values()] == [len(FIGURES)] * 2
    assert checkout.plan("report", *CONFIGURATION) == set()

    checkout.edit("workflow/report/figure.rst", "Up is more accurate", "Higher is better")
    assert checkout.plan(*CONFIGURATION) == set()
    assert checkout.plan("report", *CONFIGURATION) == PAGES
