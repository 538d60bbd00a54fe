"""Images a second of the Pathfinder generator on one core, compilation left out.

Run: python tests/benchmarks/pathfinder_speed.py [seconds per size, default 10]
"""

from __future__ import annotations

import sys
import time

from lra.data.pathfinder import CHUNK, SIZES, PathfinderConfig, chunk


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    started = time.perf_counter()
    chunk(PathfinderConfig(size=16), seed=0, index=0)
    print(f"first chunk, with compilation where not cached: {time.perf_counter() - started:.1f} s")
    for size in SIZES:
        config = PathfinderConfig(size=size)
        wall, cpu, chunks = time.perf_counter(), time.process_time(), 0
        while chunks == 0 or time.perf_counter() - wall < seconds:
            chunk(config, seed=1, index=chunks)
            chunks += 1
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        images = chunks * CHUNK
        print(
            f"{size:4d} px, {config.contour_length:2d} paddles: {images / wall:8.1f} images/s "
            f"({images / cpu:8.1f} per CPU second)",
            flush=True,
        )


if __name__ == "__main__":
    main()
