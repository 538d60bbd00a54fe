"""What the tables and figures of speed and memory say: units, factors, settings, conditions."""

from __future__ import annotations

import re

import drawn
import pytest
from fabricated import experiment, memory_row, speed_row, table
from test_tables import entries, forms_of

from lra.report.tables import profile_notes
from lra.results.points import MemoryRow, SpeedRow, setting_text
from lra.results.records import arrow_schema, read_table, write_rows, write_table

DETERMINISTIC = {"setting": "deterministic", "deterministic": True}
TF32 = {"setting": "tf32", "tf32": True}
BASE = "transformer-materialised"


@pytest.fixture
def efficiency(tmp_path):
    """Rows -> the lines of the csv by model, length (and setting), and the other forms."""

    def build(speeds, memories):
        write_rows(tmp_path / "speed.parquet", speeds, SpeedRow)
        write_rows(tmp_path / "memory.parquet", memories, MemoryRow)
        lines, _ = table("efficiency", tmp_path)
        found = {}
        for line in lines:
            setting = () if line["setting"] == "fast" else (line["setting"],)
            found[line["model"], int(line["length"]), *setting] = line
        return found, forms_of(tmp_path / "efficiency")

    return build


def profile(rates, length=1024, **changes):
    speeds = [speed_row(m, length, train_steps_per_s=r, **changes) for m, r in rates.items()]
    return speeds, [memory_row(m, length, **changes) for m in rates]


def joined(*profiles):
    """Several profiles as one."""
    speeds, memories = zip(*profiles, strict=True)
    return sum(speeds, []), sum(memories, [])


def test_factors_are_over_the_materialised_transformer(efficiency):
    rates = {"transformer": 4.0, BASE: 2.0, "linear": 5.0}
    lines, forms = efficiency(*profile(rates))
    assert [float(line["factor"]) for line in lines.values()] == [2.0, 1.0, 2.5]
    assert lines["linear", 1024]["published_speedup"] == "1.1"
    assert lines["linear", 1024]["published_peak_memory_gb"] == "0.37"
    # The paper's Transformer is the materialised one; the fused one has no counterpart.
    assert lines[BASE, 1024]["published_steps_per_s"] == "8.1"
    assert lines["transformer", 1024]["published_steps_per_s"] == ""
    cells = entries(forms["md"], "linear")
    assert cells == [
        "5.00<br><sub>2.5×</sub>", "12.5", "9.1<br><sub>1.1×</sub><br><sub>0.37 GB/device</sub>",
    ]  # fmt: skip
    assert entries(forms["md"], "transformer")[2] == "-" and "published<br>1,024" in forms["md"]
    assert f"the factor over {BASE}" in forms["md"] and "factors there" not in forms["md"]
    assert "no counterpart in the paper" in forms["md"]


def test_memory_is_per_example_and_the_papers_is_per_device(efficiency):
    """400 MB at batch size 32, and the same at 8; 32 examples on 16 chips of two cores."""
    lines, forms = efficiency(*profile({"linear": 5.0}))
    assert float(lines["linear", 1024]["bytes_per_example"]) == 400_000_000 / 32
    assert "MB/example<br>1,024" in forms["md"] and "steps/s<br>1,024" in forms["md"]
    for said in ("divided by the batch size", "GB per device", "16 chips of 2 cores",
                 "2 of the 32 examples if it is a chip, and 1 if it is a core", "does not say"):  # fmt: skip
        assert said in forms["md"]
    _, forms = efficiency(*profile({"linear": 5.0}, batch_size=8))
    assert entries(forms["md"], "linear")[1] == "50.0"
    _, forms = efficiency([speed_row()], [memory_row(peak_bytes=32 * 10**9)])
    assert entries(forms["md"], "linear")[1] == "1.00"
    assert "GB/example<br>1,024" in forms["md"]


def test_factors_are_over_the_fused_transformer_where_there_is_no_other(efficiency):
    lines, forms = efficiency(*profile({"transformer": 4.0, "linear": 5.0}))
    assert float(lines["linear", 1024]["factor"]) == 1.25
    assert (
        "the factor over transformer, whose attention is fused, unlike the paper's" in forms["md"]
    )


