"""The section `decode:` from snakemake to its table and figure: what it plans, and what reruns it."""

from __future__ import annotations

import re

import pyarrow.parquet as pq
import pytest

SECTION = "decode:\n  contexts: [8]\n  training_lengths: [8]\n  seconds: 0.01\nseeds:"
JOBS = {"decoding of linear", "decoding of local"}
AFTER = {"collect decode", "collect directions", "table decoding", "figure decoding"}


def measured(checkout) -> dict[str, str]:
    files = (checkout.folder / "results/tiny/profile").glob("d*/*/*.json")
    return {"/".join(file.parts[-3:]): file.read_text() for file in files}


@pytest.mark.slow
def test_it_runs_alone_and_again_where_its_own_code_or_contexts_change(checkout):
    assert "Nothing to be done" in checkout.run("-n")
    checkout.edit("config/tiny.yaml", "seeds:", SECTION)
    assert checkout.plan() == JOBS | AFTER | {"page"}
    told = re.findall(r"^(Job|Finished jobid:) (\d+)", checkout.run("decoding"), re.MULTILINE)
    first_two = [*zip(told[:4:2], told[1:4:2], strict=True)]  # each ends before the next begins
    assert all((a, b) == ("Job", "Finished jobid:") and m == n for (a, m), (b, n) in first_two)
    root = checkout.folder / "results/tiny"
    rows = pq.read_table(root / "decode.parquet").to_pylist()
    assert [(r["model"], r["length"], r["status"]) for r in rows] == [
        ("linear", 8, "ok"), ("local", 8, "ok"),
    ]  # fmt: skip
    assert "linear" in (root / "tables/decoding.md").read_text()
    assert checkout.plan("decoding") == set()

    for file, old, new, jobs in (
        ("src/lra/evaluation/profile.py", "WARM_UP = 2", "WARM_UP = 3", set()),
        ("src/lra/attention/steps/sums.py", "\nclass ", "\nNEW = 1\n\n\nclass ", {"decoding of linear"}),
        ("src/lra/evaluation/decode.py", "STEPS = 32", "STEPS = 31", JOBS),
    ):  # fmt: skip
        checkout.edit(file, old, new)
        assert checkout.plan("decoding") == (jobs | AFTER if jobs else set()), file
        checkout.edit(file, new, old)

    before = measured(checkout)
    checkout.edit("config/tiny.yaml", "contexts: [8]", "contexts: [8, 16]")
    checkout.run()
    after = measured(checkout)
    assert {name for name in after if after[name] != before.get(name)} == {
        "decode/linear/16.json", "decode/local/16.json",
    }  # fmt: skip
    page = (root / "page.html").read_text()
    assert 'id="table-decoding"' in page and 'id="figure-decoding"' in page
