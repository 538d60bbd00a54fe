"""Profiles under several settings, from snakemake to the table."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
import yaml

from checkout import MODELS

VARIANTS = {
    "half": {"precision": "bfloat16", "deterministic": True},
    "tf32": {"tf32": True, "models": ["linear"]},
}


def test_settings_run_as_rows_of_their_own(checkout):
    checkout.forget_tables()
    file = checkout.folder / "config/tiny.yaml"
    experiment = yaml.safe_load(file.read_text())
    experiment["profile"]["variants"] = VARIANTS
    file.write_text(yaml.safe_dump(experiment))
    target = "results/tiny/tables/efficiency.md"
    done = checkout.snakemake(
        "--configfile", "config/tiny.yaml", "--cores", "2", "--config", "models=[linear]", "--", target,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for what in ("speed", "memory"):
        rows = pq.read_table(checkout.folder / f"results/tiny/{what}.parquet").to_pylist()
        assert [(r["model"], r["setting"], r["length"], r["status"]) for r in rows] == [
            ("linear", setting, length, "unsupported" if setting == "tf32" else "ok")
            for setting in ("fast", "half", "tf32")
            for length in (32, 64)
        ]
        made = checkout.folder / f"results/tiny/profile/{what}"
        assert {path.name for path in made.glob("linear*")} == {
            "linear",
            "linear.half",
            "linear.tf32",
        }
        assert {(r["task"], r["masks"]) for r in rows} == {("listops", True)}
    text = (checkout.folder / target).read_text()
    assert "**Deterministic kernels, bfloat16**" in text and "unsupported" in text


def points(checkout) -> dict[str, bytes]:
    folder = checkout.folder / "results/tiny/profile"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json")}


def test_a_further_length_and_a_lost_point_are_measured_and_no_other(checkout):
    before = points(checkout)
    (checkout.folder / "results/tiny/profile/speed/local/32.json").unlink()
    checkout.edit("config/tiny.yaml", "  - 64\n", "  - 64\n  - 96\n")
    checkout.run("--until", "profile")
    after = points(checkout)
    added = {f"{what}/{model}/96.json" for what in ("speed", "memory") for model in MODELS}
    assert after.keys() - before.keys() == added
    assert {name for name in before if after[name] != before[name]} == {"speed/local/32.json"}


@pytest.mark.parametrize("forced", ["profile", "results/tiny/profile/speed/local/32.json"])
def test_a_forced_profile_is_measured_again(checkout, forced):
    before = points(checkout)
    checkout.run("--until", "profile", "--forcerun", forced)
    changed = {
        name.split("/")[1] for name, record in points(checkout).items() if before[name] != record
    }
    assert changed == (set(MODELS) if forced == "profile" else {"local"})
