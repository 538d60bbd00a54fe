"""Cells whose blocks are compiled: the results of the others within tolerance, the same bits again.

In processes of their own, as users have them: torch's compiler takes what it finds in a process.
"""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from lra.config.cell import Cell, ProfilePoint
from lra.core.errors import LRAError
from lra.core.schema import checked
from lra.data.split import read_split
from lra.training.batches import Batches
from processes import finish, lra, results, same, start, wait_for
from tiny import ENCODER, make_cell

STEPS = {"steps": 200, "eval_every": 100, "pad_to": 32}


def cell_of(compile: bool = True, **changes) -> Cell:
    return make_cell(training={**STEPS, "compile": compile, **changes})


@pytest.mark.slow
def test_losses_are_those_of_the_model_as_it_is_written(tiny_listops, tmp_path):
    """With dropout, in batches of several widths."""
    for name in ("compiled", "written"):
        cell = cell_of(name == "compiled", steps=12, eval_every=6)
        finish(start(cell, tiny_listops, tmp_path / name))
    (_, compiled), (_, written) = (results(tmp_path / name) for name in ("compiled", "written"))
    pd.testing.assert_frame_equal(compiled, written, rtol=1e-4)
    weights = [
        load_file(tmp_path / name / "checkpoint.safetensors") for name in ("compiled", "written")
    ]
    for key in weights[0]:
        assert_close(weights[0][key], weights[1][key], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_killed_and_resumed_it_has_the_same_bits(tiny_listops, tmp_path):
    """The new process compiles its widths in another order."""
    finish(start(cell_of(), tiny_listops, tmp_path / "whole"))
    killed = start(cell_of(), tiny_listops, tmp_path / "killed", save_seconds=0.0)
    wait_for(tmp_path / "killed/work/state.pt", killed)
    killed.kill()
    killed.wait()
    killed.stderr.close()
    said = finish(start(cell_of(), tiny_listops, tmp_path / "killed"))
    assert "resumed at step" in said
    same(tmp_path / "whole", tmp_path / "killed")


def test_widths_are_few(tiny_listops):
    data = read_split(tiny_listops / "train.arrow")
    cell = make_cell(training={"compile": True, "pad_to": 1})
    batches = Batches(data, cell, torch.device("cpu"))
    widths = {batches.at(torch.arange(i, i + 1).numpy()).tokens.shape[-1] for i in range(300)}
    assert widths <= {16, 32, 48, 64} and len(widths) > 1


def test_reversible_layers_are_refused():
    cell = make_cell(encoder={"attention": "reformer", "options": {"reversible": True}})
    values = cell.model_dump(mode="json")
    values["training"]["compile"] = True
    with pytest.raises(LRAError, match="compile: reversible layers are not compiled"):
        checked(Cell, values, "here")


@pytest.mark.slow
def test_a_compiled_profile_has_the_work_of_the_other(tmp_path):
    found = []
    for compile in (False, True):
        point = ProfilePoint(
            experiment="test", protocol="quick", task="listops", model="transformer", length=64,
            batch_size=2, seconds=0.1, device="cpu", compile=compile, encoder=ENCODER,
        )  # fmt: skip
        root = tmp_path / str(compile)
        done = lra("profile", point.model_dump_json(), "--root", str(root))
        assert done.returncode == 0, done.stderr
        found.append(json.loads(next(root.rglob("speed/transformer/64.json")).read_text()))
    assert [each["status"] for each in found] == ["ok", "ok"]
    assert [each["compile"] for each in found] == [False, True]
    assert found[0]["flops_per_step"] == found[1]["flops_per_step"]
    assert found[0]["kernels_per_step"] == found[1]["kernels_per_step"]
