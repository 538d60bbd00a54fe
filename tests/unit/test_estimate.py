"""The plan's figures: their cache, how they become hours, what is said of them."""

from __future__ import annotations

import functools
import shlex
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

from lra import attention
from lra.cli.app import app
from lra.config.resolve import Arena
from lra.core.errors import LRAError
from lra.core.formats import elapsed
from lra.planning import estimate
from lra.planning.estimate import CACHE, Estimates, Footprint, Load, Work
from lra.planning.footprint import footprint
from lra.results.points import SpeedRow
from lra.results.records import write_rows
from tiny import ROOT, make_cell

FIGURES = Footprint(1000, Work(10**13, 10**9, 100, 10**9), Work(3 * 10**12, 10**9, 30, 5 * 10**8))


def arena_of(**changed) -> Arena:
    given = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    return Arena.open({**given, **changed}, [], ROOT)


def cells_of(arena: Arena) -> list:
    e = arena.experiment
    return [arena.resolve(t, m, s)[0] for t in e.tasks for m in e.models for s in e.seeds]


@functools.cache
def committed() -> tuple[dict[str, Footprint], dict[str, list[Load]]]:
    """The file's figures, and each mechanism's loads among them."""
    cache = estimate.read_cache(ROOT / CACHE)
    arenas = (Arena.read(ROOT / f"config/{name}.yaml") for name in ("config", "survey", "paper"))
    by_name: dict[str, list[Load]] = {}
    for load in (load for arena in arenas for load in estimate.loads(arena)):
        if load.key in cache:
            by_name.setdefault(load.encoder.attention, []).append(load)
    return cache, by_name


@pytest.mark.slow
@pytest.mark.parametrize("name", attention.names())
def test_the_committed_figures_are_what_the_code_gives(name):
    """A mechanism's smallest load: one that changed at all shows there."""
    cache, by_name = committed()
    assert name in by_name, "run 'lra estimate' for each experiment"
    load = min(by_name[name], key=lambda load: load.encoder.max_len * load.batch_size)
    assert footprint(load) == cache[load.key], (
        f"{name}: delete its rows in {CACHE}, then 'lra estimate'"
    )


def test_every_field_of_a_load_is_in_its_key():
    base = Load.of_cell(make_cell())
    others = [
        Load.of_cell(make_cell(encoder={"dim": 64, "qkv_dim": 64})),
        Load.of_cell(make_cell(encoder={"options": {"kernel": "materialised"}})),
        replace(base, batch_size=17),
        replace(base, eval_batch_size=17),
        replace(base, pads=False),
        replace(base, precision="bfloat16"),
        replace(base, cpu=False),
        replace(base, objective="masked"),
        replace(base, objective="causal"),
    ]
    assert len({load.key for load in (base, *others)}) == 10
    assert Load.of_cell(make_cell(seed=2, training={"steps": 99})).key == base.key


def test_rows_come_back_and_are_added_to(tmp_path):
    path = tmp_path / "estimates.csv"
    one, two = Load.of_cell(make_cell()), replace(Load.of_cell(make_cell()), batch_size=17)
    estimate.add_to_cache(path, [(one, FIGURES)])
    estimate.add_to_cache(path, [(two, FIGURES._replace(params=7))])
    assert estimate.read_cache(path) == {one.key: FIGURES, two.key: FIGURES._replace(params=7)}


@pytest.mark.parametrize(
    "content", [b"key,params\nx,1\n", b"nothing\nof the sort\n", bytes(range(256)) * 10]
)
def test_a_broken_cache_is_named(tmp_path, content):
    (tmp_path / "estimates.csv").write_bytes(content)
    with pytest.raises(LRAError, match=r"estimates\.csv: not (a table|UTF-8)") as error:
        estimate.read_cache(tmp_path / "estimates.csv")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("machine", "bound"),
    [({"teraflops": 1}, 10), ({"bandwidth_gb_s": 0.01}, 100), ({"kernel_us": 1e6}, 100)],
)
def test_the_slowest_of_three_counts(machine, bound):
    """FIGURES: 10 TFLOP, 1 GB and 100 kernels a step."""
    e = arena_of(estimate=machine).experiment
    assert FIGURES.train.seconds(e.estimate) == pytest.approx(bound)


