"""What the tables say, in all four forms."""

import re

import pytest
from fabricated import MODELS, REFERENCE, TASKS, experiment, score_row, table
from hypothesis import given
from hypothesis import strategies as st

from lra.config.protocol_source import accuracies
from lra.core.errors import LRAError
from lra.report import registry
from lra.report.tables.accuracy import rank
from lra.report.tables.write import write
from lra.results.records import ScoreRow, write_rows

FIVE = [task for task in TASKS if task != "pathx"]


@pytest.fixture
def accuracy(tmp_path):
    """Rows -> the lines of the csv by model and task, and the other forms by suffix."""

    def build(rows):
        write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
        lines, _ = table("accuracy", tmp_path)
        forms = forms_of(tmp_path / "accuracy")
        return {(line["model"], line["task"]): line for line in lines}, forms

    return build


def forms_of(stem) -> dict[str, str]:
    return {form: stem.with_suffix(f".{form}").read_text() for form in ("md", "tex", "html")}


def entries(markdown: str, model: str) -> list[str]:
    """The cells of a model's line."""
    (line,) = (x for x in markdown.splitlines() if x.startswith(f"| {model} "))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def five(model="linear", **accuracies):
    return [score_row(t, model, s, accuracy=accuracies.get(t, 70.0)) for t in FIVE for s in (0, 1)]


def test_the_papers_figure_and_the_difference(accuracy):
    lines, forms = accuracy([score_row(seed=0, accuracy=66.0), score_row(seed=1, accuracy=68.0)])
    line = lines["linear", "text"]
    assert (float(line["mean"]), float(line["published"])) == (67.0, 65.9)
    assert float(line["difference"]) == pytest.approx(1.1)
    assert line["n_ok"] == line["n_seeds"] == "2"
    assert (line["interval"], line["low_90"], line["by_seed"]) == ("examples", "", "66.00 68.00")
    assert "- ᵃ inconclusive: fewer than 3 seeds." in forms["md"]
    assert entries(forms["md"], "linear") == [
        "66.00 / 68.00<br><sub>[64.9, 69.0]</sub><br><sub>65.90 (+1.10) ?ᵃ</sub>"
    ]


def test_a_quick_experiment_says_that_it_does_not_compare_and_shows_nothing_published(accuracy):
    lines, forms = accuracy([score_row(protocol="quick")])
    line = lines["linear", "text"]
    assert line["difference"] == line["published"] == line["replication"] == ""
    assert entries(forms["md"], "linear") == ["60.00<br><sub>[57.8, 62.1]</sub>"]
    assert all("not comparable" in form for form in forms.values())
    assert not any("65.9" in form or "Last line" in form for form in forms.values())


def test_from_three_seeds_on_there_is_a_mean_with_students_interval(accuracy):
    rows = [score_row(seed=i, accuracy=a) for i, a in enumerate((66.0, 68.0, 67.0))]
    lines, forms = accuracy(rows)
    assert entries(forms["md"], "linear")[0].startswith("67.00 ± 1.00<br><sub>[64.5, 69.5]</sub>")
    assert lines["linear", "text"]["interval"] == "seeds" and "Student's t" in forms["md"]


@pytest.mark.parametrize(
    ("n", "shown"), [(99, "81 / 81"), (400, "80.6 / 81.5"), (2000, "80.62 / 81.46")]
)
def test_decimals_are_those_that_the_test_set_allows(accuracy, n, shown):
    _, forms = accuracy(
        [score_row(seed=i, accuracy=80.625 * (1 + i / 97), n_test=n) for i in (0, 1)]
    )
    assert entries(forms["md"], "linear")[0].startswith(f"{shown}<br>")


def test_a_best_of_few_seeds_is_bold_only_where_it_is_told_apart_from_the_second(accuracy):
    near, far = {"linear": 60.0, "local": 61.0}, {"linear": 60.0, "local": 65.0}
    for figures, marked in ((near, False), (far, True)):
        rows = [
            score_row(model=m, seed=i, accuracy=a + i) for m, a in figures.items() for i in (0, 1)
        ]
        lines, forms = accuracy(rows)
        assert ("**" in entries(forms["md"], "local")[0]) == marked
        assert ("<u>" in entries(forms["md"], "linear")[0]) == marked
        assert lines["linear", "text"]["apart"] == str(marked)
        assert lines["local", "text"]["apart"] == ""
        assert "where the interval of their difference (Newcombe) does not hold 0" in forms["md"]
    rows = [score_row(model=m, seed=i, accuracy=a) for m, a in near.items() for i in range(3)]
    assert "**61.00" in entries(accuracy(rows)[1]["md"], "local")[0]


def test_a_task_that_no_model_learned_is_grey_and_in_no_average(accuracy):
    rows = [
        score_row(t, "linear", accuracy=a) for t, a in (("text", 60), ("image", 30), ("pathx", 50))
    ]
    lines, forms = accuracy(rows)
    assert forms["html"].count('class="unlearned"') == 1
    assert float(lines["linear", "average"]["mean"]) == 45
    assert "Average: over text, image, seed by seed. No model learned pathx (grey)." in forms["md"]
    assert "| pathxᵃ" in re.sub(" +", " ", forms["md"])
    assert "ᵃ no model is above chance" in forms["md"]


