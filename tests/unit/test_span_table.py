"""The table of required spans: means over seeds, and none where a seed has no span."""

from __future__ import annotations

import pytest
from fabricated import span_row, spans_of, table

from lra.core.errors import LRAError


@pytest.fixture
def spans(tmp_path):
    """Writes the table of rows; returns the lines of its csv by (task, model, method), and its md."""

    def build(*rows):
        spans_of(tmp_path, rows)
        lines, text = table("span", tmp_path)
        return {(x["task"], x["model"], x["method"]): x for x in lines}, text

    return build


def test_a_mean_over_seeds_of_the_mean_over_layers(spans):
    lines, text = spans(
        span_row(seed=0, span=10.0, relative=0.1), span_row(seed=1, span=30.0, relative=0.3),
        span_row(seed=0, layer=0, span=999.0), span_row(seed=1, layer=0, span=999.0),
    )  # fmt: skip
    line = lines["text", "linear", "gradient"]
    assert (line["span"], line["relative"], line["n_ok"]) == ("20.0", "0.2", "2")
    assert float(line["std"]) == pytest.approx(200**0.5)
    assert "20.0 ± 14.1<br><sub>0.20</sub>" in text
    assert "over seeds 0, 1" in text and "999" not in text


def test_one_seed_has_no_deviation_and_no_interval(spans):
    lines, text = spans(span_row(span=10.0))
    line = lines["text", "linear", "gradient"]
    assert (line["std"], line["low"], line["high"]) == ("", "", "")
    assert "±" not in text and "seed 0" in text


def test_no_mean_where_a_seed_has_no_span(spans):
    lines, text = spans(span_row(seed=0), span_row(seed=1, status="oom"))
    line = lines["text", "linear", "gradient"]
    assert (line["span"], line["status"], line["n_ok"], line["n_seeds"]) == ("", "1/2 ok", "1", "2")
    assert "| 1/2 ok |" in text and "No mean where a seed has no span." in text


def test_methods_are_rows_of_their_own_beside_uniform_attention(spans):
    lines, text = spans(
        span_row(model="transformer"), span_row(model="transformer", method="attention", span=5.0),
        span_row(task="image", model="linear", uniform=300.0),
    )  # fmt: skip
    assert lines["text", "transformer", "attention"]["span"] == "5.0"
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    even = [row for row in rows if row[1].strip().startswith("uniform attention")]
    assert len(even) == 2  # one for each method
    assert ("image", "transformer", "gradient") not in lines  # not measured is not a line


def test_two_experiments_are_no_table(spans):
    with pytest.raises(LRAError, match="experiment"):
        spans(span_row(), span_row(model="local", experiment="other"))


def test_nothing_measured_says_so(spans):
    lines, text = spans()
    assert lines == {} and "Required attention span" in text