def test_hours_are_steps_and_evaluations(tmp_path):
    arena = arena_of(models=["linear"], tasks=["pathx"], estimate={"teraflops": 1})
    (cell, *_) = cells_of(arena)
    cost = Estimates(arena, {Load.of_cell(cell).key: FIGURES}, tmp_path).costs(cell)
    batches = 200 * 313 + 313  # validations and the test, 20,000 images each, 64 at once
    assert cost.hours == pytest.approx((500_000 * 10 + batches * 3) / 3600)
    assert cost.basis is None
    assert cost.peak_bytes == 10**9 + 180_000 * (16_384 + 24)


def test_measured_speed_scales_the_hours(tmp_path):
    """Profiled at 1,024 and 4,096 tokens; Path-X takes the nearest, 3 times slower than assumed."""
    arena = arena_of(models=["linear"], tasks=["pathx"])
    (cell, *_) = cells_of(arena)
    points = {n: Load.of_point(arena.profile_point("linear", n)) for n in (1024, 4096)}
    cache = {load.key: FIGURES for load in (Load.of_cell(cell), *points.values())}
    assumed = Estimates(arena, cache, tmp_path).costs(cell)
    expected = FIGURES.train.seconds(arena.experiment.estimate)
    rows = [
        {"experiment": "paper", "model": "linear", "length": n, "batch_size": 16, "device": "cuda",
         "status": "ok", "train_steps_per_s": 1 / (slower * expected), "infer_steps_per_s": 1.0,
         "tokens_per_s": 1.0}
        for n, slower in ((1024, 5), (4096, 3))
    ]  # fmt: skip
    write_rows(tmp_path / "paper/speed.parquet", rows, SpeedRow)
    measured = Estimates(arena, cache, tmp_path).costs(cell)
    assert measured.hours == pytest.approx(3 * assumed.hours)
    assert measured.basis == "measured at 4,096 tokens on cuda"


def test_the_summary_names_what_does_not_fit_and_what_is_unknown(tmp_path):
    arena = arena_of(models=["linear", "local", "sparse"], tasks=["pathx"])
    cells = cells_of(arena)
    large = FIGURES._replace(train=FIGURES.train._replace(bytes=310 * 10**9))
    cache = {Load.of_cell(c).key: large if c.model == "local" else FIGURES
             for c in cells if c.model != "sparse"}  # fmt: skip
    estimates = Estimates(arena, cache, tmp_path)
    said = estimate.summary(estimates, cells)
    assert "cells      9" in said
    assert "pathx/local (about 313 GB): of 80 GB; expect status oom" in said
    assert "unknown    3 cells: lra estimate config/config.yaml --write" in said
    hours = 3 * estimates.costs(cells[0]).hours
    assert f"GPU time   {hours:,.0f} h (30 TFLOP/s" in said


@pytest.mark.parametrize(("device", "has_gpu", "kind"), [
    ("auto", True, "GPU"), ("auto", False, "CPU"), ("cpu", True, "CPU"), ("cuda", False, "GPU"),
])  # fmt: skip
def test_hours_are_of_what_trains_and_slow_precision_is_said(tmp_path, device, has_gpu, kind):
    arena = arena_of(models=["linear"], tasks=["pathx"], device=device, precision="bfloat16")
    cells = cells_of(arena)
    estimates = Estimates(arena, {Load.of_cell(cells[0]).key: FIGURES}, tmp_path)
    said = estimate.summary(estimates, cells, estimate.Here(has_gpu=has_gpu))
    assert f"{kind} time " in said
    assert ("auto: no GPU here; the CPU trains" in said) == (kind == "CPU" and device == "auto")
    assert ("bfloat16: about four times slower than float32" in said) == (kind == "CPU")


