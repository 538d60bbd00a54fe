"""Required attention span: closed forms, hand-built layers, and every mechanism by gradient."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close
from typer.testing import CliRunner

from lra import attention
from lra.cli.app import app
from lra.config.cell import to_yaml
from lra.core.errors import LRAError
from lra.core.files import sha256
from lra.data.manifest import write_manifest
from lra.data.split import Info, table_of, write_split
from lra.evaluation import attention_span
from lra.models.classifier import Classifier
from lra.results.records import SpanRecord, TrainRecord, named, read_record, write_record
from oracles import layer, tokens
from tiny import make_cell

PROVENANCE = {"fingerprint": "f", "device": "cpu: test", "torch_version": "2", "git_commit": None}


def everywhere(x):
    return torch.ones(x.shape[:2], dtype=torch.bool)


def every_query(real):
    """All real positions of each row, -1 after them."""
    at = torch.full(real.shape, -1)
    for row, own in zip(at, real, strict=True):
        row[: own.sum()] = own.nonzero().flatten()
    return at


def by_gradient(module, x, real=None):
    real = everywhere(x) if real is None else real
    return attention_span.by_gradient(module, x, real, real, every_query(real))


def looking_back(distance, n, sharp=200.0):
    """A layer of one head whose query i attends to key i - distance (mod n) alone, and its input.

    The input is the identity: token j is the unit vector j.
    """
    module = layer("transformer", 1, n)
    with torch.no_grad():
        module.query.weight.copy_(sharp * torch.eye(n).roll(distance, 1))
        module.key.weight.copy_(torch.eye(n))
    x = torch.eye(n, dtype=torch.float64)[None]
    return module, x


def blind(n, width=4):
    """A layer that attends to everything alike, and an input."""
    module = layer("transformer", 1, width)
    torch.nn.init.zeros_(module.query.weight)
    torch.nn.init.zeros_(module.key.weight)
    return module, tokens(2, n, width)


def row_of(n):
    """Uniform attention's distance among n positions in a row."""
    return attention_span.uniform(torch.ones(1, n, dtype=torch.bool))[0]


def test_uniform_attention_leaves_hidden_positions_out():
    real = torch.rand(5, 23, generator=torch.Generator().manual_seed(0)) < 0.4
    for row, found in zip(real, attention_span.uniform(real), strict=True):
        places = row.nonzero()[:, 0].double()
        assert_close(found, (places[:, None] - places).abs().mean())


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_uniform_attention_has_the_closed_form(n):
    pairs = [abs(i - j) for i in range(n) for j in range(n)]
    expected = torch.tensor(sum(pairs) / n**2, dtype=torch.float64)
    assert_close(row_of(n), expected)
    module, x = blind(n)
    assert_close(attention_span.by_attention(module, x, everywhere(x)), expected.expand(2, 1))
    assert_close(by_gradient(module, x), expected.expand(2))


@pytest.mark.parametrize("distance", [0, 1, 3])
def test_a_layer_that_attends_d_tokens_back_has_span_d(distance):
    n = 12
    module, x = looking_back(distance, n)
    cyclic = torch.tensor([abs(i - (i - distance) % n) for i in range(n)], dtype=torch.float64)
    assert_close(attention_span.by_attention(module, x, everywhere(x)), cyclic.mean().view(1, 1))
    assert_close(by_gradient(module, x), cyclic.mean().view(1))
    late = torch.arange(distance, n)[None]  # those that do not look beyond the start
    found = attention_span.by_gradient(module, x, None, everywhere(x), late)
    assert_close(found, torch.tensor([float(distance)], dtype=torch.float64))


def test_both_methods_order_layers_alike():
    n = 16
    layers = [looking_back(distance, n, sharp) for distance, sharp in
              ((0, 200.0), (1, 200.0), (1, 5.0), (4, 200.0))]  # fmt: skip
    attended = [attention_span.by_attention(m, x, everywhere(x)).item() for m, x in layers]
    felt = [by_gradient(m, x).item() for m, x in layers]
    assert attended == sorted(attended) and felt == sorted(felt)
    assert len(set(attended)) == len(set(felt)) == len(layers)


def test_a_window_of_one_token_has_span_zero():
    assert_close(by_gradient(layer("local", 2, 4, block_size=1), tokens(2, 20, 8)),
                 torch.zeros(2, dtype=torch.float64))  # fmt: skip


def test_a_block_reaches_no_further_than_its_width():
    found = by_gradient(layer("local", 2, 4, block_size=5), tokens(2, 20, 8))
    assert ((found > 0) & (found < 4)).all()


