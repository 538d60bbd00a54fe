"""Speed and memory of every mechanism beside its peer: `make peers && python attention_speed.py`.

One layer with its projections, forward and backward, dim 512, 8 heads, batch 2, float32 on two
threads (bfloat16 on CUDA), lengths 1,024, 4,096 and 16,384. The floor is the four projections
alone. Ours, peer and floor are timed in turn in one process, up to 5 times until SECONDS are over,
and the table holds medians and ratios, so that a noisy machine disturbs all three alike. On a CPU
each row has a process of its own, which keeps the memory that it once had: new pages for every
large tensor took most of some peers' time, more or less by what ran before. Prints the table and
saves it as Parquet and Markdown after each row; `--resume` keeps the rows that are there.
What fails, is killed, or needs more memory than there is, has no value, and its row says why. Cost:
half an hour on two cores. Aim: each mechanism 1.5 times as fast as its peer or within twice the
floor; two thirds of the peer's memory or within 1.5 times the floor's.
"""

from __future__ import annotations

import gc
import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from attention_peers import ENTRIES
from torch import Tensor, nn

from lra import attention
from lra.core.files import write_beside
from lra.core.progress import say
from lra.evaluation.profile import high_water_mark
from lra.hardware.device import choose_device, synchronise
from lra.hardware.gpu_lock import held

DIM, HEADS, BATCH = 512, 8, 2
LAYERS = ("ours", "peer", "floor")
ROUNDS = 5
SECONDS = 30  # of timing one row; no round is begun after these
KEEPS_PAGES = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=34359738368"
SHARE = 0.9  # of the host's memory that a row may take
HEADERS = {
    "mechanism": "mechanism", "length": "tokens", "peer": "peer",
    "ours_s": "ours (s)", "peer_s": "peer (s)", "floor_s": "floor (s)",
    "peer_over_ours": "times as fast as the peer", "ours_over_floor": "times the floor",
    "fast": "fast",
    "ours_mb": "ours (MB)", "peer_mb": "peer (MB)", "floor_mb": "floor (MB)",
    "mb_over_peer": "share of the peer's MB", "mb_over_floor": "times the floor's MB",
    "lean": "lean", "exponent": "exponent",
}  # fmt: skip


class Projections(nn.Module):
    """The floor: what every mechanism pays for queries, keys, values and outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(DIM, DIM, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value, out = self.projections
        q, k, v = query(x), key(x), value(x)  # all three at once, as attention needs them
        return out(q + k + v)


def step(layer: nn.Module, x: Tensor, grad: Tensor) -> None:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
        loss = (layer(x) * grad).sum()  # the outputs themselves are not kept
    extra = getattr(layer, "auxiliary", None)
    (loss if extra is None else loss + extra).backward()


def limit_memory() -> None:
    """What asks for more than the host has gets an error, and the host goes on."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    most = int(SHARE * pages * size)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def keep_pages() -> None:
    """Start this script anew with an allocator that gives nothing back to the system.

    glibc reads its settings when a process starts; other C libraries have none of that name.
    """
    if "GLIBC_TUNABLES" not in os.environ:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": KEEPS_PAGES})


def seconds(layer: nn.Module, x: Tensor, grad: Tensor) -> float:
    layer.zero_grad(set_to_none=True)
    synchronise(x.device)
    start = time.perf_counter()
    step(layer, x, grad)
    synchronise(x.device)
    return time.perf_counter() - start


def growth(layer: nn.Module, x: Tensor, grad: Tensor) -> float:
    """MB of tensors that one forward and backward add at their peak."""
    layer.zero_grad(set_to_none=True)
    x.grad = None
    if x.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(layer, x, grad)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with torch.autograd.profiler.profile(use_cpu=True, profile_memory=True) as profiler:
        step(layer, x, grad)
    return high_water_mark(profiler) / 1e6


def alone(name: str, length: int, device: torch.device) -> dict:
    """`measure` in a process of its own, so that no other row's memory is in its way."""
    # a copy of this one: nothing has started threads yet
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
        try:
            return process.submit(measure, name, length, device).result()
        except BrokenProcessPool:
            return compared(unmeasured(name, length) | {"problem": "its process was killed"})


def unmeasured(name: str, length: int) -> dict:
    row = {"mechanism": name, "length": length, "peer": ENTRIES[name].peer, "problem": None}
    return row | {f"{key}_{unit}": math.nan for unit in ("mb", "s") for key in LAYERS}


