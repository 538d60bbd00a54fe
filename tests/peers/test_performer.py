"""Against the package performer-pytorch, whose constant added to softmax features is set to zero."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from oracles import layer, tokens

package = pytest.importorskip("performer_pytorch.performer_pytorch")


@pytest.mark.parametrize("kernel", ["softmax", "relu"])
def test_outputs_agree(kernel):
    ours = layer("performer", 2, 8, features=24, kernel=kernel)
    x = tokens(1, 60, 16)
    q, k, v = ours.project(x)
    if kernel == "relu":
        features = [
            package.generalized_kernel(t, projection_matrix=ours.projection) for t in (q, k)
        ]
    else:
        features = [
            package.softmax_kernel(t, projection_matrix=ours.projection, is_query=is_query, eps=0)
            for t, is_query in ((q, True), (k, False))
        ]
    assert_close(ours(x), ours.merge(package.linear_attention(*features, v)))


def test_orthogonal_projections_have_the_same_moments():
    torch.manual_seed(0)
    ours = layer("performer", 1, 16, features=16_000).projection.float()
    theirs = package.gaussian_orthogonal_random_matrix(16_000, 16)
    for moment in (2, 4):
        mine, others = (t.norm(dim=1).pow(moment).mean() for t in (ours, theirs))
        assert_close(mine, others, rtol=0.03, atol=0)