def test_weights_are_those_of_the_layer():
    """They make the layer's output of its values."""
    module, x = layer("transformer", 2, 4), 5 * tokens(1, 15, 8)
    q, k, v = module.project(x)
    weights = (q @ k.mT / 4**0.5).softmax(-1)
    assert_close(module.merge(weights @ v), module(x))
    apart = (torch.arange(15)[:, None] - torch.arange(15)).abs()
    expected = (weights * apart).sum(-1).mean(-1)
    assert_close(attention_span.by_attention(module, x, everywhere(x)), expected)


def test_a_gradients_weight_is_its_length():
    class Turned(torch.nn.Module):
        """The token before, and the token itself with its numbers in another order and signs."""

        def forward(self, x, mask=None):
            return x.roll(1, dims=1) + x.flip(2) * torch.tensor([1.0, -1.0, 1.0, 1.0])

    x = tokens(1, 10, 4)
    found = attention_span.by_gradient(Turned(), x, None, everywhere(x), torch.tensor([[3, 7]]))
    assert_close(found, torch.tensor([0.5], dtype=torch.float64))


def test_heads_are_told_apart():
    x = tokens(1, 20, 8)
    module = layer("transformer", 2, 4)
    with torch.no_grad():
        module.query.weight[:4] = 0
    found = attention_span.by_attention(module, x, everywhere(x))
    assert_close(found[0, 0], row_of(20))
    assert abs(found[0, 1] - found[0, 0]) > 0.01


def test_chunks_of_queries_change_nothing():
    x = tokens(3, 37, 8)
    module, real = layer("transformer", 2, 4), torch.arange(37) < torch.tensor([[37], [20], [1]])
    whole = attention_span.by_attention(module, x, real)
    for weights in (1, 3 * 2 * 37 * 5, 10**9):
        assert_close(attention_span.by_attention(module, x, real, weights), whole)


@pytest.mark.parametrize("name", ["transformer", "local", "linear"])
def test_padding_changes_nothing(name):
    module, x = layer(name, 2, 4), tokens(2, 30, 8)
    short, real = x[:, :21], torch.arange(30).expand(2, -1) < 21
    assert_close(by_gradient(module, x, real), by_gradient(module, short))
    if name == "transformer":
        assert_close(
            attention_span.by_attention(module, x, real),
            attention_span.by_attention(module, short, everywhere(short)),
        )


def test_the_cls_token_is_no_position():
    """One that draws all attention leaves the distances among the tokens as they are."""
    module, x = blind(20)
    with torch.no_grad():
        module.key.weight[0, 0] = module.query.weight[0, 1] = 1.0
    x[:, :, 0] = 0.0
    x[:, :, 1] = 1.0
    x[:, 0, 0] = 50.0  # every query's score for the first token is 25, for others 0
    real = attention_span.positions(x, None, cls=True)
    assert real.sum(1).tolist() == [19, 19]
    even = row_of(19)
    assert_close(attention_span.by_attention(module, x, real), even.expand(2, 1))
    assert attention_span.by_attention(module, x, everywhere(x)).max() > even + 2
    module, x = blind(20)
    found = attention_span.by_gradient(module, x, None, real, every_query(real))
    assert_close(found, even.expand(2))
    assert set(attention_span.queries_of(real, 100, [0, 1]).flatten().tolist()) == {
        *range(1, 20),
        -1,
    }


def test_queries_do_not_depend_on_the_batch():
    real = torch.arange(40) < torch.tensor([[40], [9], [25]])
    together = attention_span.queries_of(real, 16, [5, 8, 2])
    assert_close(attention_span.queries_of(real[2:, :30], 16, [2]), together[2:])
    assert (together[1] >= 0).sum() == 9 and (together[0] >= 0).sum() == 16


def test_queries_that_read_nothing_are_left_out():
    class Half(torch.nn.Module):
        """Passes the token before on to even positions, and nothing to odd ones."""

        def forward(self, x, mask=None):
            return x.roll(1, dims=1) * (torch.arange(x.shape[1]) % 2 == 0)[:, None]

    x = tokens(1, 10, 4)
    at = torch.tensor([[1, 2, 3, 4]])
    found = attention_span.by_gradient(Half(), x, None, everywhere(x), at)
    assert_close(found, torch.ones(1, dtype=torch.float64))
    assert attention_span.by_gradient(Half(), x, None, everywhere(x), at[:, ::2]).isnan().all()