def test_without_memory_for_the_base_factors_are_over_the_fused_one_and_it_is_said(efficiency):
    """At 4,096 tokens alone; at 1,024 the base has a speed."""
    rates = {"transformer": 4.0, BASE: 2.0, "linear": 5.0}
    speeds, memories = joined(profile(rates), profile(rates, 4096))
    lost = {"status": "oom", "train_steps_per_s": None, "peak_bytes": None}
    for row in speeds + memories:
        if (row["model"], row["length"]) == (BASE, 4096):
            row |= {key: value for key, value in lost.items() if key in {"status", *row}}
    lines, forms = efficiency(speeds, memories)
    assert [lines["linear", n]["factor_over"] for n in (1024, 4096)] == [BASE, "transformer"]
    assert [float(lines["linear", n]["factor"]) for n in (1024, 4096)] == [2.5, 1.25]
    assert entries(forms["md"], BASE)[1].startswith("oom")
    (note,) = (line for line in forms["md"].splitlines() if "factors there are over" in line)
    assert note == (
        f"- At 4,096 tokens {BASE} is oom: factors there are over transformer, whose attention is "
        "fused and faster; they do not compare with the paper's."
    )


def test_no_factor_where_neither_transformer_has_a_speed(efficiency):
    speeds = [speed_row(m, status="oom") for m in ("transformer", BASE)] + [speed_row("linear")]
    lines, forms = efficiency(speeds, [memory_row("transformer", status="oom")])
    assert lines["linear", 1024]["factor"] == lines["transformer", 1024]["factor"] == ""
    assert entries(forms["md"], "transformer")[0] == "oom"
    assert lines["transformer", 1024]["train_steps_per_s"] == ""
    assert f"At 1,024 tokens {BASE} is oom: no factor, for transformer has no" in forms["md"]
    _, forms = efficiency(speeds[::2], [])
    assert "No factor at a length at which transformer has no speed" in forms["md"]


def test_settings_are_rows_of_their_own_with_factors_of_their_own(efficiency):
    rates = {BASE: 2.0, "transformer": 4.0, "linear": 5.0}
    slow = profile({BASE: 1.0, "transformer": 2.0, "linear": 2.0}, **DETERMINISTIC)
    lines, forms = efficiency(*joined(profile(rates), slow, profile({"linear": 8.0}, **TF32)))
    keys = [("linear", 1024), ("linear", 1024, "deterministic"), ("linear", 1024, "tf32")]
    assert [lines[key]["factor"] for key in keys] == ["2.5", "2.0", ""]
    assert [lines[key]["published_speedup"] for key in keys] == ["1.1", "", ""]
    rows = [line.split(" |")[0] for line in forms["md"].splitlines() if line.startswith("| ")]
    assert [row.strip("| ") for row in rows[1:]] == [
        "**Fast kernels, float32**", BASE, "transformer", "linear",
        "**Deterministic kernels, float32**", BASE, "transformer", "linear",
        "**Fast kernels, TF32**", "linear",
    ]  # fmt: skip
    said = f"At 1,024 tokens, fast kernels, TF32, {BASE} is not measured: no factor"
    assert said in forms["md"] and "kernels and precision as headed" in forms["md"]


def test_a_note_on_the_base_that_holds_in_every_setting_names_none(efficiency):
    rates = {"transformer": 4.0, "linear": 5.0}
    both = joined(profile(rates), profile(rates, **DETERMINISTIC))
    for setting in ({}, DETERMINISTIC):
        both[0].append(speed_row(BASE, status="oom", **setting))
    _, forms = efficiency(*both)
    assert forms["md"].count("factors there are over") == 1
    assert f"- At 1,024 tokens {BASE} is oom" in forms["md"]


