"""Blocks compiled by torch.compile: the same mathematics in fewer, fused kernels."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from lra.models.classifier import Classifier


def compile_blocks(model: Classifier) -> None:
    """Compile each block's forward and backward pass, in one graph per shape of its input.

    Shapes are static, so a batch's width alone decides which kernels it has, and a resumed training
    has the bits of one that was not stopped. Dropout draws the numbers that it draws uncompiled.
    The first step of a width takes some 10 s on a CPU.
    """
    import torch._dynamo.config as dynamo  # the compiler: only where it is asked for
    import torch._inductor.config as inductor

    inductor.fallback_random = True
    inductor.compile_threads = torch.get_num_threads()  # a job has no more cores
    # A silent way back to uncompiled kernels would change the bits in the midst of a training.
    dynamo.fail_on_recompile_limit_hit = True
    dynamo.recompile_limit = 64
    for block in model.blocks:
        block.compile(dynamic=False, fullgraph=True)


def as_written(compiled: bool) -> AbstractContextManager:
    """A context in which compiled blocks run as they are written; elsewhere it does nothing."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
