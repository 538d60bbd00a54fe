"""Generated data sets: worker processes draw chunks; one process drops duplicates and writes.

A task module ``lra.data.<name>`` provides ``Config`` (a `Strict` schema), ``CHUNK`` (examples per
chunk), ``chunk(config, seed, index) -> pa.Table`` (a pure function) and ``info(config) -> Info``.
Chunks are used in the order of their index, so the bytes do not depend on the number of workers.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from itertools import count, groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from lra.core.errors import LRAError
from lra.core.files import one_line, sha256, sigterm_unwinds
from lra.core.progress import progress
from lra.core.schema import Strict, checked
from lra.data.manifest import MANIFEST, write_manifest
from lra.data.split import SPLITS, write_split

AHEAD = 2  # chunks in flight per worker: bounds memory, evens out slow chunks
MAX_STALE = 20  # chunks in a row with almost nothing new, after which the search ends

Keyed = tuple[pa.Table, list[bytes]]  # a chunk and a digest of each row's tokens


def keyed(table: pa.Table) -> Keyed:
    """The table with a 128-bit digest of each row's tokens."""
    keys = []
    for tokens in table["tokens"].chunks:
        values, offsets = tokens.values.to_numpy(), tokens.offsets.to_numpy().tolist()
        keys += [
            hashlib.blake2b(values[start:end], digest_size=16).digest()
            for start, end in zip(offsets, offsets[1:], strict=False)
        ]
    return table, keys


def distinct(chunks: Iterable[Keyed]) -> Iterator[pa.Table]:
    """The chunks without rows whose tokens occurred before.

    An endless stream with few different examples would be searched for ever. So a chunk is stale
    when fewer than one row in 1000 is new, and MAX_STALE of these in a row raise LRAError.
    """
    seen: set[bytes] = set()
    stale = 0
    for table, keys in chunks:
        fresh = []
        for row, key in enumerate(keys):
            if key not in seen:
                seen.add(key)
                fresh.append(row)
        stale = stale + 1 if len(fresh) * 1000 < len(keys) else 0
        if stale == MAX_STALE:
            raise LRAError(
                f"this configuration yields hardly more than {len(seen):,} different examples; "
                "ask for fewer or widen it"
            )
        if fresh:
            yield table if len(fresh) == len(keys) else table.take(fresh)


def portions(tables: Iterable[pa.Table], sizes: dict[str, int]) -> Iterator[tuple[str, pa.Table]]:
    """Cut an endless stream in order: sizes[first] rows with that name, then the next."""
    tables = iter(tables)
    rest = next(tables)
    for name, size in sizes.items():
        while size:
            if not len(rest):
                rest = next(tables)
            head, rest = rest.slice(0, size), rest.slice(size)
            size -= len(head)
            yield name, head


def take(size: int, tables: Iterable[pa.Table]) -> pa.Table:
    """The first `size` different examples of an endless stream of chunks, in one process."""
    if size < 1:
        raise LRAError(f"{size} examples asked for; ask for at least 1")
    chosen = portions(distinct(map(keyed, tables)), {"all": size})
    return pa.concat_tables(table for _, table in chosen)


def _draw(module_name: str, config: Strict, seed: int, index: int) -> Keyed:
    return keyed(import_module(f"lra.data.{module_name}").chunk(config, seed, index))


def _start_worker() -> None:
    """Ignore Ctrl-C, which the parent handles, and end with the parent, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def stream(module_name: str, config: Strict, seed: int, workers: int) -> Iterator[Keyed]:
    """Chunks 0, 1, 2, ... for ever; close it to stop the workers."""
    if workers == 1:
        for index in count():
            yield _draw(module_name, config, seed, index)
    context = multiprocessing.get_context("forkserver")
    # Import once, not in each worker; none of ours, because the server does not have this process's
    # sys.path (Python 3.11 to 3.13) and would take an installed one. The workers have it.
    context.set_forkserver_preload(["numba", "pyarrow"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        pending: deque = deque()
        for index in count():
            pending.append(pool.submit(_draw, module_name, config, seed, index))
            if len(pending) == AHEAD * workers:
                yield pending.popleft().result()
    except BrokenProcessPool:
        raise LRAError(
            f"{module_name}: a generator process was killed, perhaps out of memory; "
            "try fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def generate_dataset(
    module_name: str,
    config: dict[str, Any],
    sizes: dict[str, int],
    seed: int,
    out: Path,
    workers: int = 1,
) -> None:
    """Write out/{train,val,test}.arrow with exactly sizes[split] rows each, then out/dataset.json.

    The splits are filled in this order from one stream without duplicates; the bytes depend on the
    module, config, sizes and seed alone. Raises LRAError in one line for a bad configuration, too
    few different examples, a killed worker, or a disk that is full or not writable.
    """
    if sorted(sizes) != sorted(SPLITS) or min(sizes.values()) < 1:
        raise LRAError(f"{module_name}: sizes needs {', '.join(SPLITS)}, each above 0: {sizes}")
    if seed < 0 or workers < 1:
        raise LRAError(f"{module_name}: seed {seed} is below 0 or workers {workers} below 1")
    module = import_module(f"lra.data.{module_name}")
    settings = checked(module.Config, config, f"{module_name}: options")
    info = module.info(settings)
    info = replace(info, generator={**info.generator, "seed": seed})
    total = sum(sizes.values())
    workers = min(workers, math.ceil(total / module.CHUNK))
    manifest = out / MANIFEST
    with one_line(manifest):
        manifest.unlink(missing_ok=True)  # it describes the splits that are being replaced
    splits = {}
    with (
        sigterm_unwinds(),
        closing(stream(module_name, settings, seed, workers)) as chunks,
        progress(out, total, unit=" examples") as bar,
    ):

        def counted(named: Iterable[tuple[str, pa.Table]]) -> Iterator[pa.Table]:
            for _, table in named:
                yield table
                bar.update(len(table))

        in_order = {split: sizes[split] for split in SPLITS}
        for split, named in groupby(portions(distinct(chunks), in_order), key=lambda pair: pair[0]):
            path = out / f"{split}.arrow"
            with one_line(path):
                rows = write_split(path, counted(named), info)
                splits[split] = {"rows": rows, "sha256": sha256(path)}
        write_manifest(out, info, splits)
