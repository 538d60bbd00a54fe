"""Prefill and decode tokens/s and state bytes against the context: `python decode_speed.py`.

One layer, dim 128, 4 heads, MLP 256, batch 1, float32, one thread, random bytes, CPU seconds. Rows are measured
mechanism by mechanism, each from the shortest context to the longest, so a noisy minute disturbs
few of them; compare within a run. Prints the table and saves it as Parquet and Markdown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from lra.config.cell import Encoder
from lra.evaluation.decode import STEPS, measure

DEFAULT = ["linear", "s4d", "mamba2", "deltanet", "mingru", "transformer", "rotary"]


def encoder(mechanism: str, context: int) -> Encoder:
    return Encoder(
        attention=mechanism, vocab_size=256, classes=2, max_len=context + STEPS, dim=128,
        qkv_dim=128, heads=4, layers=1, mlp_dim=256, pooling="MEAN",
    )  # fmt: skip


def shown(table: pd.DataFrame) -> str:
    """Tokens/s as median (quartiles; repeats), one row a mechanism and context"""
    rows = []
    for row in table.to_dict("records"):
        cells = [row["mechanism"], row["state"], row["context"]]
        for name in ("prefill", "decode"):
            middle, low, high = (row[f"{name}_tokens_per_s{end}"] for end in ("", "_low", "_high"))
            cells.append(f"{middle:,.0f} ({low:,.0f} to {high:,.0f}; {row[f'{name}_repeats']})")
        first = table[table["mechanism"] == row["mechanism"]]["decode_tokens_per_s"].iloc[0]
        rows.append(
            [*cells, f"{row['decode_tokens_per_s'] / first:.2f}", f"{row['state_bytes']:,}"]
        )
    head = [
        "mechanism", "state", "context", "prefill tokens/s", "decode tokens/s",
        "decode, of the first row's", "state bytes",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=head).to_markdown(index=False, disable_numparse=True)


def main(
    mechanisms: Annotated[list[str] | None, typer.Argument(help=", ".join(DEFAULT))] = None,
    contexts: str = "1024,4096,16384,65536",
    seconds: float = 3.0,
    device: str = "cpu",
    out: Path = Path("results/benchmarks"),
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in mechanisms or DEFAULT:
        for context in map(int, contexts.split(",")):
            found = measure(encoder(name, context), context, seconds=seconds, device=device)
            rows.append(found.model_dump())
            table = pd.DataFrame(rows)  # after each row, as a long run may be stopped
            table.to_parquet(out / "decode.parquet", index=False)
            (out / "decode.md").write_text(shown(table) + "\n")
    print(shown(table))


if __name__ == "__main__":
    typer.run(main)
