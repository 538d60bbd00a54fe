"""What the accuracy table says of its protocol, and each model's best variant of a task."""

from __future__ import annotations

import pytest
from fabricated import REFERENCE, score_row

from lra.report.tables import protocol_notes
from lra.report.variants import counted_once, with_best

COLUMNS = "task,model,key,value,source,ours,reason\n"


@pytest.fixture
def notes(tmp_path):
    """Rows and the lines of their protocol's table -> the notes."""

    def build(rows, *lines):
        (tmp_path / "protocols").mkdir(exist_ok=True)
        text = COLUMNS + "\n".join(lines)
        (tmp_path / "protocols/official.csv").write_text(text, encoding="utf-8")
        return protocol_notes.notes(rows, tmp_path / "scores.csv")

    return build


def test_differences_are_said_once_with_where_and_why(notes):
    rows = [score_row(model="linear"), score_row(model="local")]
    said = notes(
        rows,
        "*,*,encoder.dim,64,a.py:1,,",
        "*,*,training.precision,float16,a.py:2,float32,no scaling",
        "text,linear,encoder.heads,1,a.py:3,4,a slip there",
        "text,local,encoder.heads,1,a.py:3,4,a slip there",
        "image,*,encoder.layers,1,a.py:4,2,of another task",
        "*,*,other: evaluation,drops the remainder,a.py:5,sees all,nothing is lost",
        "*,set,encoder.options.inducing,-,-,16,not in the source",
    )
    assert said == [
        "Differences from the source, all (official.csv): precision: float16 there, float32 here "
        "(no scaling); heads (linear of text, local of text): 1 there, 4 here (a slip there); "
        "evaluation: drops the remainder there, sees all here (nothing is lost)."
    ]


def test_models_that_the_source_has_not_are_named(notes):
    line = "*,set,encoder.options.inducing,-,-,16,not in the source"
    assert notes([score_row(model="set")], line) == [
        "Not in the source, with values of our own: set."
    ]


def test_a_protocol_without_a_source_has_no_differences(tmp_path):
    assert protocol_notes.notes([score_row(protocol="quick")], tmp_path / "scores.csv") == []


def test_official_and_standard_say_what_differs():
    for protocol in ("official", "standard", "paper"):
        said = protocol_notes.notes([score_row(protocol=protocol)], REFERENCE / "scores.csv")
        assert any(note.startswith("Differences from the source, all") for note in said)


def test_attended_tokens_are_said_by_task_and_where_a_model_differs(notes):
    rows = [
        score_row("pathfinder", model, seed, attended_tokens=tokens)
        for model, tokens in (("transformer", 541.0), ("local", 541.0), ("linear", 1024.0))
        for seed in (0, 1)
    ]
    rows += [score_row("text", "local", attended_tokens=950.4)]
    assert notes(rows) == [
        "Tokens of a test example that are attended, on average: pathfinder 541 (1,024: linear), "
        "text 950."
    ]


def variant(length, model, validated, tested, seed=0, **changes):
    return score_row(f"text-{length}k", model, seed, variant_of="text", val_accuracy=validated,
                     accuracy=tested, **changes)  # fmt: skip


def test_the_best_variant_is_chosen_on_validation_and_not_on_the_test_set():
    rows = [
        variant(1, "local", 60.0, 70.0), variant(2, "local", 65.0, 55.0),
        variant(1, "linear", 62.0, 50.0, 0), variant(1, "linear", 50.0, 50.0, 1),
        variant(2, "linear", 57.0, 51.0, 0), variant(2, "linear", 54.0, 52.0, 1),
    ]  # fmt: skip
    found, notes = with_best(rows)
    best = {(r["model"], r["seed"]): r["accuracy"] for r in found if r["task"] == "text"}
    assert best == {("local", 0): 55.0, ("linear", 0): 50.0, ("linear", 1): 50.0}
    assert found[: len(rows)] == rows
    assert notes == [
        "text: each model's best variant on validation: text-2k of local; text-1k of linear."
    ]


def test_no_best_where_a_variant_is_not_ok_or_the_task_itself_is_trained():
    lost = variant(2, "local", None, None, status="oom")
    assert with_best([variant(1, "local", 60.0, 70.0), lost]) == (
        [variant(1, "local", 60.0, 70.0), lost], [],
    )  # fmt: skip
    rows = [score_row("text", "local"), variant(4, "local", 60.0, 70.0)]
    assert with_best(rows) == (rows, [])


def test_a_task_in_variants_counts_once():
    alone = [variant(2, "local", 60.0, 70.0), variant(2, "linear", None, None, status="oom")]
    renamed, notes = with_best([*alone, score_row("image")])
    assert [(r["task"], r.get("variant_of")) for r in renamed] == [("text", None)] * 2 + [
        ("image", None)
    ]
    assert notes == ["text: of its variants text-2k alone."]
    both = [variant(1, "local", 60.0, 70.0), variant(2, "local", 65.0, 55.0), score_row("image")]
    assert [(r["task"], r["accuracy"]) for r in counted_once(both)] == [
        ("image", both[2]["accuracy"]), ("text", 55.0),
    ]  # fmt: skip
    beside = [score_row("text", "local"), variant(4, "local", 60.0, 70.0)]
    assert counted_once(beside) == beside[:1]