def test_one_line_says_how_everything_was_measured(efficiency):
    _, forms = efficiency(*profile({"linear": 5.0}))
    (line,) = (line for line in forms["md"].splitlines() if line.startswith("- Measured"))
    for said in ("on cpu: demo", "torch 2;", "batch size 32, all of it on one device",
                 "fast kernels, float32", "options of text in protocol official",
                 "encoder of 4 layers, 4 heads, dim 256, MLP 1024", "with a mask, as in the task",
                 "none of them padding", "parameters, gradients, optimiser state and activations",
                 "trainings run on deterministic ones"):  # fmt: skip
        assert said in line
    changed = {"device": "cuda: H100", "masks": False, "sizes": "2 layers", "batch_size": 8}
    both = joined(profile({"linear": 5.0}), profile({"local": 5.0}, **changed))
    _, forms = efficiency(*both)
    (line,) = (line for line in forms["md"].splitlines() if line.startswith("- Measured"))
    assert "cpu: demo, cuda: H100" in line and "not all rows are comparable" in line
    assert "with a mask, as in the task, without a mask" in line
    assert "sizes that differ by model" in line


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "fast kernels, float32"),
        (DETERMINISTIC, "deterministic kernels, float32"),
        (TF32, "fast kernels, TF32"),
        ({"precision": "bfloat16"}, "fast kernels, bfloat16"),
        ({"deterministic": None, "precision": None}, "unrecorded kernels, unrecorded precision"),
    ],
)
def test_a_setting_has_words(changed, said):
    assert setting_text(speed_row(**changed)) == said


def test_a_table_from_before_there_were_settings_is_shown(tmp_path):
    new = [
        "protocol",
        "task",
        "setting",
        "precision",
        "deterministic",
        "tf32",
        "masks",
        "sizes",
        "torch_version",
    ]
    for name, row, kind in (("speed", speed_row(), SpeedRow), ("memory", memory_row(), MemoryRow)):
        write_rows(tmp_path / f"{name}.parquet", [row], kind)
        known = read_table(tmp_path / f"{name}.parquet", kind)
        write_table(tmp_path / f"{name}.parquet", known.drop_columns(new))
        assert read_table(tmp_path / f"{name}.parquet", kind).schema == arrow_schema(kind)
    (line,), text = table("efficiency", tmp_path)
    assert (line["setting"], line["deterministic"], line["published_speedup"]) == (
        "fast",
        "",
        "1.1",
    )
    assert "unrecorded kernels, unrecorded precision" in text and "None" not in text


def test_the_papers_columns_need_a_length_of_the_paper(efficiency):
    _, forms = efficiency(*profile({"linear": 5.0}, length=256))
    assert entries(forms["md"], "linear") == ["5.00", "12.5"]
    assert "published" not in forms["md"]


@pytest.mark.parametrize("changes", [{"protocol": "quick"}, {"task": "image"}])
def test_what_does_not_compare_with_the_papers_table_has_no_column_of_it(efficiency, changes):
    lines, forms = efficiency(*profile({"linear": 5.0}, **changes))
    assert lines["linear", 1024]["published_speedup"] == ""
    assert entries(forms["md"], "linear") == ["5.00", "12.5"] and "published" not in forms["md"]
    lines, _ = efficiency(*profile({"linear": 5.0}, task="text-1k"))
    assert lines["linear", 1024]["published_speedup"] == "1.1"


BUSY_ROWS = [
    {"train_steps_per_s_low": 3.4, "train_steps_per_s_high": 4.5},
    {"cpu_share": 0.8},
    {"train_steps_per_s_low": 3.6, "train_steps_per_s_high": 4.5, "cpu_share": None},
    {"train_steps_per_s_low": None, "train_steps_per_s_high": None, "cpu_share": None},
]


@pytest.mark.parametrize(("changes", "found"), zip(BUSY_ROWS, (1, 1, 0, 0), strict=True))
def test_a_busy_machine_is_marked(efficiency, changes, found):
    rates = {"linear": 4.0, "local": 4.0}
    speeds, memories = profile(rates)
    speeds[0] |= changes
    lines, forms = efficiency(speeds, memories)
    assert entries(forms["md"], "linear")[0] == ("4.00ᵃ" if found else "4.00")
    assert entries(forms["md"], "local")[0] == "4.00"
    assert ("ᵃ the machine was busy: " in forms["md"]) == bool(found)
    assert lines["local", 1024]["repeats"] == "5"


def test_exponents_have_their_error_and_two_lengths_give_none(tmp_path):
    rates = {256: 16.0, 512: 9.0, 1024: 4.0}
    for count, shown in ((3, "linear (−1.00 ± 0.10)"), (2, "linear")):
        rows = [speed_row(length=n, train_steps_per_s=r) for n, r in list(rates.items())[:count]]
        write_rows(tmp_path / "speed.parquet", rows, SpeedRow)
        (legend,) = drawn.figure("speed", tmp_path).legends
        assert [text.get_text() for text in legend.get_texts()] == [shown]


