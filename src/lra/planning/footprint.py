"""What a training step of a model costs, measured on torch's fake tensors: nothing is computed.

The real classifier, loss, backward pass and AdamW run on tensors that have a shape but no memory,
while `Ledger` watches every operator. Attention is a GPU's fused kernel, which keeps the
log-sum-exp of its rows and no N x N scores. A CPU (`Load.cpu`) has such a kernel only without
dropout and trained bias, and some mechanisms work one head at a time there.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lra.models.classifier import Classifier
from lra.models.flops import flops, is_kernel, tensors
from lra.models.token_model import TokenModel
from lra.planning.estimate import Footprint, Load, Work


class Ledger(TorchDispatchMode):
    """Counts what operators do, and the bytes of all tensors that are alive at the same time.

    flops: see `lra.models.flops`. traffic: bytes that operators read and write, views excepted, as
    if nothing stayed in a cache. kernels: the number of these operators. peak: bytes, without what
    an operator allocates and frees inside itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.storages: dict[int, weakref.ref] = {}
        self.restart()

    def restart(self) -> None:
        """Count from zero; tensors that are alive still count."""
        self.flops = self.traffic = self.kernels = 0
        self.peak = self.live

    def work(self) -> Work:
        return Work(self.flops, self.traffic, self.kernels, self.peak)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given, made = (tensors(tree, FakeTensor) for tree in ((args, kwargs), out))
        for tensor in (*given, *made):
            self.meet(tensor)
        if is_kernel(func, given, made):
            self.kernels += 1
            self.traffic += sum(map(touched, (*given, *made)))
        self.flops += flops(func, args, kwargs, out)
        return out

    def meet(self, tensor: Tensor) -> None:
        """Count a storage as long as it is alive; torch keeps one Python object for each."""
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


def touched(tensor: Tensor) -> int:
    """Bytes of a tensor; an expanded one has fewer than its shape says."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


class FusedAttention(TorchFunctionMode):
    """Replaces torch.nn.functional's with a GPU's kernel; torch would take a CPU's."""

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
    """Of the second of two training steps, when AdamW's state exists, and of an evaluation batch.

    Bytes include parameters, gradients, both Adam moments and the copy of the best weights. They
    exclude the data set, the device's own context and libraries (0.5 to 1 GB on CUDA), and
    fragmentation.
    """

    def by_head(x: Tensor) -> bool:
        return load.cpu

    ledger = Ledger()
    half = torch.autocast("cpu", torch.bfloat16, enabled=load.precision == "bfloat16")
    with torch.device("meta"):  # initialisation reads values, which fake tensors refuse
        if load.objective:
            model = TokenModel(load.encoder, load.objective in ("causal", "next"))
        else:
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
            with half:
                scores = model(*inputs(load, load.batch_size)).float().flatten(0, -2)
            labels = torch.zeros(len(scores), dtype=torch.long)
            model.loss(cross_entropy(scores, labels)).backward()
            train = ledger.work()
            optimizer.step()
        del scores
        train = train._replace(bytes=ledger.peak)  # the update's included
        model.eval()
        ledger.restart()
        with torch.no_grad(), half:
            model(*inputs(load, load.eval_batch_size))
    return Footprint(sum(p.numel() for p in best), train, ledger.work())


def inputs(load: Load, batch_size: int) -> tuple[Tensor | None, ...]:
    """Tokens and mask as `Classifier` takes them, every sequence at full length, and which tokens
    are hidden, as `TokenModel` does."""
    shape = (batch_size, load.encoder.towers, load.encoder.max_len)
    mask = torch.ones(shape, dtype=torch.bool) if load.pads else None
    asks = load.objective in ("masked", "next")
    hidden = (torch.ones(shape, dtype=torch.bool),) if asks else ()
    return torch.zeros(shape, dtype=torch.int32), mask, *hidden
