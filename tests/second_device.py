"""A device beside the CPU whose tensors have shapes and no values; every build of torch has it.

They are torch's fake tensors on the device that torch reserves for backends made elsewhere. As on a
GPU, an operator raises whose tensors lie on two devices, and so does one that needs a value.
"""

from __future__ import annotations

import functools
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lra.models.classifier import Classifier
from lra.planning.footprint import FusedAttention

NAME = "second"
# On CUDA these give the host a value, or a shape that depends on values, so the host waits
# (aten/src/ATen/native/cuda of torch 2.13). What a kernel waits for inside itself only a card shows
# (torch.cuda.set_sync_debug_mode).
WAITING = {
    "_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "_local_scalar_dense", "_unique",
    "_unique2", "bincount", "equal", "histc", "linalg_eig", "linalg_lstsq", "masked_select",
    "multinomial", "nonzero", "repeat_interleave", "unique_consecutive", "unique_dim",
}  # fmt: skip
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
COPIES = {"_to_copy", "copy_"}
# Which operators take bfloat16 and which float32 under a GPU's autocast, of those met here
# (aten/src/ATen/autocast_mode.h of torch 2.13); a CPU's has a shorter list of the second.
HALF = (
    "_scaled_dot_product_efficient_attention", "addmm", "baddbmm", "bmm", "linear", "matmul", "mm",
)  # fmt: skip
SINGLE = (
    "cross_entropy_loss", "cumprod", "cumsum", "exp", "expm1", "layer_norm", "linalg_matrix_norm",
    "linalg_vector_norm", "log", "log1p", "log_softmax", "nll_loss", "norm", "pow", "prod",
    "reciprocal", "rsqrt", "softmax", "softplus", "sum",
)  # fmt: skip
AUTOCAST = "AutocastPrivateUse1"


class Backend(backend_registration._DummyBackendModule):
    def is_available(self) -> bool:  # so that nothing is copied to it in earnest
        return False

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


@functools.cache
def second_device() -> torch.device:
    backend_registration._setup_privateuseone_for_python_backend(NAME, Backend())
    others.fallback(torch.library.fallthrough_kernel, AUTOCAST)
    for names, dtype in ((HALF, torch.bfloat16), (SINGLE, torch.float32)):
        for name in names:
            packet = getattr(torch.ops.aten, name)
            for overload in packet.overloads():
                if "out" not in overload:
                    casts.impl(getattr(packet, overload), casting(packet, dtype), AUTOCAST)
    return torch.device(NAME)


casts, others = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")


def casting(packet: torch._ops.OpOverloadPacket, dtype: torch.dtype):
    """The operator with its floating tensors cast, as autocast does."""
    autocast = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, AUTOCAST))

    def cast(x):
        eligible = isinstance(x, torch.Tensor) and x.dtype in (torch.bfloat16, torch.float32)
        return x.to(dtype) if eligible else x

    def call(*args, **kwargs):
        with torch._C._ExcludeDispatchKeyGuard(autocast):
            args, kwargs = tree_map(cast, (args, kwargs))
            return packet(*args, **kwargs)

    return call


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for the second device, by operator and line of our code.

    A value that the host asks for is made up, so that the count goes on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.pinned: set[int] = set()  # storages

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._overloadpacket.__name__
        given = tensors((args, kwargs))
        if name in WAITING and any(t.device.type == NAME for t in given):
            self.note(name)
        if name == "_local_scalar_dense":
            return 1.0 if given[0].dtype.is_floating_point else given[0].dtype != torch.bool
        if name == "_pin_memory":
            out = torch.empty_like(given[0])
            self.pinned.add(out.untyped_storage()._cdata)
            return out
        if name in INDEXING:
            self.index(name, args[0], [t for t in args[1] if t is not None])
        if name in COPIES:
            to = kwargs.get("device") or given[0].device
            self.copy(name, given[-1], to, kwargs.get("non_blocking") or True in args[2:])
        return func(*args, **kwargs)

    def index(self, name: str, indexed: torch.Tensor, at: list[torch.Tensor]) -> None:
        if any(t.dtype in (torch.bool, torch.uint8) for t in at):
            self.note(f"{name} by a mask")
        if any(t.device != indexed.device for t in at):
            self.note(f"{name} by a tensor of the host")

    def copy(self, name: str, source: torch.Tensor, to: torch.device, non_blocking: bool) -> None:
        pinned = source.untyped_storage()._cdata in self.pinned
        if source.device.type != torch.device(to).type and not (non_blocking and pinned):
            self.note(f"{name} from {source.device.type}")

    def note(self, what: str) -> None:
        frames = [f for f in traceback.extract_stack() if "/lra/" in f.filename]
        ours = [f for f in frames if "footprint" not in f.filename][-1:]
        self.found[" ".join([what, *(f"{Path(f.filename).name}:{f.lineno}" for f in ours)])] += 1


def tensors(tree) -> list[torch.Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor)]


class Empty(Classifier):
    """Its weights have no values: initialisation reads some."""

    def __init__(self, config) -> None:
        with unset_fake_temporarily(), torch.device("meta"):
            super().__init__(config)

    def to(self, device: torch.device) -> Classifier:
        return self.to_empty(device=device)


@contextmanager
def on_second_device(module) -> Iterator[Waits]:
    """In which `module` builds its classifiers on the second device, with a GPU's attention."""
    device = second_device()
    changed = mock.patch.multiple(module, Classifier=Empty, choose_device=lambda _: device)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake, FusedAttention(cpu=False), changed, Waits() as waits:
        yield waits