def test_repeats_are_bars_and_a_busy_point_is_hollow(tmp_path):
    rows = [speed_row(length=n, train_steps_per_s=r) for n, r in ((256, 16.0), (512, 8.0))]
    rows[1] |= {"cpu_share": 0.5}
    write_rows(tmp_path / "speed.parquet", rows, SpeedRow)
    figure = drawn.figure("speed", tmp_path)
    (axes,) = figure.axes
    bars = [line for line in axes.lines if line.get_marker() == "_"]
    ends = [[0.97 * rate, 1.05 * rate] for rate in (16.0, 8.0)]
    assert [list(bar.get_ydata()) for bar in bars] == [pytest.approx(each) for each in ends]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[512]]
    said = " ".join(" ".join(text.get_text().split()) for text in figure.texts)
    assert "Hollow: the machine was busy" in said and "bar: lowest to highest" in said


def test_a_published_speed_is_shown_where_a_note_is_of_it(efficiency):
    _, forms = efficiency(*profile({"synthesizer": 5.0}, length=3072))
    shown = entries(forms["md"], "synthesizer")
    assert shown[0] == "5.00" and shown[2].startswith("6.6ᵃ<br><sub>2.9×</sub>")
    assert profile_notes.PUBLISHED in forms["md"]
    assert "- ᵃ synthesizer: the published 6.6 steps/s" in forms["md"]


def test_costs_show_what_some_point_has_and_say_what_never_varies(tmp_path):
    counts = {"flops_per_step": 2 * 10**9, "kernels_per_step": 1248}
    speeds = [speed_row(joules_per_step=12.5, **counts), speed_row("local")]
    write_rows(tmp_path / "speed.parquet", speeds, SpeedRow)
    write_rows(tmp_path / "memory.parquet", [memory_row(), memory_row("local")], MemoryRow)
    text = table("costs", tmp_path)[1]
    assert entries(text, "linear") == ["12.5", "2.00", "1,248"]
    assert entries(text, "local") == ["-", "-", "-"]
    assert "inference steps/s: 12.0 everywhere." in text and "parameters" not in text
    assert "Energy not" not in text and "in the csv" not in text
    write_rows(tmp_path / "speed.parquet", [speed_row(), speed_row("local")], SpeedRow)
    assert "Energy not measured: no driver reported it on cpu: demo." in table("costs", tmp_path)[1]


def test_costs_show_the_fast_setting_and_their_csv_has_all(tmp_path):
    write_rows(tmp_path / "speed.parquet", [speed_row(), speed_row(**TF32)], SpeedRow)
    write_rows(tmp_path / "memory.parquet", [memory_row()], MemoryRow)
    lines, text = table("costs", tmp_path)
    assert [line["setting"] for line in lines] == ["fast", "tf32"]
    assert entries(text, "linear") and "Other kernels and precisions: in the csv." in text
    assert "the whole process at the peak" in text


def test_figures_and_families_are_of_the_fast_setting(tmp_path):
    """What other settings measured moves no line of them."""
    models = ("transformer", "local", "linear")
    experiment(tmp_path, models=models, tasks=("text",), seeds=(0,))
    figures = ("memory", "performance")  # the latter shows speed and memory
    seen = []
    for name in ("fast", "all"):
        for figure in figures:
            drawn.files(figure, tmp_path, tmp_path / name)
        seen.append([(tmp_path / name / f"{figure}.svg").read_bytes() for figure in figures])
        seen[-1].append(table("shortcomings", tmp_path)[1])
        for what, kind in (("speed", SpeedRow), ("memory", MemoryRow)):
            rows = read_table(tmp_path / f"{what}.parquet", kind).to_pylist()
            key = "train_steps_per_s" if what == "speed" else "peak_bytes"
            rows += [row | TF32 | {key: 7 * row[key]} for row in rows]
            write_rows(tmp_path / f"{what}.parquet", rows, kind)
    assert seen[0] == seen[1]
    said = " ".join(re.findall(r"<text[^>]*>([^<]*)<", seen[0][0].decode()))
    assert "Fast kernels, float32." in said
