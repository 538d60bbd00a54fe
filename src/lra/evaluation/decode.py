"""What a causal model costs token by token: prefill and decode tokens/s apart, bytes of its state.

Weights and tokens are random. Prefill: N tokens in parallel to scores of the next token and to the
states after them. Decode: steps of one token each from the states that a prefill of N tokens left.
A repeat's steps start from these states again, so the context is N to N + STEPS.

One thread on a CPU, where seconds are those of the process's CPU time: other processes then disturb
by what they take of caches and memory alone. On a GPU they are of the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from lra.attention import steps
from lra.config.cell import Encoder
from lra.core.schema import Strict
from lra.hardware.device import choose_device, choose_kernels, device_name, synchronise
from lra.models.decode import Decoder
from lra.models.token_model import TokenModel

STEPS = 32  # of one repeat of decoding
REPEATS = 7  # of each at most, as many as begin within `seconds`; one where it is long


class Decoding(Strict):
    """One (model, context); rates are medians of the repeats, with their quartiles"""

    mechanism: str
    state: str  # of lra.attention.steps.Kind
    context: int  # tokens
    batch_size: int
    sizes: str  # of the encoder
    device: str
    torch_version: str
    prefill_tokens_per_s: float
    prefill_tokens_per_s_low: float
    prefill_tokens_per_s_high: float
    prefill_repeats: int
    decode_tokens_per_s: float
    decode_tokens_per_s_low: float
    decode_tokens_per_s_high: float
    decode_repeats: int
    cpu_share: float  # CPU seconds per second of decoding
    state_bytes: int  # of one sequence, after `context` tokens


def measure(
    encoder: Encoder,
    context: int,
    batch_size: int = 1,
    seconds: float = 2.0,
    device: str = "auto",
) -> Decoding:
    """seconds: of repeats of prefill and of decoding each, beside a warm-up. A prefill that takes
    longer than that is measured once, cold.

    `encoder.max_len` has to hold context + STEPS tokens where the model has positions.
    """
    choose_kernels(1, deterministic=False, tf32=False)
    on = choose_device(device)
    torch.manual_seed(0)
    decoder = Decoder(TokenModel(encoder, causal=True).to(on))
    tokens = torch.randint(1, encoder.vocab_size, (batch_size, context), device=on)
    following = torch.randint(1, encoder.vocab_size, (STEPS, batch_size), device=on)
    states = ()

    def prefill() -> None:
        nonlocal states
        _, states = decoder.prefill(tokens)

    def decode() -> None:
        now = states
        for token in following:
            _, now = decoder.step(token, now)

    prefilling, _ = rates(prefill, batch_size * context, seconds, on)
    decoding, cpu_share = rates(decode, batch_size * STEPS, seconds, on)
    fields = {}
    for name, found in (("prefill", prefilling), ("decode", decoding)):
        low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
        fields |= {
            f"{name}_tokens_per_s": middle,
            f"{name}_tokens_per_s_low": low,
            f"{name}_tokens_per_s_high": high,
            f"{name}_repeats": len(found),
        }
    return Decoding(
        mechanism=encoder.attention,
        state=steps.kind(encoder.attention),
        context=context,
        batch_size=batch_size,
        sizes=encoder.sizes,
        device=device_name(on),
        torch_version=torch.__version__,
        cpu_share=cpu_share,
        state_bytes=decoder.state_bytes(context),
        **fields,
    )


def rates(
    work: Callable[[], object], tokens: int, seconds: float, device: torch.device
) -> tuple[list[float], float]:
    """Tokens per second of each repeat of `work`, and CPU seconds per second of all

    The first is a warm-up, unless it takes more than `seconds`: then it is all.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    taken: list[float] = []
    synchronise(device)
    began, cpu = time.perf_counter(), time.process_time()
    while not taken or (len(taken) <= REPEATS and taken[0] <= seconds and sum(taken[1:]) < seconds):
        start = clock()
        work()
        synchronise(device)
        taken.append(clock() - start)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    return [tokens / each for each in taken[1:] or taken], share
