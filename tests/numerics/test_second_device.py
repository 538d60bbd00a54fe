"""On a device that has no values (tests/second_device.py): nothing waits for one, nothing mixes."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorDeviceMismatchError,
    FakeTensorMode,
)

from lra import attention
from lra.config.cell import ProfilePoint
from lra.data.split import Info, table_of, write_split
from lra.evaluation import profile
from lra.hardware.device import unknown_energy
from lra.training import loop
from lra.training.predict import predict
from oracles import OPTIONS
from second_device import Waits, on_second_device, second_device
from tiny import make_cell, slow

# by some operators besides, which have no result without a value
RAISED = (DataDependentOutputException, DynamicOutputShapeException, NotImplementedError)
LENGTH = 700  # longer than a block, window or segment of every mechanism
EVERY = pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in attention.names()), *slow(OPTIONS)],
    ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Splits of eight examples with padding, by the number of towers."""
    random = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(random.integers(LENGTH // 2, LENGTH, 8))])
    values = random.integers(1, 17, offsets[-1]).astype(np.uint8)
    table = table_of(values, offsets, np.arange(8) % 10)
    folders = {}
    for towers in (1, 2):
        folder = folders[towers] = tmp_path_factory.mktemp("data")
        info = Info("listops", vocab_size=17, classes=10, max_length=LENGTH, pads=True)
        for split in ("train", "val"):
            write_split(folder / f"{split}.arrow", [table], info)
        table = table.append_column("tokens_b", table["tokens"])
    return folders


def cell_of(name="transformer", options=None, training=None, **encoder):
    sizes = {"attention": name, "options": options or {}, "max_len": LENGTH, "pooling": "CLS"}
    return make_cell(
        encoder={**sizes, "layers": 1, **encoder},
        training={"batch_size": 4, "eval_batch_size": 4, "clip": 1.0, **(training or {})},
    )


def waits_of_a_step(cell, data) -> dict[str, int]:
    """Of batch, forward, loss, backward, clipping and update."""
    with on_second_device(loop) as waits:
        run = loop.Run(
            cell, data[cell.encoder.towers], unknown_energy, loop.Classification(cell), None
        )
        waits.found.clear()
        run.update()
    assert {p.device for p in run.model.parameters()} == {torch.device("second", 0)}
    return dict(waits.found)


@EVERY
def test_a_training_step_waits_for_nothing(data, name, options):
    assert waits_of_a_step(cell_of(name, options), data) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", attention.names())
def test_nor_in_bfloat16_of_two_towers_without_padding_tokens(data, name):
    changed = {"towers": 2, "interaction": "NLI", "pooling": "MEAN", "mask_zero": True}
    cell = cell_of(name, training={"precision": "bfloat16"}, **changed)
    assert waits_of_a_step(cell, data) == {}


@pytest.mark.parametrize(
    "encoder",
    [
        {"pooling": "PMA"},
        {"pooling": "MEAN", "mean_over": "all"},
        {"pooling": "MEAN", "mean_over": LENGTH, "positions": "learned"},
    ],
    ids=lambda encoder: str(encoder.get("mean_over", "PMA")),
)
def test_nor_with_other_heads(data, encoder):
    assert waits_of_a_step(cell_of(**encoder), data) == {}


@pytest.mark.parametrize("place", ["pre", "post"])
def test_nor_with_batch_norm(data, place):
    changed = {"norm": "batch", "norm_place": place, "block": "glu", "tied_dropout": True}
    assert waits_of_a_step(cell_of(**changed), data) == {}


def test_an_evaluation_waits_once_for_its_loss(data):
    cell = cell_of()
    with on_second_device(loop) as waits:
        run = loop.Run(cell, data[1], unknown_energy, loop.Classification(cell), None)
        waits.found.clear()
        predict(run.model, run.val, cell)
    assert sum(waits.found.values()) == 1 and "predict.py" in min(waits.found)


@pytest.mark.slow
@pytest.mark.parametrize("name", attention.names())
def test_a_profiles_steps_wait_for_nothing(name):
    encoder = cell_of(name).encoder
    point = ProfilePoint(
        experiment="test", protocol="quick", task="text", model=name, length=LENGTH, batch_size=2,
        seconds=0.1, device="cuda", masks=False, encoder=encoder,
    )  # fmt: skip
    with on_second_device(profile) as waits:
        load = profile.Workload(point, second_device())
        waits.found.clear()
        load.train_step()
        load.model.eval()
        load.infer_step()
    assert dict(waits.found) == {}


@pytest.mark.parametrize(
    "operate",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x + torch.ones(3).to(x.device),
        lambda x: x + torch.ones(3).to(x.device, non_blocking=True),
        lambda x: x + torch.tensor([1.0, 2.0, 3.0], device=x.device),
        lambda x: x.new_zeros(3).copy_(torch.ones(3)),
        lambda x: x[x > 0],
        lambda x: x[torch.tensor([0, 2])],
        lambda x: x[[0, 2]],
        lambda x: x.masked_select(x > 0),
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: x.unique(),
        lambda x: x.repeat_interleave(x.long()),
        lambda x: x.long().bincount(),
        lambda x: torch.equal(x, x),
        lambda x: torch.linalg.inv(x.outer(x)),
        lambda x: torch.multinomial(x, 1),
    ],
)
def test_what_waits_is_seen(operate):
    with FakeTensorMode(), Waits() as waits:
        x = torch.ones(3, device=second_device())
        waits.found.clear()
        with suppress(*RAISED):
            operate(x)
    assert sum(waits.found.values()) > 0


def test_tensors_of_two_devices_do_not_mix():
    with FakeTensorMode(), pytest.raises(FakeTensorDeviceMismatchError):
        torch.ones(3, device=second_device()) + torch.ones(3)