@pytest.mark.parametrize(
    ("name", "options", "older"),
    [("xl", {}, 0.0), ("compressive", {"compression": "mean"}, 1 / 4)],
    ids=["xl", "compressive"],
)
def test_memories_that_training_stops_at_are_seen(name, options, older):
    """All keys weigh alike, so a token of a slot of four weighs a quarter."""
    module, x = layer(name, 2, 4, segment=4, **options), tokens(1, 24, 8)
    for projection in (module.query, module.key, module.relative.distance):
        torch.nn.init.zeros_(projection.weight)
    at = torch.tensor([[20, 21, 22, 23]])

    def expected(weights):
        distances = (at.T - torch.arange(24)).abs().double()
        return (distances @ weights / weights.sum()).mean().view(1)

    own, seen = torch.zeros(24).double(), torch.zeros(24).double()
    own[20:] = 1
    seen[16:], seen[8:16] = 1, older
    assert_close(attention_span.by_gradient(module, x, None, everywhere(x), at), expected(own))
    module.stops_gradients = False
    assert_close(attention_span.by_gradient(module, x, None, everywhere(x), at), expected(seen))


def test_means_are_over_samples_then_heads_then_layers():
    distances = torch.tensor([[[1.0, 3.0], [2.0, 4.0]], [[5.0, 5.0], [9.0, torch.nan]]]).double()
    even = torch.stack([row_of(4), row_of(7)])
    rows = attention_span.summarised(distances, even, "attention")
    assert [(r.layer, r.span, r.heads) for r in rows] == [
        (0, 2.5, [1.5, 3.5]), (1, 6.0, [7.0, 5.0]), (-1, 4.25, None),
    ]  # fmt: skip
    assert rows[0].uniform == pytest.approx((15 / 12 + 48 / 21) / 2)
    expected = (1 / (15 / 12) + 2 / (48 / 21) + 3 / (15 / 12) + 4 / (48 / 21)) / 4
    assert rows[0].relative == pytest.approx(expected)


