"""The variants `official` against short models of what google-research/long-range-arena computes.

The models take one head of one example, as long as max_len and without padding, token by token.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lra import attention
from oracles import layer, tokens


def seen(q: Tensor, k: Tensor, v: Tensor, keys: list[list[int]]) -> Tensor:
    """Softmax attention of token i, q, k, v (N, D), to the tokens keys[i]."""
    rows = [(q[i] @ k[js].T * q.shape[1] ** -0.5).softmax(-1) @ v[js] for i, js in enumerate(keys)]
    return torch.stack(rows)


def by_head(module, x: Tensor, model) -> Tensor:
    """model(q, k, v (N, D)) -> (N, D) of every head of one example, put together and projected."""
    q, k, v = module.project(x[None])
    heads = [model(*head) for head in zip(q[0], k[0], v[0], strict=True)]
    return module.out(torch.cat(heads, dim=-1))


def same(module, x: Tensor, expected: Tensor) -> None:
    assert_close(module(x[None])[0], expected)
    mask = torch.ones(1, len(x), dtype=torch.bool)
    assert_close(module(x[None], mask)[0], expected)


@pytest.mark.parametrize(("length", "size"), [(13, 4), (12, 4), (3, 5), (30, 7), (16, 1)])
def test_local_blocks_are_strided_and_see_zeros_at_the_end(length, size):
    module = layer("local", 2, 4, length, block_size=size, variant="official")
    padded = length + size - length % size

    def model(q, k, v):
        zeros = k.new_zeros(padded - length, 4)
        k, v = torch.cat([k, zeros]), torch.cat([v, zeros])
        groups = padded // size
        return seen(q, k, v, [list(range(i % groups, padded, groups)) for i in range(length)])

    x = tokens(1, length, 8)[0]
    same(module, x, by_head(module, x, model))


@pytest.mark.parametrize(("length", "size"), [(12, 4), (5, 5), (30, 6), (6, 1)])
def test_sinkhorn_adds_attention_to_the_sum_of_all_blocks(length, size):
    module = layer("sinkhorn", 2, 4, length, block_size=size, variant="official")
    groups = length // size

    def model(q, k, v):
        near = seen(q, k, v, [list(range(i % groups, length, groups)) for i in range(length)])
        offsets = [list(range(s * groups, (s + 1) * groups)) for s in range(size)]
        k, v = (torch.stack([t[js].sum(0) for js in offsets]) for t in (k, v))
        return near + seen(q, k, v, [list(range(size))] * length)

    x = tokens(1, length, 8)[0]
    same(module, x, by_head(module, x, model))
    module(x[None]).sum().backward()
    assert module.sorter.weight.grad is None
    assert module.sorter.weight.shape == (25, 4)


def test_sinkhorn_sums_and_sees_real_tokens_only():
    """Groups {0, 3, 6, 9}, {1, 4, 7, 10}, {2, 5, 8, 11}, of which the first 5 tokens are real."""
    module = layer("sinkhorn", 2, 4, 12, block_size=4, variant="official")

    def model(q, k, v):
        near = seen(q, k, v, [[0, 3], [1, 4], [2], [0, 3], [1, 4]])
        k, v = (torch.stack([t[0] + t[1] + t[2], t[3] + t[4]]) for t in (k, v))
        return near + seen(q, k, v, [[0, 1]] * 5)

    x, mask = tokens(1, 12, 8)[0], torch.arange(12)[None] < 5
    expected = by_head(module, x[:5], model)
    assert_close(module(x[None], mask)[0, :5], expected)


@pytest.mark.parametrize("window", [1, 2, 5, 8, 60])
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_longformer_is_a_window_with_the_query_on_the_left(window, causal):
    module = layer("longformer", 2, 4, 30, window=window, variant="official", causal=causal)
    left, right = window - window // 2, 0 if causal else window // 2

    def model(q, k, v):
        near = [range(max(i - left + 1, 0), min(i + right + 1, 30)) for i in range(30)]
        return seen(q, k, v, [list(js) for js in near])

    x = tokens(1, 30, 8)[0]
    same(module, x, by_head(module, x, model))
    assert sum(p.numel() for p in module.parameters()) == 7 * 8**2


@pytest.mark.parametrize(("stride", "summary"), [(5, 2), (4, 1), (6, 6), (50, 10)])
@pytest.mark.parametrize("cls", [False, True], ids=["mean", "cls"])
@pytest.mark.parametrize("length", [1, 6, 23])
def test_sparse_is_causal_and_sees_first_and_last_tokens_of_blocks(length, cls, stride, summary):
    variant = "official-cls" if cls else "official"
    options = {"stride": stride, "summary": summary, "variant": variant}
    module = layer("sparse", 2, 4, length, **options)

    def sees(i, j):
        if cls and 0 in (i, j):
            return True
        i, j = i - cls, j - cls
        place = j % stride
        far = place == 0 or place >= stride - summary
        return j <= i and (i // stride == j // stride or far)

    def model(q, k, v):
        return seen(q, k, v, [[j for j in range(length) if sees(i, j)] for i in range(length)])

    x = tokens(1, length, 8)[0]
    same(module, x, by_head(module, x, model))


@pytest.mark.parametrize("length", [10, 47, 120])
def test_reformer_sorts_by_ten_buckets_and_mixes_up_heads_and_positions(length):
    module = layer("reformer", 2, 4, length, variant="official")
    total = length + 10 - length % 10
    x = torch.cat([tokens(1, length, 8)[0], torch.zeros(total - length, 8).double()])
    results = []
    for head in range(2):
        q, v = (p(x)[:, 4 * head : 4 * head + 4] for p in (module.query, module.value))
        turned = q @ module.rotations.double()
        buckets = torch.cat([turned, -turned], dim=1).tolist()
        order = sorted(range(total), key=lambda i: (buckets[i].index(max(buckets[i])), i))
        size = total // 10
        out = torch.zeros_like(v)
        for at, i in enumerate(order):
            chunk = at // size
            js = order[chunk * size :][:size] + order[(chunk - 1) % 10 * size :][:size]
            out[i] = (q[i] @ q[js].T * 4**0.5).softmax(-1) @ v[js]
        results.append(out)
    flat = torch.cat([one.flatten() for one in results])
    same(module, x[:length], flat.view(total, 8)[:length])


def test_reformer_has_two_projections_and_one_hash_for_all():
    """The arena's counts are 2 dim^2 per layer below the transformer's: no key, no output."""
    module = attention.build("reformer", 32, 4, 64, variant="official")
    assert sum(p.numel() for p in module.parameters()) == 2 * 32**2
    other = attention.build("reformer", 32, 4, 64, variant="official")
    assert torch.equal(module.rotations, other.rotations)
    assert module.rotations.shape == (8, 5)
    x = torch.randn(2, 30, 32)
    assert torch.equal(module.train()(x), module(x))


def test_reformer_is_nearly_the_identity_on_values():
    """Unnormalised keys times sqrt(D): at the start a token's own score is above all others."""
    module = layer("reformer", 1, 64, 500, variant="official")
    x = torch.nn.functional.layer_norm(tokens(1, 499, 64), (64,))
    out, own = module(x), module.value(x)
    share = (out * own).sum() / own.square().sum()
    print(f"share of a token's own value: {share:.4f}")
    assert 0.97 < share < 1.03


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sparse", {"variant": "official", "pattern": "strided"}, "has the fixed pattern"),
        ("sparse", {"variant": "official-cls", "causal": True}, "is not causal"),
        ("reformer", {"variant": "official", "causal": True}, "'official' is not causal"),
        ("reformer", {"variant": "official", "qkv_dim": 8}, "has qkv_dim 16"),
    ],
)
def test_what_a_variant_cannot_be_is_refused(name, options, message):
    with pytest.raises(ValueError, match=f"options.variant: .*{message}"):
        attention.build(name, 16, 2, 64, **options)


@pytest.mark.parametrize("name", ["local", "longformer", "sparse"])
def test_causal_variants_see_no_later_token(name):
    module, x = layer(name, 2, 8, 300, causal=True, variant="official"), tokens(2, 300, 16)
    for end in (1, 64, 140, 299):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(module(x)[:, :end].square().sum(), x)
        assert slope[:, end:].abs().max() == 0
        assert slope[:, end - 1].abs().max() > 0
