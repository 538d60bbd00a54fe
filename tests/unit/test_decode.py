"""Prefill and decode tokens/s of one model: what is counted, and what is left out."""

from __future__ import annotations

import pytest
import torch

from lra.config.cell import Encoder
from lra.evaluation import decode
from tiny import ENCODER


def test_a_model_is_measured_at_a_context():
    encoder = Encoder(**{**ENCODER, "layers": 2, "max_len": 9 + decode.STEPS})
    found = decode.measure(encoder, 9, batch_size=2, seconds=0.02, device="cpu")
    assert found.state == "cache" and found.context == 9
    assert found.state_bytes == 2 * 2 * 9 * 32 * 4  # layers, keys and values, tokens, dim, float32
    for name in ("prefill", "decode"):
        low, middle, high = (
            getattr(found, f"{name}_tokens_per_s{end}") for end in ("_low", "", "_high")
        )
        assert 0 < low <= middle <= high
    assert 1 <= found.decode_repeats <= decode.REPEATS


def test_decoding_begins_each_repeat_from_the_same_context(monkeypatch):
    contexts = []
    step = decode.Decoder.step
    monkeypatch.setattr(
        decode.Decoder,
        "step",
        lambda self, *given: contexts.append(given[1][0].n) or step(self, *given),
    )
    decode.measure(Encoder(**ENCODER), 5, seconds=0.01, device="cpu")
    assert contexts[: decode.STEPS] == list(range(5, 5 + decode.STEPS))
    assert set(contexts[:: decode.STEPS]) == {5}


@pytest.mark.parametrize(
    ("takes", "expected"),
    [
        ([4, 1, 1, 1, 1, 1, 1, 1, 1, 1], [10] * decode.REPEATS),  # the first is a warm-up
        ([4, 6, 5, 1], [10 / 6, 2]),  # no further one begins after `seconds`
        ([20, 1], [0.5]),  # a long one is all
    ],
)
def test_the_first_repeat_is_a_warm_up_unless_it_is_long(monkeypatch, takes, expected):
    now, left = [0.0], iter(takes)

    def work() -> None:
        now[0] += next(left)

    monkeypatch.setattr(decode.time, "process_time", lambda: now[0])
    found, _ = decode.rates(work, 10, 10, torch.device("cpu"))
    assert found == expected
