"""What causal models cost: token by token, and in training beside the same mechanism that sees all.

Weights and tokens are random. Prefill: N tokens in parallel to scores of the next token and to the
states after them. Decode: steps of one token each from the states that a prefill of N tokens left.
A repeat's steps start from these states again, so the context is N to N + STEPS.

One thread on a CPU, where seconds are those of the process's CPU time: other processes then disturb
by what they take of caches and memory alone. On a GPU they are of the clock.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from lra.attention import steps
from lra.config.cell import Encoder, ProfilePoint
from lra.core.errors import LRAError
from lra.hardware.device import choose_device, choose_kernels, is_out_of_memory, synchronise
from lra.models.classifier import parameter_count
from lra.models.decode import Decoder
from lra.models.token_model import TokenModel
from lra.training.optimizer import AdamW

STEPS = 32  # of one repeat of decoding
REPEATS = 7  # of each at most, as many as begin within `seconds`; one where it is long
FEWEST = 3  # pairs of training steps, however long one takes

Measured = dict[str, Any]  # status, reason, params and, where ok, fields of results/points.py


def decode(point: ProfilePoint, limit: float) -> Measured:
    """Prefill and decode tokens/s and the bytes of the state of a model after `point.length` tokens

    `point.seconds`: of repeats of prefill and of decoding each, beside a warm-up. A prefill that
    takes longer than that is measured once, cold. limit: seconds for all.
    """
    encoder = point.encoder.model_copy(update={"max_len": point.length + STEPS})
    with_state = {"state": steps.kind(encoder.attention)}

    def measure(device: torch.device) -> Measured:
        model = TokenModel(encoder, causal=True).to(device)
        decoder = Decoder(model)
        shapes = (point.batch_size, point.length), (STEPS, point.batch_size)
        tokens, following = (random_tokens(encoder, shape, device) for shape in shapes)
        states = ()

        def prefill() -> None:
            nonlocal states
            _, states = decoder.prefill(tokens)

        def steps_after() -> None:
            now = states
            for token in following:
                _, now = decoder.step(token, now)

        prefilling, _ = rates(prefill, tokens.numel(), point.seconds, device)
        decoding, cpu_share = rates(steps_after, following.numel(), point.seconds, device)
        found = {"params": parameter_count(model), "cpu_share": cpu_share}
        held = sum(state.bytes for state in states)  # asking the decoder imports torch's compiler
        found |= {"state_bytes": held // point.batch_size}
        for name, each in (("prefill", prefilling), ("decode", decoding)):
            found |= quartiles(f"{name}_tokens_per_s", each) | {f"{name}_repeats": len(each)}
        return found

    return with_state | _guarded(point, limit, encoder, measure)


def directions(point: ProfilePoint, limit: float) -> Measured:
    """Training steps that predict each token of `point.length` by a model that sees no later one,
    and by one that sees all: a pair of steps in turn for `point.seconds`, so that noise hits both.

    limit: seconds for all.
    """

    def measure(device: torch.device) -> Measured:
        shape = (point.batch_size, point.encoder.towers, point.length)
        tokens = random_tokens(point.encoder, shape, device)
        models = [TokenModel(point.encoder, causal).to(device) for causal in (True, False)]
        both = [training_step(model, tokens) for model in models]
        taken: list[list[float]] = [[], []]  # seconds, of the causal one and of the other
        for step in both:
            seconds_of(step, device)  # the first one allocates and chooses kernels
        began = time.perf_counter()
        while len(taken[0]) < FEWEST or time.perf_counter() - began < point.seconds:
            order = (0, 1) if len(taken[0]) % 2 else (1, 0)
            for number in order:
                taken[number].append(seconds_of(both[number], device))
        causal, other = np.array(taken)
        found = {"params": parameter_count(models[0]), "pairs": len(causal)}
        found |= {"causal_step_s": np.median(causal), "bidirectional_step_s": np.median(other)}
        return found | quartiles("causal_over_bidirectional", causal / other)

    return _guarded(point, limit, point.encoder, measure)


def training_step(model: TokenModel, tokens: torch.Tensor) -> Callable[[], None]:
    """Forward, backward and update; tokens (B, T, N) are both what is read and what is predicted"""
    optimizer = AdamW(model.train().named_parameters())

    def step() -> None:
        scores = model(tokens).flatten(0, -2)
        model.loss(cross_entropy(scores, tokens.flatten())).backward()
        optimizer.step(1e-4)
        optimizer.zero_grad()

    return step


def rates(
    work: Callable[[], object], tokens: int, seconds: float, device: torch.device
) -> tuple[list[float], float]:
    """Tokens per second of each repeat of `work`, and CPU seconds per second of all

    The first is a warm-up, unless it takes more than `seconds`: then it is all.
    """
    taken: list[float] = []
    synchronise(device)
    began, cpu = time.perf_counter(), time.process_time()
    while not taken or (len(taken) <= REPEATS and taken[0] <= seconds and sum(taken[1:]) < seconds):
        taken.append(seconds_of(work, device))
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    return [tokens / each for each in taken[1:] or taken], share


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """On a CPU those of the process's CPU time; before and after it nothing is waiting."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    work()
    synchronise(device)
    return clock() - start


def quartiles(name: str, values: list[float] | np.ndarray) -> dict[str, float]:
    """The median as `name`, and the quartiles beside it."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {name: middle, f"{name}_low": low, f"{name}_high": high}


def random_tokens(encoder: Encoder, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.randint(1, encoder.vocab_size, shape, device=device)


def _guarded(
    point: ProfilePoint, limit: float, encoder: Encoder, measure: Callable[[torch.device], Measured]
) -> Measured:
    """What `measure` gives, or why it gives nothing: memory, time, a model without such a form"""
    choose_kernels(point.threads, point.deterministic, point.tf32)
    device = choose_device(point.device)
    torch.manual_seed(0)
    try:
        with _within(limit):
            return {"status": "ok", "reason": None} | measure(device)
    except TimeoutError:
        status, reason = "timeout", f"more than {limit:g} s"
    except LRAError as error:
        status, reason = "unsupported", str(error)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        status, reason = "oom", str(error).splitlines()[0]
    with torch.device("meta"):
        params = parameter_count(TokenModel(encoder, causal=True))
    return {"status": status, "reason": reason, "params": params}


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in here after so many seconds, once the operator that runs has ended."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
