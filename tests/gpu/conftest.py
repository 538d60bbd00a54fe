"""The device of these tests, held as a job holds its GPU."""

from __future__ import annotations

import pytest
import torch
from card import DEVICE, ON_CARD

from lra.core.progress import say
from lra.hardware.device import choose_device, choose_kernels
from lra.hardware.gpu_lock import held


@pytest.fixture(scope="module")
def device() -> torch.device:
    """Deterministic kernels and no TF32, as in trainings; not for tests that start jobs, which wait."""
    with held(DEVICE, say):
        chosen = choose_device(DEVICE)
        if ON_CARD:
            choose_kernels(torch.get_num_threads(), deterministic=True, tf32=False)
        yield chosen
