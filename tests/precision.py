"""How near two computations of a layer must be that differ in precision or device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Relative errors of outputs and of gradients, in the Frobenius norm. bfloat16 rounds by up to 0.4 %.
TOLERANCE = (0.012, 0.03)
DISCRETE = (0.2, 0.35)  # some tokens change their bucket or cluster
TOLERANCES = {
    "reformer": DISCRETE,
    "routing": DISCRETE,
    "sinkhorn": (0.012, 0.08),  # through the iterations
    "performer": (0.012, 0.08),  # relu: some features change their sign
}


def step(module: nn.Module, x: Tensor, mask: Tensor | None, half: bool) -> tuple[Tensor, Tensor]:
    """Output and all gradients in a row, on the device of x and in its type; half: by autocast."""
    torch.manual_seed(1)
    x = x.clone().requires_grad_()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
        out = module(x, mask)
    if mask is not None:
        out = out * mask[..., None]
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(x)
    loss = (out.to(x.dtype) * weights).sum() + (module.auxiliary or 0)
    variables = [x, *(p for p in module.parameters() if p.requires_grad)]
    grads = torch.autograd.grad(loss, variables, materialize_grads=True)
    assert {g.dtype for g in grads} == {x.dtype}
    return out.detach().to(x.dtype), torch.cat([g.flatten() for g in grads])


def apart(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|, in the Frobenius norm."""
    assert a.isfinite().all()
    return ((a - b).norm() / b.norm()).item()