@pytest.mark.slow
def test_the_hint_estimates_the_experiment_of_the_plan(tmp_path):
    """Also what only Snakemake's --config names."""
    changes = (
        "models=[linear]",
        "tasks=[pathx]",
        "overrides={training: {steps: 9, eval_every: 9}}",
    )
    arena = Arena.read(ROOT / "config/paper.yaml", typed=changes)
    assert arena.experiment.models == ["linear"]
    assert arena.experiment.overrides.training == {"steps": 9, "eval_every": 9}
    said = estimate.summary(Estimates(arena, {}, tmp_path), cells_of(arena), estimate.Here(changes))
    hint = shlex.split(said.partition("cells: ")[2].splitlines()[0])
    assert hint == ["lra", "estimate", "config/paper.yaml", "--write", CACHE,
                    *(f"--config={c}" for c in changes)]  # fmt: skip
    done = CliRunner().invoke(app, [*hint[1:], "--write", str(tmp_path / "found.csv")])
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "found.csv").read_text().splitlines()) > 1


def test_a_change_of_the_command_line_that_is_none_is_one_line():
    with pytest.raises(LRAError, match="modles: unknown key; did you mean 'models'"):
        Arena.read(ROOT / "config/paper.yaml", typed=["modles=[linear]"])


def test_data_and_checkpoints_are_the_disk(tmp_path):
    arena = arena_of(models=["linear"], tasks=["pathx"])
    cells = cells_of(arena)
    estimates = Estimates(arena, {Load.of_cell(cells[0]).key: FIGURES}, tmp_path)
    assert estimates.disk_bytes(["pathx"], cells) == (200_000 * (16_384 + 24), 3 * 4 * 1000)


def test_a_pretraining_is_counted_beside_the_training():
    overrides = {"pretraining": {"objective": "masked", "steps": 1000}}
    arena = arena_of(overrides=overrides, tasks=["listops"])
    cells = cells_of(arena)[:2]
    firsts = [cell.pretraining_cell for cell in cells]
    found = {load.key for load in estimate.loads(arena)}
    assert {Load.of_cell(cell).key for cell in (*cells, *firsts)} <= found
    estimates = Estimates(arena, {Load.of_cell(c).key: FIGURES for c in (*cells, *firsts)}, ROOT)
    alone, both = (
        estimate.summary(estimates, cells),
        estimate.summary(estimates, cells, pretrainings=firsts),
    )
    assert "pretrained" not in alone
    assert "  cells      2\n  pretrained 2 first, 2,000 steps, " in both
    unknown = estimate.summary(Estimates(arena, {}, ROOT), cells, pretrainings=firsts)
    assert "  pretrained 2 first, 2,000 steps\n" in unknown
    hours = [estimates.costs(cell).hours for cell in (*cells, *firsts)]
    assert f"time   {elapsed(3600 * sum(hours))}" in both
    assert f"steps, {elapsed(3600 * sum(hours[2:]))} of it" in both


@pytest.mark.parametrize("objective", ["masked", "causal"])
def test_the_head_over_tokens_costs_what_it_multiplies(objective):
    plain = Load.of_cell(make_cell())
    load = replace(plain, objective=objective)
    one, other = footprint(plain), footprint(load)
    e, tokens = plain.encoder, plain.batch_size * plain.encoder.max_len
    head = 3 * 2 * tokens * e.dim * e.vocab_size
    of_classes = 3 * 2 * plain.batch_size * (e.dim * e.mlp_dim + e.mlp_dim * e.classes)
    if objective == "masked":
        assert other.train.flops - one.train.flops == head - of_classes
    assert other.params - one.params == (e.dim + 1) * e.vocab_size + e.dim - (
        (e.dim + 1) * e.mlp_dim + (e.mlp_dim + 1) * e.classes
    )
    assert other.train.bytes > one.train.bytes
