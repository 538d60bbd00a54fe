"""What the tables of profiles say of how it was measured, and of what the paper's figures are."""

from __future__ import annotations

from lra.core.formats import listed
from lra.core.unique import distinct, grouped, unique
from lra.results.points import setting_text
from lra.stats.published import MATERIALISED, PAPER

# The paper: "per device memory usage across each TPU device", on "4x4 TPU V3 Chips".
PUBLISHED = (
    f"In brackets: steps/s, factor and GB per device published by {PAPER}, Table 2: byte-level text, "
    "batch size 32 over all devices of a 4x4 TPU v3. These are 16 chips of 2 cores, so a device "
    "holds 2 of the 32 examples if it is a chip, and 1 if it is a core; the paper does not say "
    "which. Sizes and hardware differ: compare trends, not values."
)


def conditions(lines: list[dict], memory: str) -> str:
    """One line on how everything in a table was measured. memory: what that word means in it."""
    parts = [f"on {listed(distinct(lines, 'device'))}"]
    for column, word in {"torch_version": "torch", "batch_size": "batch size"}.items():
        known = [value for value in distinct(lines, column) if value is not None]
        parts += [f"{word} {listed(known)}"] if known else []
    parts.append("all of it on one device")
    parts.append(listed(unique(map(setting_text, lines))))
    tasks = [f"{x['task']} of protocol {x['protocol']}" for x in lines if x["task"]]
    parts += [f"encoder and options of {listed(unique(tasks))}"] if tasks else []
    masks = {True: "with a mask, as in the task", False: "without a mask, as in the task"}
    known = [masks[value] for value in distinct(lines, "masks") if value is not None]
    parts.append(listed(["random tokens, none of them padding", *known]))
    text = f"Measured {'; '.join(parts)}. {memory}"
    if any(len(distinct(lines, column)) > 1 for column in ("device", "batch_size")):
        text += " More than one device or batch size: not all rows are comparable."
    return text


def bases(lines: list[dict], several: bool) -> list[str]:
    """Where factors are not over the materialised transformer, though it was profiled; or lack.

    several: settings.
    """
    if not any(line["model"] == MATERIALISED for line in lines):
        lost = [x for x in lines if x["factor"] is None and x["speed_status"] == "ok"]
        return ["No factor at a length at which transformer has no speed."] if lost else []
    status = {
        (x["setting"], x["length"]): x["speed_status"] for x in lines if x["model"] == MATERIALISED
    }
    found = [
        {
            "setting": x["setting"],
            "where": f" ({setting_text(x)})" if several else "",
            "why": status.get((x["setting"], x["length"]), "not measured"),
            "over": x["factor_over"],
            "length": f"{x['length']:,}",
        }
        for x in lines
        if x["speed_status"] == "ok" and x["factor_over"] != MATERIALISED
    ]
    notes = []
    for (where, why, over), own in grouped(found, "where", "why", "over").items():
        lost = f"At {listed(distinct(own, 'length'))} tokens{where} {MATERIALISED} is {why}: "
        if over is None:
            notes.append(f"{lost}no factor, for transformer has no speed there, either.")
        else:
            notes.append(
                f"{lost}factors there are over {over}, whose attention is fused and faster; they do "
                "not compare with the paper's."
            )
    return notes
