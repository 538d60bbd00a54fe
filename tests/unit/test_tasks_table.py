"""The table of what was trained: sizes of the cells, and the data that they saw."""

from __future__ import annotations

import json

from fabricated import score_row, table

from lra.config.cell import to_yaml
from lra.results import layout
from lra.results.records import ScoreRow, write_rows
from tiny import make_cell


def test_each_task_has_its_sizes_beside_the_papers(tmp_path):
    root, models = tmp_path / "demo", {"linear": {"layers": 1}, "local": {"layers": 3}}
    rows = [
        score_row(task, model, params=1000 * len(model))
        for task in ("listops", "mine")
        for model in models
    ]
    root.mkdir()
    write_rows(root / "scores.parquet", rows, ScoreRow)
    for row in rows[:2]:
        path = root / layout.CONFIG.format(**row)
        path.parent.mkdir(parents=True)
        path.write_text(to_yaml(make_cell(encoder=models[row["model"]], model=row["model"])))
    data = tmp_path / "data/listops/dataset.json"
    data.parent.mkdir(parents=True)
    about = {"info": {"source": "made up"}, "splits": {"train": {"rows": 1200}}}
    data.write_text(json.dumps(about))

    (listops, mine), text = table("tasks", root)
    assert (listops["length"], listops["classes"], listops["steps"]) == ("64", "10", "40")
    sizes = "1 layer, 2 heads, dim 32, MLP 32; 3 layers, 2 heads, dim 32, MLP 32"
    assert listops["encoder"] == sizes
    assert (listops["least_params"], listops["most_params"]) == ("5000", "6000")
    assert listops["chance"] == "17.0" and listops["n_test"] == "2000"
    assert mine["length"] == "-"  # its cells have no configuration, and the paper no such task
    assert "paper: ListOps" in text and "paper: up to 2,000" in text
    assert "- listops: made up; 1,200 training examples." in text
