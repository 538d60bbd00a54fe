"""The table and the figure `decoding`: which values stand where, and what stands where there are none."""

from __future__ import annotations

import pytest
from drawn import figure, words
from fabricated import table

from lra.core.errors import LRAError
from lra.report import registry
from lra.results.points import DECODE_KINDS
from lra.results.records import write_rows

SHARED = {
    "experiment": "demo", "protocol": "ar-quick", "task": "bytes", "setting": "fast",
    "batch_size": 1, "threads": 1, "precision": "float32", "deterministic": False, "tf32": False,
    "compile": False, "masks": False, "sizes": "2 layers, 4 heads, dim 64, MLP 128",
    "device": "cpu: demo", "torch_version": "2", "status": "ok", "reason": None,
}  # fmt: skip
LOST = {"status": "oom", "reason": "no memory"}


def decode_row(model, length, rate, size, state="recurrent", **changed) -> dict:
    row = SHARED | {"model": model, "mechanism": model, "length": length, "state": state}
    row |= {"cpu_share": 1.0, "state_bytes": size} | changed
    for name, value in (("prefill", 10 * rate), ("decode", rate)):
        row |= {f"{name}_tokens_per_s": value, f"{name}_repeats": 7}
        row |= {f"{name}_tokens_per_s_low": 0.9 * value, f"{name}_tokens_per_s_high": 1.1 * value}
    measured = [key for key in row if key.startswith(("prefill", "decode"))]
    lost = dict.fromkeys([*measured, "cpu_share", "state_bytes"])
    return row | (lost if row["status"] != "ok" else {})


def directions_row(model, length, ratio, **changed) -> dict:
    row = SHARED | {"model": model, "mechanism": model, "length": length, "pairs": 9}
    row |= {"causal_step_s": 0.02 * ratio, "bidirectional_step_s": 0.02}
    own = "causal_over_bidirectional"
    return row | {own: ratio, f"{own}_low": 0.9 * ratio, f"{own}_high": 1.1 * ratio} | changed


DECODED = [
    decode_row("linear", 1024, 1000.0, 16_896),
    decode_row("linear", 65536, 970.0, 16_896),
    decode_row("rotary", 1024, 800.0, 1_048_576, "cache"),
    decode_row("rotary", 65536, 80.0, 67_108_864, "cache"),
    decode_row("local", 1024, 700.0, 65_536, "window"),
    decode_row("local", 65536, 0.0, 0, "window", **LOST),
]
TRAINED = [
    directions_row("linear", 256, 1.5), directions_row("linear", 1024, 1.75),
    directions_row("rotary", 256, 0.8), directions_row("rotary", 1024, 0.9),
]  # fmt: skip


def written(root, decoded=DECODED, trained=TRAINED):
    for what, rows in (("decode", decoded), ("directions", trained)):
        write_rows(root / f"{what}.parquet", rows, DECODE_KINDS[what].row)
    return root


def cells(text: str, group: str) -> dict[str, list[str]]:
    """The rows of Markdown below a group's heading, by model."""
    body = text.split(f"| **{group}", 1)[1].split("\n", 1)[1].split("| **")[0].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]
    return {row[0]: row[1:] for row in rows if row[0]}


def test_each_value_stands_under_its_context_and_beside_what_it_grows_by(tmp_path):
    lines, text = table("decoding", written(tmp_path))
    head = next(line for line in text.splitlines() if line.startswith("| model"))
    names = [cell.strip() for cell in head.strip("|").split("|")]
    assert names == ["model", "state", "256", "1,024", "65,536", "growth"]
    decoded = cells(text, "Decode")
    assert decoded["linear"] == ["recurrent", "-", "1,000", "970", "0.97×"]
    assert decoded["rotary"] == ["cache", "-", "800", "80.0", "0.10×"]
    assert decoded["local"] == ["window", "-", "700", "oom", "-"]
    assert cells(text, "Prefill")["rotary"][2:4] == ["8,000", "800"]
    state = cells(text, "State of a sequence, kB")
    assert state["linear"][2:] == ["16.9", "16.9", "1.0×"]
    assert state["rotary"][2:] == ["1,049", "67,109", "64.0×"]
    ratio = cells(text, "Causal over bidirectional step")
    assert ratio == {
        "linear": ["recurrent", "1.5×", "1.8×", "-", ""], "rotary": ["cache", "0.80×", "0.90×", "-", ""],
    }  # fmt: skip
    assert "local at 65,536: no memory." in text
    assert "No causal form: bigbird, linformer, nystrom, set, sinkhorn." in text
    assert all(len(line) <= 120 for line in text.splitlines() if line.startswith("|"))
    exact = [line for line in lines if line["what"] == "decode" and line["model"] == "rotary"]
    assert [line["state_bytes"] for line in exact] == ["1048576", "67108864"]
    trained = [line for line in lines if line["what"] == "directions"]
    assert (trained[1]["causal_over_bidirectional_low"], trained[1]["pairs"]) == ("1.575", "9")
    lost = next(line for line in lines if line["status"] == "oom")
    assert lost["decode_tokens_per_s"] == lost["state_bytes"] == ""


def test_two_experiments_are_no_table_and_nothing_measured_is_said(tmp_path):
    other = decode_row("linear", 1024, 1.0, 1, experiment="other")
    with pytest.raises(LRAError, match="more than one experiment"):
        table("decoding", written(tmp_path, [*DECODED, other]))
    assert "Nothing was measured." in table("decoding", written(tmp_path, [], []))[1]
    assert "Nothing was measured." in words("decoding", tmp_path)


def test_the_figure_has_a_line_a_model_in_both_panels(tmp_path):
    speed, state = figure("decoding", written(tmp_path)).axes
    lines = {line.get_color(): line for line in speed.lines if len(line.get_xdata()) == 2}
    speeds = [list(line.get_ydata()) for line in speed.lines if line.get_linestyle() != "None"]
    assert [1000, 970] in speeds and [800, 80] in speeds and [700] in speeds and lines
    assert [900, 1100] in [pytest.approx(ends) for ends in speeds]
    assert [list(line.get_ydata()) for line in state.lines] == [
        [16_896, 16_896], [1_048_576, 67_108_864], [65_536],
    ]  # fmt: skip
    assert {axis.get_scale() for axes in (speed, state) for axis in (axes.xaxis, axes.yaxis)} == {
        "log"
    }
    (cross,) = [line for line in speed.lines if line.get_marker() == "x"]
    assert list(cross.get_xdata()) == [65536]
    text = words("decoding", tmp_path)
    assert "× oom at 64K: local" in text and "100 kB" in text and "10 MB" in text


def test_a_busy_machine_and_states_that_lie_on_each_other_are_said(tmp_path):
    rows = [*DECODED, decode_row("transformer", 1024, 9.0, 1_048_576, "cache", cpu_share=0.4)]
    rows.append(decode_row("transformer", 65536, 2.0, 67_108_864, "cache"))
    assert "busy" not in table("decoding", written(tmp_path))[1]
    assert "for as little as 40 % of the time" in table("decoding", written(tmp_path, rows))[1]
    assert "on one line: rotary, transformer." in words("decoding", tmp_path)


def test_only_an_experiment_with_the_section_has_them():
    for tokens in (False, True):
        without, beside = registry.shown(tokens), registry.shown(tokens, decode=True)
        for few, more in zip(without, beside, strict=True):
            assert [item.name for item in more if item not in few] == ["decoding"]
        more = set(registry.collected(tokens, decode=True)) - set(registry.collected(tokens))
        assert more == {"decode", "directions"}
