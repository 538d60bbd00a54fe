"""What a training step of a model costs, measured on torch's fake tensors: nothing is computed.

The real classifier, loss, backward pass and AdamW run on tensors that have a shape but no memory,
while `Ledger` watches every operator. Fused attention is that of a GPU, which keeps the log-sum-exp
of its rows and no N x N scores; a CPU has such a kernel only where nothing is dropped and no bias
is trained. Mechanisms that work one head at a time on a CPU do so only for `Load.cpu`.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lra.models.classifier import Classifier
from lra.models.flops import flops
from lra.planning.estimate import Footprint, Load


class Ledger(TorchDispatchMode):
    """Counts what operators do, and the bytes of tensors that live at the same time.

    flops: of matrix products, convolutions and attention (torch.utils.flop_counter); elementwise
    operators and reductions count as traffic only. traffic: bytes read and written by operators
    that are no views, each as if alone. kernels: how many such operators. peak: bytes; what an
    operator allocates inside itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.storages: dict[int, weakref.ref] = {}
        self.restart()

    def restart(self) -> None:
        """Count from here; what lives, lives on."""
        self.flops = self.traffic = self.kernels = 0
        self.peak = self.live

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given, made = tensors((args, kwargs)), tensors(out)
        views = {t.untyped_storage()._cdata for t in given}
        fresh = any(t.untyped_storage()._cdata not in views for t in made)
        for tensor in (*given, *made):
            self.meet(tensor)
        if (fresh or func._schema.is_mutable) and func not in (EMPTY, EMPTY_STRIDED):
            self.kernels += 1
            self.traffic += sum(map(touched, (*given, *made)))
        self.flops += flops(func, args, kwargs, out)
        return out

    def meet(self, tensor: Tensor) -> None:
        """Count a storage while it lives; torch keeps one Python object for each."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.storages:
            return

        def end(_: weakref.ref) -> None:
            self.live -= size
            del self.storages[key]

        self.storages[key] = weakref.ref(storage, end)
        self.live += size
        self.peak = max(self.peak, self.live)


EMPTY, EMPTY_STRIDED = torch.ops.aten.empty.memory_format, torch.ops.aten.empty_strided.default


def tensors(tree) -> list[Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, FakeTensor)]


def touched(tensor: Tensor) -> int:
    """Bytes behind a tensor; an expanded one has fewer than its shape says."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


class FusedAttention(TorchFunctionMode):
    """torch.nn.functional's as a GPU does it; torch itself takes a fake tensor for a CPU's."""

    def __init__(self, cpu: bool) -> None:
        super().__init__()
        self.cpu = cpu

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is scaled_dot_product_attention:
            func = self.attend
        return func(*args, **(kwargs or {}))

    def attend(self, q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None):
        biased = attn_mask is not None and attn_mask.requires_grad
        if self.cpu and (dropout_p > 0 or biased):
            return scaled_dot_product_attention(
                q, k, v, attn_mask, dropout_p, is_causal, scale=scale
            )
        if attn_mask is not None:
            bias = attn_mask if attn_mask.is_floating_point() else attn_mask.to(q.dtype)
            attn_mask = bias.expand(*q.shape[:-1], k.shape[-2])
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        return kernel(q, k, v, attn_mask, True, dropout_p, is_causal, scale=scale)[0]


def footprint(load: Load) -> Footprint:
    """Of the second of two steps, which finds the optimiser's state, and of one evaluation batch.

    Bytes include parameters, gradients, both Adam moments and the copy of the best weights; not the
    data set, the device's own context and libraries (0.5 to 1 GB on CUDA), or fragmentation.
    """

    def by_head(x: Tensor) -> bool:
        return load.cpu

    ledger = Ledger()
    half = torch.autocast("cpu", torch.bfloat16, enabled=load.precision == "bfloat16")
    with torch.device("meta"):  # initialisation looks at values, which fake tensors refuse
        model = Classifier(load.encoder)
    for block in model.blocks:
        block.attention.by_head = by_head
    with FakeTensorMode(allow_non_fake_inputs=True), FusedAttention(load.cpu), ledger:
        model.to_empty(device="cpu")
        optimizer = torch.optim.AdamW(model.parameters())
        best = [p.detach().clone() for p in model.parameters()]
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            ledger.restart()
            labels = torch.zeros(load.batch_size, dtype=torch.long)
            with half:
                scores = model(*inputs(load, load.batch_size)).float()
            model.loss(cross_entropy(scores, labels)).backward()
            train = (ledger.flops, ledger.traffic, ledger.kernels)
            optimizer.step()
        del scores
        train_bytes = ledger.peak
        model.eval()
        ledger.restart()
        with torch.no_grad(), half:
            model(*inputs(load, load.eval_batch_size))
    return Footprint(
        sum(p.numel() for p in best),
        *train,
        train_bytes,
        *(ledger.flops, ledger.traffic, ledger.kernels, ledger.peak),
    )


def inputs(load: Load, batch_size: int) -> tuple[Tensor, Tensor | None]:
    """Tokens and mask as `Classifier` takes them, every sequence at full length."""
    shape = (batch_size, load.encoder.towers, load.encoder.max_len)
    mask = torch.ones(shape, dtype=torch.bool) if load.pads else None
    return torch.zeros(shape, dtype=torch.int32), mask
