"""The tiny experiment through `--profile slurm`, to the end."""

from __future__ import annotations

import re

import pytest

SMALL = ["tasks=[listops]", "models=[linear]", "seeds=[1]", "device=auto",
         "profile={lengths: [32], batch_size: 1, seconds: 0.05}"]  # fmt: skip

pytestmark = pytest.mark.xdist_group("slurm")  # one Slurm on a host


def test_the_tiny_experiment_ends_with_tables_and_each_job_has_what_it_needs(slurm, remote):
    before = set(slurm.jobs())
    said = remote.finish(remote.start(config=SMALL))
    assert (remote.folder / "results/tiny/tables/accuracy.md").exists(), said
    submitted = {job: rule for job, rule in slurm.jobs().items() if job not in before}
    assert len(submitted) == len(re.findall("has been submitted with SLURM jobid", said))
    trained = [slurm.show(job) for job, rule in submitted.items() if "rule_train" in rule]
    assert len(trained) == 1
    for job in trained:
        assert (job["Partition"], job["JobState"]) == ("gpu", "COMPLETED")
        assert job["TresPerJob"] == "gres:gpu:1"
    tables = [slurm.show(job) for job, rule in submitted.items() if "table" in rule]
    assert {(job["Partition"], "TresPerJob" in job) for job in tables} == {("cpu", False)}


def test_a_site_that_takes_gres_and_the_seeds_of_one_model_in_one_job(slurm, remote):
    remote.site(gpu="gres", seeds_together=True)
    before = set(slurm.jobs())
    config = ["tasks=[listops]", "models=[linear]", "seeds=[1, 2, 3]", "device=auto"]
    folder = "results/tiny/cells/listops/linear"
    targets = [f"{folder}/seed{n}/train.json" for n in (1, 2, 3)]
    remote.finish(remote.start(targets=targets, config=config))
    (job,) = set(slurm.jobs()) - before
    shown = slurm.show(job)
    assert (shown["TresPerNode"], shown["NumCPUs"]) == ("gres:gpu:1", "1")
    assert all((remote.folder / f"{folder}/seed{n}/train.json").exists() for n in (1, 2, 3))