def measure(name: str, length: int, device: torch.device) -> dict:
    torch.manual_seed(0)
    entry = ENTRIES[name]
    builds: dict[str, Callable[[], nn.Module]] = {
        "ours": lambda: attention.build(
            entry.form_of or name, DIM, HEADS, length, **entry.options(length)
        ),
        "peer": lambda: entry.build(DIM, HEADS, length),
        "floor": Projections,
    }
    x = torch.randn(BATCH, length, DIM, device=device, requires_grad=True)
    grad = torch.randn_like(x)
    row = unmeasured(name, length)
    layers: dict[str, nn.Module] = {}
    for key, build in builds.items():
        try:
            layer = build().to(device).train()
            row[f"{key}_mb"] = growth(layer, x, grad)  # and the first, slow step
        except Exception as error:  # noqa: BLE001 -- a peer may raise anything, or take too much
            said = (str(error).splitlines() or [""])[0]
            row["problem"] = f"{key}: {type(error).__name__}: {said}"[:120]
        else:
            layers[key] = layer
    times: dict[str, list[float]] = {key: [] for key in layers}
    began = time.monotonic()
    for done in range(ROUNDS):
        if done and time.monotonic() - began > SECONDS:
            break
        for key, layer in layers.items():
            times[key].append(seconds(layer, x, grad))
    return compared(row | {f"{key}_s": statistics.median(taken) for key, taken in times.items()})


def compared(row: dict) -> dict:
    row["peer_over_ours"] = row["peer_s"] / row["ours_s"]
    row["ours_over_floor"] = row["ours_s"] / row["floor_s"]
    row["mb_over_peer"] = row["ours_mb"] / row["peer_mb"]
    row["mb_over_floor"] = row["ours_mb"] / row["floor_mb"]
    row["fast"] = row["ours_over_floor"] <= 2 or at_least(row["peer_over_ours"], 1.5)
    row["lean"] = row["mb_over_floor"] <= 1.5 or at_least(1 / row["mb_over_peer"], 1.5)
    return row


def at_least(times: float, aim: float) -> bool | None:
    """None where one of both has no value to compare."""
    return None if math.isnan(times) else times >= aim


def exponent(rows: pd.DataFrame) -> float:
    """Of seconds against length, by least squares on logarithms; NaN where fewer than two are known."""
    rows = rows.dropna(subset=["ours_s"])
    if len(rows) < 2:
        return math.nan
    return np.polyfit(np.log(rows["length"]), np.log(rows["ours_s"]), 1)[0]


def save(rows: list[dict], file: Path) -> None:
    """As Parquet, and as Markdown beside it."""
    table = pd.DataFrame(rows)
    fitted = {name: exponent(group) for name, group in table.groupby("mechanism")}
    table["exponent"] = table["mechanism"].map(fitted)
    table = table.sort_values(["mechanism", "length"], key=in_order)
    write_beside(file, table.to_parquet(index=False))
    write_beside(file.with_suffix(".md"), f"{readable(table)}\n".encode())


def in_order(column: pd.Series) -> pd.Series:
    """Mechanisms as in ENTRIES, lengths by size."""
    return column.map(list(ENTRIES).index) if column.name == "mechanism" else column


def readable(table: pd.DataFrame) -> str:
    """Three digits, nothing for what is not known, and below it why not."""
    shown = table[list(HEADERS)].rename(columns=HEADERS)
    for name in shown.select_dtypes("number"):
        shown[name] = [
            f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}" for value in shown[name]
        ]
    for key in ("fast", "lean"):
        shown[key] = shown[key].map({True: "yes", False: "no"}).fillna("")
    text = shown.replace("nan", "").to_markdown(index=False, disable_numparse=True)
    failed = table.dropna(subset=["problem"])
    notes = [
        f"- {row.mechanism}, {row.length:,} tokens: {row.problem}" for row in failed.itertuples()
    ]
    return "\n".join([text, "", *notes]).rstrip()


def main(
    mechanisms: Annotated[list[str] | None, typer.Argument(help="default: all")] = None,
    lengths: str = "1024,4096,16384",
    device: str = "auto",
    threads: int = 2,
    resume: bool = False,
    out: Path = Path("results/benchmarks"),
) -> None:
    torch.set_num_threads(threads)
    file = out / "attention_speed.parquet"
    rows = pd.read_parquet(file).to_dict("records") if resume and file.exists() else []
    measured = {(row["mechanism"], row["length"]) for row in rows}
    with held(device, say):
        chosen = choose_device(device)
        if chosen.type == "cpu":
            limit_memory()
        for name, length in product(mechanisms or ENTRIES, map(int, lengths.split(","))):
            if (name, length) not in measured:
                rows.append((alone if chosen.type == "cpu" else measure)(name, length, chosen))
                print({k: round(v, 2) if isinstance(v, float) else v for k, v in rows[-1].items()})
                gc.collect()
                save(rows, file)
    print(file.with_suffix(".md").read_text())


if __name__ == "__main__":
    keep_pages()
    typer.run(main)