def test_notes_that_list_every_model_are_folded_away_and_come_last(accuracy):
    sizes = {"transformer": 100_000, "local": 120_000}
    _, forms = accuracy([score_row(model=m, params=n) for m, n in sizes.items()])
    detail = "text, parameters beside the transformer's: local +20 %."
    details = forms["html"].partition("<details")[2].partition("</details>")[0]
    assert detail in details.replace("&#x27;", "'")
    assert forms["md"].partition("Further notes:")[2].count(detail) == 1
    assert entries(forms["md"], "local")[0].startswith("60.00ᵃ<br>")
    assert "FAIL" not in forms["md"] and "$^{a}$ parameters more than 10" in forms["tex"]


def test_the_caption_names_what_the_table_is_of(accuracy):
    _, forms = accuracy([score_row(seed=3), score_row(task="image", seed=3)])
    for word in ("Experiment demo", "protocol official", "seed 3 only", "text 50.0 %, n = 2,000"):
        assert word in forms["md"] and word in forms["html"]
    assert r"image 10.0 \%" in forms["tex"]


def test_a_status_is_shown_and_never_a_zero(accuracy):
    rows = [score_row(seed=i, status=s) for i, s in enumerate(["ok", "diverged", "ok"])]
    rows += [score_row(model="local", seed=i, status="oom") for i in range(3)]
    lines, forms = accuracy(rows)
    assert entries(forms["md"], "linear")[0].startswith("2/3 ok")
    assert entries(forms["md"], "local")[0].startswith("oom")
    assert lines["local", "text"]["mean"] == "" and lines["local", "text"]["n_ok"] == "0"


def test_fail_is_not_above_chance(accuracy):
    lines, forms = accuracy([score_row(accuracy=51.0), score_row(model="local", accuracy=60.0)])
    assert lines["linear", "text"]["verdict"] == "FAIL"
    assert entries(forms["md"], "linear") == ["FAIL<br><sub>65.90 ?ᵃ</sub>"]
    assert lines["linear", "text"]["replication"] == "inconclusive"
    assert "FAIL: not significantly above chance" in forms["md"]


def test_fail_is_corrected_for_the_models_of_the_table(accuracy):
    rows = [score_row(model=f"m{i}", accuracy=50.0) for i in range(10)]
    lines, _ = accuracy([*rows, score_row(accuracy=53.0)])  # p = 0.0039
    assert lines["linear", "text"]["verdict"] == "FAIL"
    lines, forms = accuracy([score_row(accuracy=53.0), rows[0]])
    assert lines["linear", "text"]["verdict"] == "ok"
    assert "p < 0.01 after Holm's correction for the task's models" in forms["md"]


def test_what_was_validated_on_the_test_set_is_marked(accuracy):
    rows = [score_row(validation="test set"), score_row(task="image")]
    lines, forms = accuracy(rows)
    note = "validated on the test set itself, as the official code does."
    assert all(note in form for form in (forms["md"], forms["html"], forms["tex"]))
    assert "| textᵃ | image |" in re.sub(" +", " ", forms["md"])
    assert lines["linear", "text"]["validation"] == "test set"


def test_models_off_the_transformers_size_by_more_than_a_tenth_are_marked(accuracy):
    sizes = {"transformer": 100_000, "local": 110_000, "linear": 110_001, "reformer": 89_999}
    _, forms = accuracy([score_row(model=model, params=size) for model, size in sizes.items()])
    assert "beside the transformer's: linear +10 %, reformer -10 %." in forms["md"]
    lettered = [model for model in sizes if "60.00ᵃ" in entries(forms["md"], model)[0]]
    assert lettered == ["linear", "reformer"]
    _, forms = accuracy([score_row(model="linear", params=1)])
    assert "do not allow" not in forms["md"]


def test_an_odd_published_average_is_kept_and_said(accuracy):
    _, forms = accuracy([*five("sinkhorn"), *five("bigbird")])
    assert "51.39" in entries(forms["md"], "sinkhorn")[-1]
    assert "sinkhorn: the published average, 51.39, is not the mean" in forms["md"]
    assert "bigbird: the published average" not in forms["md"]
    assert "sinkhorn: the blocks of the official code" in forms["md"]
    assert "local: the official code" not in forms["md"]


def test_best_and_second_are_marked_in_every_form(accuracy):
    figures = {"linear": 51.0, "local": 70.0, "performer": 62.0, "sparse": 50.0}
    _, forms = accuracy([score_row(model=m, accuracy=a) for m, a in figures.items()])
    assert "**70.00**" in entries(forms["md"], "local")[0]
    assert "<u>62.00</u>" in entries(forms["md"], "performer")[0]
    assert re.search(r"local & \\textbf\{70\.00\} ", forms["tex"])
    assert re.search(r"performer & \\underline\{62\.00\} ", forms["tex"])
    assert forms["html"].count("<strong>") == forms["html"].count("<u>") == 1
    assert "<strong>70.00</strong>" in forms["html"] and "<u>62.00</u>" in forms["html"]


