"""What jobs ask of a cluster, from the estimates of their cells."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lra.config.resolve import Arena
from lra.config.schema import Site, load
from lra.core.errors import LRAError
from lra.planning import resources
from lra.planning.estimate import CACHE, Estimates, read_cache
from tiny import ROOT


@pytest.fixture(scope="module")
def estimates() -> Estimates:
    return Estimates(Arena.read(ROOT / "config/paper.yaml"), read_cache(ROOT / CACHE), Path("none"))


def cell_of(estimates, task, model, **changed):
    return estimates.arena.resolve(task, model, 0)[0].model_copy(update=changed)


def test_the_time_limit_has_room_over_the_estimate_and_grows_with_the_attempt(estimates):
    cell, site = cell_of(estimates, "pathx", "linear"), Site(max_hours=1000)
    hours = estimates.costs(cell).hours
    first, second = (resources.train_minutes(cell, estimates, n, site) for n in (1, 2))
    assert first >= 2 * 60 * hours + 20
    assert second == pytest.approx(2 * first, abs=1)


def test_a_pass_over_as_many_examples_as_a_training_sees_asks_for_as_much(estimates):
    cell, site = cell_of(estimates, "pathx", "linear"), Site(max_hours=1000)
    seen = cell.training.steps * cell.training.batch_size
    whole = resources.train_minutes(cell, estimates, 1, site)
    assert resources.scoring_minutes(cell, estimates, 1, site, seen) == whole
    assert (
        resources.SHORTEST <= resources.scoring_minutes(cell, estimates, 1, site, seen / 10) < whole
    )


def test_tokens_are_scored_once_a_draw_and_in_long_windows_too(monkeypatch):
    arena = Arena.read(ROOT / "config/ar-quick.yaml")
    estimates = Estimates(arena, {}, Path("none"))
    monkeypatch.setattr(resources, "scoring_minutes", lambda *given: given[-1])
    test = arena.dataset("bytes-small").test
    for model, draws in (("linear", 1), ("linear-masked", 4)):
        cell, _ = arena.resolve("bytes", model, 1)
        asks = resources.Requests(estimates, Site(), lambda wildcards, cell=cell: cell)
        assert asks.evaluate(None, 1) == test * draws * 17


def test_the_site_caps_what_is_asked(estimates):
    cell, site = cell_of(estimates, "pathx", "transformer"), Site(max_hours=0.5, max_memory_gb=1)
    assert resources.train_minutes(cell, estimates, 3, site) == 30
    assert resources.memory_mb(cell, estimates, 3, site) == 1000


def test_on_a_cpu_the_tensors_are_in_the_hosts_memory_and_on_a_gpu_they_are_not(estimates):
    site = Site(max_memory_gb=1000)
    gpu = cell_of(estimates, "listops", "transformer")
    peak = estimates.costs(gpu).peak_bytes / 1e6
    assert resources.memory_mb(gpu, estimates, 1, site) < peak
    experiment = estimates.arena.experiment
    assert experiment.device == "auto"
    quick = Arena.read(ROOT / "config/config.yaml")
    of_quick = Estimates(quick, read_cache(ROOT / CACHE), Path("none"))
    cpu, _ = quick.resolve("listops", "transformer", 0)
    peak = of_quick.costs(cpu).peak_bytes / 1e6
    assert resources.memory_mb(cpu, of_quick, 1, site) > peak + 1000


def test_without_an_estimate_a_training_asks_for_all_the_time_that_there_is(estimates):
    none = Estimates(estimates.arena, {}, Path("none"))
    cell, site = cell_of(none, "listops", "linear"), Site(max_hours=7, max_memory_gb=1000)
    assert resources.train_minutes(cell, none, 1, site) == 7 * 60
    assert resources.memory_mb(cell, none, 1, site) >= 8000


@pytest.mark.parametrize(
    ("given", "asked"),
    [(Site(), "gpu:1"), (Site(gpu_type="a100"), "gpu:a100:1")],
)
def test_gres_names_the_type(given, asked):
    assert resources.gres(given) == asked


def test_partitions_and_account_are_asked_for_where_they_are_named():
    site = Site(account="physics", gpu_partition="big")
    assert resources.node(site, gpu=True) == {"slurm_account": "physics", "slurm_partition": "big"}
    assert resources.node(site, gpu=False) == {"slurm_account": "physics"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gpu_partitoin: big", "config/site.yaml: gpu_partitoin: unknown key; did you mean 'gpu_partition'?"),
        ("gpu: grs", "config/site.yaml: gpu: 'grs' is unknown; did you mean 'gres'?"),
        ("max_hours: 0", "config/site.yaml: max_hours: Input should be greater than 0, not 0"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_site_file_is_one_line(tmp_path, line, said):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "config/site.yaml").write_text(line)
    with pytest.raises(LRAError) as error:
        load(tmp_path / "config/site.yaml", Site, tmp_path)
    assert str(error.value) == said


def test_the_repositorys_site_file_says_the_defaults():
    assert load(ROOT / "config/site.yaml", Site, ROOT) == Site()


def test_a_generation_asks_for_the_time_of_all_its_evaluations(monkeypatch):
    monkeypatch.setattr(resources, "scoring_minutes", lambda *given: given[-1])

    def passes(model: str, **asked) -> int:
        typed = [f"generate={json.dumps({'examples': 10, 'steps': [1], 'blocks': []} | asked)}"]
        arena = Arena.read(ROOT / "config/ar-quick.yaml", typed=typed)
        cell, _ = arena.resolve("bytes", model, 1)
        of = Estimates(arena, read_cache(ROOT / CACHE), Path("none"))
        return resources.Requests(of, Site(), lambda _: cell).generate(None, 1)

    assert passes("linear-masked", steps=[1, 8]) == 10 * 2 * 9  # two orders
    assert passes("linear-masked", blocks=[4]) >= 10 * (2 + 256 + 128 + 64)  # steps 4, 2, 1
    assert passes("linear") == 10 * 256
