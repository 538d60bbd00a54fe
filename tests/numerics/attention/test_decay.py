"""The sums of lra.attention.shared.decay against the N x N matrix and a loop over tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import naive.decay
from lra.attention.shared import decay
from lra.attention.shared.decay import decayed, quasiseparable
from tiny import examples


def draw(length: int, strength: float = 1.0, dtype=torch.float64):
    """q, k, v and the two directions' decays of 2 examples, 2 heads, size 3 and 5"""
    torch.manual_seed(length)
    q, k = (torch.randn(2, 2, length, 3, dtype=dtype) for _ in range(2))
    v = torch.randn(2, 2, length, 5, dtype=dtype)
    ahead, back = (-strength * torch.randn(2, 2, length, dtype=dtype).exp() for _ in range(2))
    return [t.requires_grad_() for t in (q, k, v, ahead, back)]


def with_gradients(out, inputs):
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return out, torch.autograd.grad((out * weights).sum(), inputs, materialize_grads=True)


@pytest.mark.parametrize("sides", ["causal", "one decay", "two decays"])
@given(length=st.integers(1, 70), chunk=st.sampled_from([2, 3, 8, 64]))
@examples(40)
def test_equals_the_matrix(sides, length, chunk):
    """Chunks of 2 tokens are summed in up to six levels."""
    q, k, v, ahead, back = draw(length)
    back = {"causal": None, "one decay": ahead, "two decays": back}[sides]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decay, "CHUNK", chunk)
        found = decayed(q, k, v, ahead, back)
    inputs = [q, k, v, ahead] + ([back] if sides == "two decays" else [])
    expected = naive.decay.dense(q, k, v, ahead, back)
    assert_close(with_gradients(found, inputs), with_gradients(expected, inputs))


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("reads_own", [False, True], ids=["strictly", "own"])
@given(length=st.integers(1, 70), chunk=st.sampled_from([2, 3, 8, 64]), at_once=st.integers(1, 2))
@examples(20)
def test_a_quasiseparable_matrix_is_its_entries(sides, reads_own, length, chunk, at_once):
    q, k, v, ahead, back = draw(length)
    weights = torch.rand(2, 2, 2, length).double().requires_grad_()
    diagonal = torch.randn(2, 2, length).double().requires_grad_()
    parts = [(q[:, s], k[:, s], weights[s], log) for s, log in enumerate((ahead, back))][:sides]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decay, "CHUNK", chunk)
        by_head = [(q, k, w.transpose(0, 1), log.transpose(0, 1)) for q, k, w, log in parts]
        found = quasiseparable(
            v.transpose(1, 2), diagonal.transpose(0, 1), *by_head,
            reads_own=reads_own, at_once=at_once,
        ).transpose(1, 2)  # fmt: skip
    matrix = naive.decay.quasiseparable(diagonal, parts, reads_own)
    inputs = [q, k, v, ahead, back, weights, diagonal]
    assert_close(with_gradients(found, inputs), with_gradients(matrix @ v, inputs))


@pytest.mark.parametrize("length", [1, 64, 65, 200])
def test_equals_a_loop_over_tokens(length):
    q, k, v, ahead, _ = draw(length)
    expected = naive.decay.loop(q, k, v, ahead)
    inputs = [q, k, v, ahead]
    assert_close(with_gradients(decayed(*inputs), inputs), with_gradients(expected, inputs))


@pytest.mark.parametrize("sides", ["causal", "both"])
@pytest.mark.parametrize("length", [1, 63, 64, 150])
def test_one_decay_for_all_tokens(sides, length):
    q, k, v, ahead, _ = draw(length)
    same = ahead.detach()[:1, :, :1].requires_grad_()
    every = same.expand(2, 2, length)
    found = decayed(q, k, v, same, same if sides == "both" else None)
    expected = naive.decay.dense(q, k, v, every, every if sides == "both" else None)
    inputs = [q, k, v, same]
    assert_close(with_gradients(found, inputs), with_gradients(expected, inputs))


@pytest.mark.parametrize("length", [50, 64, 500])
def test_the_chunks_length_changes_nothing(monkeypatch, length):
    inputs = draw(length)
    expected = with_gradients(decayed(*inputs), inputs)
    for chunk in (5, 16, 100, 1000):
        monkeypatch.setattr(decay, "CHUNK", chunk)
        assert_close(with_gradients(decayed(*inputs), inputs), expected)


def test_without_decay_it_is_linear_attention_that_is_not_normalised():
    q, k, v, ahead, _ = draw(150)
    none = torch.zeros_like(ahead)
    assert_close(decayed(q, k, v, none), (q @ k.mT).tril() @ v)
    assert_close(decayed(q, k, v, none, none), q @ (k.mT @ v))


@pytest.mark.parametrize("value", [-1e4, -1e30])
def test_what_decays_at_once_leaves_a_token_alone(value):
    q, k, v, ahead, back = draw(150)
    all_gone = torch.full_like(ahead, value).requires_grad_()
    out, grads = with_gradients(decayed(q, k, v, all_gone, all_gone), [q, k, v, all_gone])
    assert_close(out, (q * k).sum(-1, keepdim=True) * v)
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("place", [3, 70, 140])
def test_a_strong_decay_hides_no_weak_one(place):
    """In float32: of running sums to 1e7 the difference would be wrong by 1."""
    with torch.no_grad():
        q, k, v, ahead, back = draw(150, strength=0.01)
        ahead[:, :, place] = back[:, :, place] = -1e7
        expected = naive.decay.dense(q, k, v, ahead, back)
        found = decayed(*(t.float() for t in (q, k, v, ahead, back)))
    assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


class Largest(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [t.untyped_storage().nbytes() for t in tree_leaves(out) if torch.is_tensor(t)]
        self.numel = max(self.numel, *sizes, 0)
        return out


def test_memory_is_linear_in_the_length():
    found = []
    for length in (2048, 4096, 8192):
        inputs = draw(length, dtype=torch.float32)
        with Largest() as largest:
            with_gradients(decayed(*inputs), inputs)
        found.append(largest.numel)
    assert found[1] <= 2.1 * found[0] and found[2] <= 2.1 * found[1]


def test_decays_within_chunks_are_saved_once():
    """Beside the scores that they weigh: a product with what is seen would be a third tensor."""
    q, k, _, log, _ = draw(64)
    scores, saved = q @ k.mT, {}

    def keep(t: torch.Tensor) -> torch.Tensor:
        saved[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        weighed = scores * decay.Decays(log).within()
    assert sum(storage.nbytes() >= weighed.nbytes for storage in saved.values()) == 2
