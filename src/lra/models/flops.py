"""Floating-point operations of what torch runs: matrix products, convolutions, fused attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

FORMULAS = flop_registry | {  # torch knows the fused attention of GPUs only
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
}


def flops(
    operator: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
) -> int:
    """Of one call of an operator that returned `out`, a multiply-add as two.

    0 for other operators: Fourier transforms, sorting, gathering, elementwise and reductions. Fused
    attention counts as if no key were hidden.
    """
    formula = FORMULAS.get(operator._overloadpacket)
    return formula(*args, **kwargs, out_val=out) if formula else 0
