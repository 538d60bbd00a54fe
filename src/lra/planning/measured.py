"""Speeds that an experiment has measured so far, as the plan's hours follow them."""

from __future__ import annotations

from pathlib import Path

from lra.config.cell import FAST


def measured_speeds(path: Path) -> dict[tuple[str, int], tuple[float, int, str]]:
    """(model, length) -> (training steps/s, batch size, how measured), if there is a speed.parquet.

    Trainings have deterministic kernels: a profile with them counts before one with fast ones.
    """
    if not path.exists():
        return {}
    from lra.results.points import SpeedRow  # pyarrow: only where there is a table
    from lra.results.records import read_table

    rows = [r for r in read_table(path, SpeedRow).to_pylist() if r["status"] == "ok"]
    fast = [r for r in rows if r["setting"] in (None, FAST)]
    usual = {r["precision"] for r in fast}
    like_trainings = [
        r
        for r in rows
        if r["deterministic"] and not (r["tf32"] or r["compile"]) and r["precision"] in usual
    ]
    return {
        (r["model"], r["length"]): (
            r["train_steps_per_s"],
            r["batch_size"],
            r["device"] + (", fast kernels" if r["deterministic"] is False else ""),
        )
        for r in fast + like_trainings
    }
