"""What torch runs: floating-point operations of matrix products and attention, and kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

EMPTY = (torch.ops.aten.empty.memory_format, torch.ops.aten.empty_strided.default)
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


def is_kernel(
    operator: torch._ops.OpOverload, given: Sequence[Tensor], made: Sequence[Tensor]
) -> bool:
    """Whether an operator wrote something: it is no view and no empty memory.

    given, made: the tensors that it took and returned. A GPU starts a kernel for it, or a few.
    """
    taken = {t.untyped_storage()._cdata for t in given}
    fresh = any(t.untyped_storage()._cdata not in taken for t in made)
    return (fresh or operator._schema.is_mutable) and operator not in EMPTY


def tensors(tree: Any, kind: type[Tensor] = Tensor) -> list[Tensor]:
    """Those of this kind among an operator's arguments or results, however nested."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, kind)]
