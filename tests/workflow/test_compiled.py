"""Cells whose blocks are compiled: the results of the others within tolerance, the same bits again."""

from __future__ import annotations

import pytest
import torch
from test_footprint import point
from torch.testing import assert_close

from lra.config.cell import Cell
from lra.core.errors import LRAError
from lra.core.schema import checked
from lra.data.split import read_split
from lra.evaluation import profile
from lra.training.batches import Batches
from lra.training.checkpoint import Work
from lra.training.loop import ignore, train
from tiny import make_cell

STEPS = {"steps": 12, "eval_every": 6, "pad_to": 32}


def outcome(folder, data, watch=ignore, **changes):
    torch._dynamo.reset()
    training = {**STEPS, "compile": True, **changes}
    cell = make_cell(training=training)
    return train(cell, data, Work(folder, "key", print), print, save_seconds=0.0, watch=watch)


@pytest.mark.slow
def test_losses_are_those_of_the_model_as_it_is_written(tiny_listops, tmp_path):
    """With dropout, in batches of several widths."""
    compiled = outcome(tmp_path / "compiled", tiny_listops)
    written = outcome(tmp_path / "written", tiny_listops, compile=False)
    assert compiled.status == written.status == "ok"
    for one, two in zip(compiled.history, written.history, strict=True):
        assert (one["step"], one["split"]) == (two["step"], two["split"])
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)
    for key, value in compiled.weights.items():
        assert_close(value, written.weights[key], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_stopped_and_resumed_it_has_the_same_bits(tiny_listops, tmp_path):
    """A new process compiles its widths in another order; so does this one, which forgets."""
    whole = outcome(tmp_path / "whole", tiny_listops)

    def kill(history):
        if history[-1]["step"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outcome(tmp_path / "killed", tiny_listops, watch=kill)
    resumed = outcome(tmp_path / "killed", tiny_listops)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    assert all(torch.equal(whole.weights[key], resumed.weights[key]) for key in whole.weights)


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
    one = point("transformer", layers=1, max_len=64)
    measured = [profile.speed(p) for p in (one, one.model_copy(update={"compile": True}))]
    assert [m["status"] for m in measured] == ["ok", "ok"]
    assert measured[0]["flops_per_step"] == measured[1]["flops_per_step"]
    assert measured[0]["kernels_per_step"] == measured[1]["kernels_per_step"]
