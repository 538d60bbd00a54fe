"""What the tables of profiles say of how it was measured, and of what the paper's figures are."""

from __future__ import annotations

from lra.core.formats import listed
from lra.core.unique import distinct, grouped, unique
from lra.results.points import setting_text
from lra.stats.published import MATERIALISED, PAPER

# The paper: "per device memory usage across each TPU device", on "4x4 TPU V3 Chips".
PUBLISHED = (
    f"published: steps/s, factor and GB per device by {PAPER}, Table 2: byte-level "
    "text, batch size 32 over all devices of a 4x4 TPU v3. These are 16 chips of 2 cores, so a "
    "device holds 2 of the 32 examples if it is a chip, and 1 if it is a core; the paper does not "
    "say which. Sizes and hardware differ: compare trends, not values."
)
MASKS = {True: "with a mask, as in the task", False: "without a mask, as in the task"}


def conditions(lines: list[dict], memory: str) -> str:
    """One line on how everything in a table was measured. memory: what that word means in it."""
    known = {key: [v for v in distinct(lines, key) if v is not None] for key in lines[0]}
    parts = [f"on {listed(known['device'])}"]
    parts += [f"torch {listed(known['torch_version'])}"] if known["torch_version"] else []
    parts.append(f"batch size {listed(known['batch_size'])}, all of it on one device")
    settings = unique(map(setting_text, lines))
    parts.append(settings[0] if len(settings) == 1 else "kernels and precision as headed")
    tasks = [f"{x['task']} in protocol {x['protocol']}" for x in lines if x["task"]]
    parts += [f"options of {listed(unique(tasks))}"] if tasks else []
    if len(known["sizes"]) == 1:
        parts.append(f"encoder of {known['sizes'][0]}")
    elif known["sizes"]:
        parts.append("encoders of sizes that differ by model")
    masks = [MASKS[value] for value in known["masks"]]
    parts.append(listed(["random tokens, none of them padding", *masks]))
    text = f"Measured {'; '.join(parts)}. {memory}"
    if False in known["deterministic"]:
        text += " Fast kernels are torch's default; trainings run on deterministic ones."
    if len(known["device"]) > 1 or len(known["batch_size"]) > 1:
        text += " More than one device or batch size: not all rows are comparable."
    return text


def bases(lines: list[dict]) -> list[str]:
    """Where factors are not over the materialised Transformer though it was profiled, or lack."""
    measured = [x for x in lines if x["speed_status"] == "ok"]
    of_base = [x for x in lines if x["model"] == MATERIALISED]
    if not of_base:
        none = "No factor at a length at which transformer has no speed."
        return [none] if any(x["factor"] is None for x in measured) else []
    status = {(x["setting"], x["length"]): x["speed_status"] for x in of_base}
    found = [
        {
            "setting": setting_text(x),
            "why": status.get((x["setting"], x["length"]), "not measured"),
            "over": x["factor_over"],
            "length": f"{x['length']:,}",
        }
        for x in measured
        if x["factor_over"] != MATERIALISED
    ]
    alike = [
        {"setting": setting, "why": why, "over": over, "lengths": listed(distinct(own, "length"))}
        for (setting, why, over), own in grouped(found, "setting", "why", "over").items()
    ]
    every = set(map(setting_text, lines))
    notes = []
    for (why, over, lengths), own in grouped(alike, "why", "over", "lengths").items():
        settings = distinct(own, "setting")
        of = "" if set(settings) == every else f", {'; '.join(settings)},"
        notes.append(f"At {lengths} tokens{of} {MATERIALISED} is {why}: {_instead(over)}")
    return notes


def _instead(over: str | None) -> str:
    if over is None:
        return "no factor, for transformer has no speed there, either."
    return (
        f"factors there are over {over}, whose attention is fused and faster; they do not compare "
        "with the paper's."
    )
