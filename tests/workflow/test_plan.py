"""Planning: mistakes, what is asked for by name, what it costs."""

from __future__ import annotations

import re
import sys
import textwrap

import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "modles=[linear]"], "lra: --config: modles: unknown key; did you mean 'models'?"),
        (["--config", "models=[liner]"],
         "lra: --config: models: 'liner' is unknown; did you mean 'linear'?"),
        (["--config", "models=linear"], "lra: --config: models: Input should be a valid list, not 'linear'"),
        (["--config", "overrides={encoder: {heads: 5}}"], "heads: 5 heads do not divide qkv_dim 64"),
    ],
    ids=["key", "model", "type", "impossible"],
)  # fmt: skip
def test_a_mistake_stops_the_plan_with_one_line(checkout, arguments, said):
    done = checkout.snakemake("-n", *arguments)
    snakemakes_own = ("Using workflow specific profile", "Config file ")
    lines = [line for line in done.stdout.splitlines() if not line.startswith(snakemakes_own)]
    assert done.returncode != 0
    assert len(lines) == 1, done.stdout
    assert said in lines[0]


def test_the_default_experiment_and_the_replication_are_whole_files(checkout):
    """Nothing of config.yaml leaks into another experiment."""
    quick = checkout.snakemake("-n")
    assert "train image/identity/seed2" in quick.stdout and "text-small" in quick.stdout
    assert quick.stdout.count(": baselines of ") == 4
    paper = checkout.snakemake("-n", "--configfile", "config/paper.yaml")
    assert "train pathx/local/seed2" in paper.stdout
    assert "text-small" not in paper.stdout
    assert paper.stdout.count("Job ") > 60


def test_one_model_of_the_default_experiment(checkout):
    done = checkout.snakemake("-n", "--config", "models=[linear]")
    models = set(re.findall(r"train listops/(\w+)/", done.stdout))
    assert models == {"linear"}


def test_planning_imports_neither_torch_nor_scipy(checkout, tmp_path):
    """Every plan, and on a cluster every job twice, would wait for them: 2 s and 1 s."""
    for package in ("torch", "scipy"):
        (tmp_path / f"{package}.py").write_text(f"raise RuntimeError('{package} was imported')\n")
    done = checkout.snakemake(
        "-n", "--configfile", "config/paper.yaml", env={"PYTHONPATH": str(tmp_path)},
        python=sys.executable,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_no_profile_ran_beside_another_job(finished):
    """In the order of snakemake's own messages: a profile is alone from its start to its end."""
    log = (finished / "run.log").read_text()
    running: dict[str, str] = {}
    alone = 0
    for started, name, ended in re.findall(
        r"^Job (\d+): (.*)$|^Finished jobid: (\d+)", log, re.MULTILINE
    ):
        if ended:
            running.pop(ended, None)
            continue
        running[started] = name
        if any(job.startswith("speed and memory of") for job in running.values()):
            assert len(running) == 1, running
            alone += 1
    assert alone == 2


def test_the_model_of_the_readme_can_be_added_and_only_it_runs(checkout):
    """The mechanism printed in config/README.md, written where it says."""
    readme = (checkout.folder / "config/README.md").read_text()
    code = textwrap.dedent(readme.split("```python\n")[1].split("```")[0])
    checkout.write("src/lra/attention/aft.py", code)
    checkout.write("config/models/aft.yaml", "title: AFT-simple\n")
    models = "models=[linear,local,aft]"
    planned = checkout.plan("--config", models)
    trained = {job for job in planned if job.startswith(("train", "evaluate", "speed and"))}
    assert trained == {
        *(f"{verb} {task}/aft/seed{seed}" for verb in ("train", "evaluate")
          for task in ("listops", "pathfinder") for seed in (1, 2)),
        "speed and memory of aft",
    }  # fmt: skip
    checkout.run("results/tiny/cells/listops/aft/seed1/score.json", "--config", models)
    assert (checkout.folder / "results/tiny/cells/listops/aft/seed1/score.json").exists()
