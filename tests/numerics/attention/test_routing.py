"""Routing Transformer: clusters of queries and keys, and the centroids' moving averages."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize
from torch.testing import assert_close

import naive.routing
from lra import attention
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Slow(nn.Module):
    """The layer by `naive.routing`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        m = self.module
        q, k, v = normalised(m, x)
        real = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        centroids = normalize(m.centroids, dim=-1)
        return m.out(
            naive.routing.attention(q, k, v, centroids, real, m.window, m.causal).flatten(2)
        )


def normalised(module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q and k on their sphere and v, each (B, N, H, D)"""
    key = module.query if module.causal else module.key
    q, k, v = (p(x).unflatten(-1, (module.heads, -1)) for p in (module.query, key, module.value))
    return layer_norm(q, q.shape[-1:]), layer_norm(k, k.shape[-1:]), v


@given(
    length=st.integers(1, 40),
    clusters=st.integers(1, 9),
    window=st.none() | st.integers(1, 20),
    causal=st.booleans(),
    masked=st.booleans(),
)
@examples(40)
def test_equals_naive_outputs_and_gradients(length, clusters, window, causal, masked):
    module = layer("routing", 2, 8, clusters=clusters, window=window, causal=causal)
    x, mask = tokens(2, length, 16), holes(2, length) if masked else None
    assert_close(gradients(module, x, mask), gradients(Slow(module), x, mask))


@pytest.mark.parametrize("causal", [False, True], ids=["whole", "causal"])
@pytest.mark.parametrize("masked", [False, True], ids=["N50", "N50-holes"])
def test_one_cluster_is_full_attention_of_normalised_queries_and_keys(masked, causal):
    module, x = layer("routing", 2, 8, clusters=1, causal=causal), tokens(2, 50, 16)
    mask = torch.ones(2, 50, dtype=torch.bool)
    if masked:
        mask[:, 3::5] = False
    q, k, v = (rearrange(t, "b n h d -> b h n d") for t in normalised(module, x))
    scores = (q @ k.mT * 8**-0.5).masked_fill(~mask[:, None, None], -torch.inf)
    if causal:
        scores = scores.masked_fill(torch.ones(50, 50, dtype=torch.bool).triu(1), -torch.inf)
    assert_close(module(x, mask)[mask], module.merge(scores.softmax(-1) @ v)[mask])


def test_a_query_taken_by_no_cluster_gets_nothing_and_by_many_their_mean():
    module, x = layer("routing", 1, 8, clusters=3, window=2), tokens(1, 20, 8)
    module.out.weight.data = torch.eye(8, dtype=torch.float64)
    q, k, v = normalised(module, x)
    out, times, outputs = module(x)[0], torch.zeros(20), torch.zeros(20, 8, dtype=torch.float64)
    for centroid in normalize(module.centroids[0], dim=-1):
        of_q, of_k = ((t[0, :, 0] @ centroid).topk(2).indices for t in (q, k))
        weights = (q[0, of_q, 0] @ k[0, of_k, 0].T * 8**-0.5).softmax(-1)
        times[of_q] += 1
        outputs[of_q] += weights @ v[0, of_k, 0]
    assert (times == 0).any() and out[times == 0].abs().max() == 0
    assert_close(out[times > 0], (outputs / times[:, None])[times > 0])


def test_every_token_is_routed_where_every_cluster_takes_all():
    module = layer("routing", 2, 8, clusters=4, window=500)
    alone = layer("routing", 2, 8, clusters=1)
    alone.load_state_dict({**module.state_dict(), "centroids": module.centroids[:, :1]})
    assert_close(module(tokens(2, 30, 16)), alone(tokens(2, 30, 16)))


@pytest.mark.parametrize("causal", [False, True], ids=["whole", "causal"])
def test_centroids_follow_the_formula(causal):
    module = layer("routing", 2, 8, clusters=40, decay=0.9, causal=causal).train()
    x, mask, before = tokens(3, 30, 16), holes(3, 30), module.centroids.clone()
    q, k, _ = normalised(module, x)
    module(x, mask)
    idle = 0
    for h, c in torch.cartesian_prod(torch.arange(2), torch.arange(40)).tolist():
        total, members = torch.zeros(8, dtype=torch.float64), 0
        for t in (q, k):
            for token in t[:, :, h][mask]:
                if (normalize(before[h], dim=-1) @ token).argmax() == c:
                    total, members = total + token / 2, members + 1
        expected = 0.9 * before[h, c] + 0.1 * total if members else before[h, c]
        assert_close(module.centroids[h, c], expected)
        idle += not members
    assert idle  # centroids that no token is nearest to


def test_centroids_neither_move_in_evaluation_nor_have_a_gradient():
    module = layer("routing", 2, 8)
    before = module.centroids.clone()
    module(tokens(2, 30, 16)).sum().backward()
    assert torch.equal(module.centroids, before)
    assert module.centroids.grad is None
    module.train()(tokens(2, 30, 16))
    assert not torch.equal(module.centroids, before)


def test_padding_leaves_centroids_alone():
    x, mask = tokens(2, 30, 16), torch.ones(2, 40, dtype=torch.bool)
    mask[:, 30:] = False
    alone, padded = (layer("routing", 2, 8).train() for _ in range(2))
    alone(x)
    padded(torch.cat([x, tokens(2, 10, 16)], dim=1), mask)
    assert_close(padded.centroids, alone.centroids)


def test_centroids_stay_exact_under_autocast():
    module = layer("routing", 2, 8).float().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(tokens(2, 30, 16).float())
    assert module.centroids.dtype == torch.float32
    assert out.isfinite().all()
    assert not torch.equal(module.centroids, module.centroids.bfloat16().float())


@pytest.mark.parametrize("causal", [False, True], ids=["whole", "causal"])
def test_local_heads_see_the_blocks_beside_theirs_only(causal):
    module = layer("routing", 2, 8, local_heads=1, block_size=5, causal=causal)
    module.out.weight.data[:, :8] = 0  # silences the routed head
    x = tokens(1, 33, 16).requires_grad_()
    module(x)[0, 12].sum().backward()
    reach = x.grad[0].abs().amax(-1) > 0
    assert reach.nonzero().flatten().tolist() == list(range(5, 13 if causal else 20))


def test_local_heads_and_routed_heads_stand_side_by_side():
    """Zeroing the value rows of one kind leaves the other kind's outputs."""
    module, x = layer("routing", 2, 8, local_heads=1, block_size=64), tokens(2, 40, 16)
    module.out.weight.data[:, :8] = 0
    q, k, v = (p(x)[..., 8:] for p in (module.query, module.key, module.value))
    expected = (q @ k.mT * 8**-0.5).softmax(-1) @ v  # one block is full attention
    assert_close(module(x), expected @ module.out.weight[:, 8:].T)


def test_all_heads_local_is_refused():
    with pytest.raises(ValueError, match=r"options.local_heads: 2 of 2"):
        attention.build("routing", 16, 2, 64, local_heads=2)