def save(cell, folder: Path) -> Path:
    """A folder as `lra train` leaves it, its weights untrained."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    weights = {k: v.contiguous() for k, v in Classifier(cell.encoder).state_dict().items()}
    save_file(weights, folder / "checkpoint.safetensors")
    (folder / "config.yaml").write_text(to_yaml(cell))
    record(folder)
    return folder


def record(folder: Path, status: str = "ok") -> None:
    trained = {"status": status, "reason": None if status == "ok" else "a reason", "params": 1,
               "steps": 1, "chosen_step": 1, "train_seconds": 1.0, "val_accuracy": None}  # fmt: skip
    write_record(folder / "train.json", TrainRecord(**trained, **named(make_cell()), **PROVENANCE))


def measure(folder: Path, data: Path, *arguments: str) -> SpanRecord:
    out = folder / "span.json"
    done = CliRunner().invoke(
        app, ["span", "--cell", str(folder), "--data", str(data), "--out", str(out), *arguments]
    )
    if done.exception:
        raise done.exception
    return read_record(out, SpanRecord)


@pytest.mark.parametrize("pooling", ["CLS", "MEAN"])
@pytest.mark.parametrize("name", attention.names())
def test_every_mechanism_has_a_span(name, pooling, tiny_listops, tmp_path):
    options = {"reversible": True} if name == "reformer" else {}
    encoder = {"attention": name, "layers": 2, "pooling": pooling, "options": options}
    folder = save(make_cell(encoder=encoder), tmp_path)
    result = measure(folder, tiny_listops, "--samples", "20", "--queries", "4")
    methods = ["attention"] * 3 * (name == "transformer") + ["gradient"] * 3
    assert [m.method for m in result.measures] == methods
    assert [m.layer for m in result.measures] == [0, 1, -1] * (len(methods) // 3)
    for m in result.measures:
        assert (m.status, m.samples) == ("ok", 20)
        assert 0 <= m.span < 2.5 * m.uniform and 0 <= m.relative < 2.5
        assert (m.span == 0) == (m.relative == 0) == (name == "identity")  # reads itself alone
        assert (m.heads is not None) == (m.method == "attention" and m.layer >= 0)
    again = measure(folder, tiny_listops, "--samples", "20", "--queries", "4")
    assert again == result


@pytest.mark.parametrize("lengths", [[0, 0, 0], [0, 12, 0, 30]], ids=["all", "some"])
@pytest.mark.parametrize("name", ["transformer", "linear", "reformer", "xl"])
def test_empty_examples_have_the_span_of_one_token(name, lengths, tmp_path):
    data = tmp_path / "data"
    offsets = np.cumsum([0, *lengths])
    info = Info("listops", vocab_size=17, classes=10, max_length=64, pads=True)
    table = table_of(
        np.arange(offsets[-1], dtype=np.uint8) % 16 + 1, offsets, np.arange(len(lengths))
    )
    write_split(data / "val.arrow", [table], info)
    write_manifest(
        data, info, {"val": {"rows": len(lengths), "sha256": sha256(data / "val.arrow")}}
    )
    folder = save(make_cell(encoder={"attention": name, "layers": 2}), tmp_path / "cell")
    measures = measure(folder, data).measures
    assert {m.status for m in measures} == {"ok"}
    assert all(m.span >= 0 and (m.span == 0) == (not any(lengths)) for m in measures)


def test_memories_count_in_a_cells_span(tiny_listops, tmp_path):
    encoder = {"attention": "xl", "options": {"segment": 4}}
    cell = make_cell(encoder=encoder)
    weights = Classifier(cell.encoder).state_dict()
    for name in ("query", "key", "relative.distance"):
        weights[f"blocks.0.attention.{name}.weight"].zero_()
    folder = save(cell, tmp_path)
    save_file(weights, folder / "checkpoint.safetensors")
    mean = measure(folder, tiny_listops).measures[-1].span
    assert mean > 1.5  # attention to a segment of four tokens alone has 1.25


def test_batches_change_nothing(tiny_listops, tmp_path):
    means = []
    for size in (3, 16):
        cell = make_cell(training={"batch_size": size})
        folder = save(cell, tmp_path / str(size))
        means.append([m.span for m in measure(folder, tiny_listops, "--samples", "30").measures])
    assert means[0] == pytest.approx(means[1], rel=1e-5)


def test_both_towers_count(tmp_path):
    values, info = torch.arange(1, 13).to(torch.uint8).numpy(), Info("retrieval", 17, 10, 6, True)
    table = pa.table({
        "tokens": pa.ListArray.from_arrays([0, 4, 6], pa.array(values[:6])),
        "label": pa.array([0, 1]),
        "tokens_b": pa.ListArray.from_arrays([0, 1, 6], pa.array(values[6:])),
    })  # fmt: skip
    write_split(tmp_path / "val.arrow", [table], info)
    cell = make_cell(encoder={"towers": 2, "pooling": "CLS", "layers": 2})
    folder = save(cell, tmp_path / "cell")
    for method in ("attention", "gradient"):
        rows, reason = attention_span.span(
            cell, folder / "checkpoint.safetensors", tmp_path / "val.arrow", 9, method
        )
        assert reason is None and [r.layer for r in rows] == [0, 1, -1]
        assert {r.samples for r in rows} == {4}  # two examples, two documents each
        even = torch.stack([row_of(n) for n in (4, 2, 1, 5)]).mean().item()
        assert rows[0].uniform == pytest.approx(even)
        (row,) = attention_span.unmeasured(cell, tmp_path / "val.arrow", 9, method, "oom")
        assert row.uniform == pytest.approx(even) and row.samples == 4


def test_a_cell_that_is_not_ok_has_a_status_and_no_span(tiny_listops, tmp_path):
    folder = save(make_cell(), tmp_path)
    record(folder, "diverged")
    (folder / "checkpoint.safetensors").unlink()
    result = measure(folder, tiny_listops, "--samples", "20")
    assert [(m.method, m.layer, m.status, m.span) for m in result.measures] == [
        ("attention", -1, "diverged", None), ("gradient", -1, "diverged", None),
    ]  # fmt: skip
    assert result.reason == "a reason" and result.measures[0].uniform > 1
    assert json.loads((folder / "span.json").read_text())["measures"][0]["span"] is None


def test_too_little_memory_is_a_status(tiny_listops, tmp_path, monkeypatch):
    def too_large(*arguments):
        torch.empty(2**60)

    monkeypatch.setattr(attention_span, "by_gradient", too_large)
    result = measure(save(make_cell(), tmp_path), tiny_listops, "--samples", "20")
    assert [m.status for m in result.measures] == ["ok", "ok", "oom"]
    assert result.measures[-1].span is None and "memory" in result.reason


def test_attention_weights_are_asked_for_where_there_are_none(tiny_listops, tmp_path):
    folder = save(make_cell(encoder={"attention": "linear"}), tmp_path)
    with pytest.raises(LRAError, match="--method: 'attention' is unknown; choose from gradient"):
        measure(folder, tiny_listops, "--method", "attention")


def test_the_examples_are_the_same_in_every_cell_and_all_where_there_are_fewer(tiny_listops):
    from lra.data.split import read_split
    from lra.training.batches import Batches

    split = read_split(tiny_listops / "val.arrow")
    few, other = (
        attention_span.drawn(Batches(split, make_cell(seed=seed), torch.device("cpu")), 50)
        for seed in (1, 2)
    )
    assert (few == other).all() and len(set(few.tolist())) == 50
    everything = attention_span.drawn(Batches(split, make_cell(), torch.device("cpu")), 10**6)
    assert sorted(everything.tolist()) == list(range(200))
