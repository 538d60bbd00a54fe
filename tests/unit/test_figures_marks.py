"""Each mark of a figure's SVG says its model and value; its colours can be seen in both schemes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from fabricated import MODELS, THREE

from lra import attention
from lra.report.colours import contrast
from lra.report.figures import style
from lra.report.inline_svg import GROUNDS, inline, shown
from lra.results.points import SpeedRow, read_fast

FIGURES = ["scores", "performance", "speed", "learning_curves", "span", "energy"]


def titles(drawn, name: str) -> dict[str, list[str]]:
    """By model, of the marks in a figure's part of the page."""
    found: dict[str, list[str]] = {}
    for element in ElementTree.fromstring(inline(drawn / f"{name}.svg", name).markup).iter():
        if model := element.get("data-model"):
            found.setdefault(model, []).extend(x.text for x in element.findall("title"))
    return found


def test_points_of_a_line_have_their_values(drawn):
    found = titles(drawn, "speed")
    assert set(found) == set(THREE)
    for row in read_fast(drawn / "speed.parquet", SpeedRow):
        at = [x for x in found[row["model"]] if f"length {row['length']:,} tokens" in x]
        values = [x for x in at if "repeats" not in x]
        if row["status"] == "ok":
            ((_, value),) = (x.split("training steps per second ") for x in values)
            assert float(value) == pytest.approx(row["train_steps_per_s"], rel=5e-3)
        else:
            assert not values
    curves = titles(drawn, "learning_curves")
    assert any(x.startswith("linear, text: optimiser step 100, accuracy") for x in curves["linear"])


@pytest.mark.parametrize("name", FIGURES)
def test_every_model_is_found_and_a_task_of_the_same_name_is_none(drawn, name):
    assert set(titles(drawn, name)) == set(THREE)  # `image` is a mechanism, too


def test_cells_of_the_heat_map_say_what_they_hold(drawn):
    found = titles(drawn, "scores")
    for model in THREE:
        assert {x.split(":")[0] for x in found[model] if ":" in x} >= {
            f"{model}, {t}" for t in ("text", "image")
        }
    assert "local, text: 1/2 ok" in found["local"]


def test_a_hatch_stays_and_is_of_its_figure(drawn):
    tree = ElementTree.fromstring(inline(drawn / "scores.svg", "heat").markup)
    patterns = {x.get("id") for x in tree.iter("pattern")}
    used = {
        style.split("url(#")[1].split(")")[0]
        for x in tree.iter()
        if "url(#" in (style := x.get("style", ""))
    }
    assert used and used == patterns and all(name.startswith("heat-") for name in used)


def test_a_wide_figure_is_cut_into_panels_and_entries_for_a_phone(drawn):
    for name, panels, entries in (("learning_curves", [1, 1], 3), ("span", [1, 2], 3)):
        tree = ElementTree.fromstring(f"<div>{inline(drawn / f'{name}.svg', name).narrow}</div>")
        found = {kind: [x for x in tree if x.get("class") == kind] for kind in ("panel", "entry")}
        assert [len(piece) for piece in found["panel"]] == panels and len(found["entry"]) == entries
        boxes = [[*map(float, x.get("viewBox").split())] for x in tree.findall("svg/svg")]
        whole = ElementTree.parse(drawn / f"{name}.svg").getroot().get("viewBox").split()
        for left, top, width, height in boxes:
            assert left > -3 and top > -3 and min(width, height) > 5
            assert left + width < float(whole[2]) + 3 and top + height < float(whole[3]) + 3
    assert inline(drawn / "speed.svg", "speed").narrow == ""


def test_notes_leave_the_drawing_for_the_page(drawn):
    for name in FIGURES:
        part = inline(drawn / f"{name}.svg", name)
        assert "xperiment demo; " in part.notes and not part.nothing
        assert "xperiment demo" not in part.markup
        heights = [
            float(ElementTree.fromstring(svg).get("viewBox").split()[3])
            for svg in (part.markup, (drawn / f"{name}.svg").read_text())
        ]
        assert 20 < heights[0] < heights[1] - 10


@pytest.mark.parametrize("scheme", GROUNDS)
def test_series_and_letters_can_be_seen(scheme):
    for colour in style.COLOURS:
        assert contrast(shown(colour, scheme), GROUNDS[scheme]) >= 3, colour
    for grey in ("#262626", "#404040", "#000000"):  # of texts
        assert contrast(shown(grey, scheme), GROUNDS[scheme]) >= 4.5, grey
    assert shown("#ffffff", scheme) == GROUNDS[scheme]
    for share in range(0, 256, 5):  # of a heat map's cell
        cell = f"#{share:02x}{0x73 + share * 140 // 255:02x}{0xB2 + share * 77 // 255:02x}"
        letters = max(("#ffffff", "#010101"), key=lambda each: contrast(each, cell))
        text, ground = (
            shown(c, scheme, f"cell-{k}") for c, k in ((letters, "text"), (cell, "path"))
        )
        assert contrast(text, ground) >= 4.5, cell


def test_no_two_models_have_one_colour():
    names = [*attention.names(), *MODELS, *(f"own{i}" for i in range(60))]
    looks = style.looks(sorted(set(names)))
    assert len({look["color"] for look in looks.values()}) == len(looks)
