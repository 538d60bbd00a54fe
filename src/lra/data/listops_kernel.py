"""Trees of ListOps: draws them, writes them as tokens and computes their values (compiled)."""

from __future__ import annotations

import numpy as np

from lra.core.compiled import compiled
from lra.data.listops_tokens import CLOSE, MAX, MED, MIN, ZERO


@compiled
def uniform(state: np.ndarray) -> float:
    """The next number in [0, 1), 53 bits, of xoshiro256++ (Blackman & Vigna 2019).

    state: (4,) uint64, advanced in place. Our own, because the streams of NumPy's and Numba's
    generators may change with their versions, and data must not.
    """
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    drawn = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    s2 ^= s0
    s3 ^= s1
    state[0], state[1] = s0 ^ s3, s1 ^ s2
    state[2] = s2 ^ (s1 << np.uint64(17))
    state[3] = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    return (drawn >> np.uint64(11)) * 2.0**-53


@compiled
def grow(
    state: np.ndarray,
    tokens: np.ndarray,
    missing: np.ndarray,
    p_operator: float,
    min_args: int,
    max_args: int,
) -> int:
    """Draw one tree and write its tokens; return its length, or 0 where `tokens` cannot hold it.

    missing: (max_depth,) int64, scratch: arguments still to be drawn at each level. A tree is given
    up as soon as it must become longer than `tokens`. It would be rejected anyway, so this does not
    change the distribution of the others.
    """
    written, implied, level = 0, 1, 0
    missing[0] = 1
    while True:
        if missing[level] == 0:
            if level == 0:
                return written
            tokens[written] = CLOSE
            written += 1
            level -= 1
            continue
        missing[level] -= 1
        if level + 1 < len(missing) and uniform(state) < p_operator:
            args = min_args + int(uniform(state) * (max_args - min_args + 1))
            implied += args + 1  # operator, closing and `args` tokens at least, instead of one
            if implied > len(tokens):
                return 0
            tokens[written] = MAX + int(uniform(state) * 4)
            level += 1
            missing[level] = args
        else:
            tokens[written] = ZERO + int(uniform(state) * 10)
        written += 1


@compiled
def evaluate(tokens: np.ndarray, stack: np.ndarray) -> int:
    """The value of an expression, read from right to left: arguments first, then their operator.

    stack: scratch of at least the length of `tokens`; -1 marks a closing bracket.
    """
    top = 0  # of the stack, exclusive
    for i in range(len(tokens) - 1, -1, -1):
        token = tokens[i]
        if token == CLOSE:
            stack[top] = -1
        elif token < CLOSE:
            stack[top] = token - ZERO
        else:
            first, total = top, 0
            while stack[first - 1] >= 0:
                first -= 1
                total += stack[first]
            for j in range(first + 1, top):  # insertion sort: arguments are few
                value, k = stack[j], j
                while k > first and stack[k - 1] > value:
                    stack[k] = stack[k - 1]
                    k -= 1
                stack[k] = value
            if token == MIN:
                value = stack[first]
            elif token == MAX:
                value = stack[top - 1]
            elif token == MED:
                value = (stack[(first + top - 1) // 2] + stack[(first + top) // 2]) // 2
            else:
                value = total % 10
            top = first - 1
            stack[top] = value
        top += 1
    return stack[0]


@compiled
def fill(
    state: np.ndarray,
    values: np.ndarray,
    offsets: np.ndarray,
    labels: np.ndarray,
    min_length: int,
    max_length: int,
    max_depth: int,
    p_operator: float,
    min_args: int,
    max_args: int,
    max_tries: int,
) -> int:
    """Draw trees until `labels` is full; return how many were drawn, or 0 after `max_tries`.

    values: (n * (max_length - 1),) uint8, offsets: (n + 1,) int64, labels: (n,) int64.
    """
    missing = np.empty(max_depth, np.int64)
    stack = np.empty(max_length, np.int64)
    tries = start = 0
    offsets[0] = 0
    for i in range(len(labels)):
        length = 0
        while length <= min_length:
            if tries == max_tries:
                return 0
            tries += 1
            room = values[start : start + max_length - 1]
            length = grow(state, room, missing, p_operator, min_args, max_args)
        labels[i] = evaluate(values[start : start + length], stack)
        start += length
        offsets[i + 1] = start
    return tries
