"""The tiny experiment through `--profile slurm`, to the end."""

from __future__ import annotations

import re

import pytest

SMALL = ["tasks=[listops]", "models=[linear]", "seeds=[1]", "device=auto",
         "profile={lengths: [32], batch_size: 1, seconds: 0.05}"]  # fmt: skip


@pytest.mark.parametrize("syntax", ["gpus"])
def test_the_tiny_experiment_ends_with_tables_and_each_job_has_what_it_needs(slurm, remote, syntax):
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