def test_a_model_alone_is_not_the_best(accuracy):
    lines, _ = accuracy([score_row()])
    assert lines["linear", "text"]["rank"] == ""


@given(st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.floats(0, 100)), max_size=6))
def test_ranks(values):
    marks = rank(values)
    shown = {m: round(v, 2) for m, v in values.items() if v is not None}
    assert set(marks) == set(values)
    best = [m for m, mark in marks.items() if mark == "best"]
    second = [m for m, mark in marks.items() if mark == "second"]
    if len(values) < 2 or not shown:
        assert not best and not second
        return
    assert {shown[m] for m in best} == {max(shown.values())}
    below = [v for v in shown.values() if v < max(shown.values())]
    assert {shown[m] for m in second} == ({max(below)} if below else set())


@pytest.mark.parametrize("change", [{"protocol": "quick"}, {"experiment": "x"}, {"n_test": 9}])
def test_what_does_not_belong_together_is_refused(accuracy, change):
    with pytest.raises(LRAError, match=r"scores\.parquet: more than one"):
        accuracy([score_row(seed=0), score_row(seed=1, **change)])


def test_a_missing_reference_is_one_line(tmp_path):
    write_rows(tmp_path / "scores.parquet", [score_row()], ScoreRow)
    with pytest.raises(LRAError, match=r"none\.csv: no such file"):
        table("accuracy", tmp_path, tmp_path / "none.csv")


def test_trainings_have_their_mean_time_and_energy(tmp_path):
    def training(*rows):
        write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
        lines, text = table("training", tmp_path)
        return {x["model"]: x for x in lines}, text

    both = [{"train_seconds": t, "energy_joules": 1000 * t} for t in (60.0, 180.0)]
    rows = [score_row(seed=i, **own) for i, own in enumerate(both)]
    rows += [score_row(model="local", seed=0, status="oom"), score_row(model="local", seed=1)]
    rows += [score_row(model="sparse", seed=i, train_seconds=90.0) for i in (0, 1)]
    lines, text = training(*rows)
    assert (lines["linear"]["seconds"], lines["linear"]["joules"]) == ("120.0", "120000.0")
    assert (lines["local"]["status"], lines["local"]["seconds"]) == ("1/2 ok", "")
    assert entries(text, "linear") == ["2.00<br><sub>120 kJ</sub>"]
    assert (entries(text, "local"), entries(text, "sparse")) == (["1/2 ok"], ["1.50"])
    assert (
        "Energy not reported for every seed: sparse on text." in text and "training in min," in text
    )
    assert "Pretraining" not in text
    first = [score_row(model="pre", seed=i, pretrain_seconds=30.0 + 60 * i) for i in (0, 1)]
    assert "Pretraining took besides: pre on text 1.0 min." in training(*rows, *first)[1]
    _, text = training(*rows[2:])
    assert "Energy not measured: no driver reported it on cpu: demo." in text and "GPU" not in text


@pytest.mark.parametrize("models", [MODELS, ["linear"], []])
def test_same_input_gives_the_same_bytes_and_a_page_needs_nothing_else(tmp_path, models):
    experiment(tmp_path, models=models, tasks=FIVE, seeds=(0,), lengths=(256, 1024))
    written = []
    for name in ("first", "second"):
        for item in map(registry.table, ("accuracy", "efficiency")):
            write(item, tmp_path, tmp_path / name / item.name, REFERENCE / "scores.csv")
        written.append({p.name: p.read_bytes() for p in sorted((tmp_path / name).iterdir())})
    assert written[0] == written[1] and len(written[0]) == 8
    for name in ("accuracy.html", "efficiency.html"):
        assert not re.search(rb"""(src|href)=|url\(|@import""", written[0][name])


def test_the_reference_is_the_papers():
    text = (REFERENCE / "scores.csv").read_text().splitlines()
    assert len(text) == 12 and text[1] == "transformer,36.37,64.27,57.46,42.44,71.40,FAIL,54.39"
    assert len((REFERENCE / "efficiency.csv").read_text().splitlines()) == 1 + 9 * 4


def test_the_recipes_of_the_authors_are_shown_beside_their_own_values(tmp_path):
    assert accuracies("authors") == "authors.csv" and accuracies("official") == "scores.csv"
    rows = [score_row("image", "s5", protocol="authors", accuracy=87.0)]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    text = table("accuracy", tmp_path, REFERENCE / accuracies("authors"))[1]
    assert "88.00 (−1.00)" in text and "the mechanism's authors" in text


def test_standard_is_shown_beside_reproductions_of_its_encoder(tmp_path):
    rows = [score_row(model="transformer", protocol="standard", accuracy=66.02)]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    text = table("accuracy", tmp_path, REFERENCE / "standard.csv")[1]
    shown = "66.02<br><sub>[63.9, 68.0]</sub><br><sub>65.02 (+1.00) ?ᵃ</sub>"
    assert entries(text, "transformer") == [shown]
    assert "mlpen/Nystromformer" in text and "the paper's accuracy" not in text
