"""The tiny experiment through `--profile slurm`, to its archive, and what its jobs ask for."""

from __future__ import annotations

import os
import re
import shutil
import signal

from remote import LONG

from checkout import commit_all

SMALL = ["tasks=[listops]", "models=[linear]", "seeds=[1]", "device=auto",
         "profile={lengths: [32], batch_size: 1, seconds: 0.05}"]  # fmt: skip


def test_records_a_table_and_a_figure_are_made_and_each_job_has_what_it_needs(slurm, remote):
    before = set(slurm.jobs())
    targets = ["results/tiny/tables/accuracy.md", "results/tiny/figures/speed.svg",
               "results/tiny/span/listops/linear/seed1.json"]  # fmt: skip
    said = remote.finish(remote.start(config=SMALL, targets=targets))
    assert all((remote.folder / target).exists() for target in targets), said
    submitted = {job: rule for job, rule in slurm.jobs().items() if job not in before}
    assert len(submitted) == len(re.findall("has been submitted with SLURM jobid", said))
    asked = {}
    for job, rule in submitted.items():
        shown = slurm.show(job)
        assert shown["JobState"] == "COMPLETED"
        asked[rule.split("_wildcards_")[0]] = shown["Partition"], shown.get("TresPerJob")
    on_gpu, on_cpu = ("gpu", "gres:gpu:1"), ("cpu", None)
    assert asked == {
        "rule_train": on_gpu, "rule_evaluate": on_gpu, "rule_profile": on_gpu,
        "rule_measure_span": on_gpu, "rule_collect": on_cpu, "rule_table": on_cpu,
        "rule_figure": on_cpu, "rule_baseline": on_cpu,
    }  # fmt: skip


def test_a_site_that_takes_gres_and_the_seeds_of_one_model_in_one_job(slurm, remote):
    """Killed as the second seed trains, it fails as a whole, and the first is not trained again."""
    remote.site(gpu="gres", seeds_together=True)
    before = set(slurm.jobs())
    config = [*LONG[:2], "seeds=[1, 2]", *LONG[3:]]
    run = remote.start(targets=["cells"], config=config)
    work = remote.folder / "results/tiny/work/listops/linear"
    slurm.wait(lambda: list(work.glob("*.finished/train.json")))
    (first,) = (kept.name.removesuffix(".finished") for kept in work.glob("*.finished"))
    second = {"seed1": "seed2", "seed2": "seed1"}[first]
    slurm.wait((work / second / "state.pt").exists)
    kept = (work / f"{first}.finished/train.json").read_bytes()
    os.kill(remote.pid_of_training(second), signal.SIGKILL)
    remote.finish(run)
    jobs = set(slurm.jobs()) - before
    assert len(jobs) == 2
    for job in jobs:
        shown = slurm.show(job)
        assert (shown["TresPerNode"], shown["NumCPUs"]) == ("gres:gpu:1", "1")
        assert shown["TimeLimit"] == "00:30:00"  # of the site, for both seeds
    logs = remote.folder / "results/tiny/logs/train/listops/linear"
    assert "was trained already; its files are taken" in (logs / f"{first}.log").read_text()
    assert "resumed at step" in (logs / f"{second}.log").read_text()
    cells = remote.folder / "results/tiny/cells/listops/linear"
    assert (cells / first / "train.json").read_bytes() == kept
    assert all((cells / seed / "score.json").exists() for seed in (first, second))
    assert not list(work.glob("seed*"))


def test_an_archive_is_made_and_verified(slurm, remote, finished):
    """One job. The last test here: others make what it archives meanwhile, without Slurm."""
    shutil.rmtree(remote.folder)
    shutil.copytree(finished, remote.folder, symlinks=True)
    remote.site()
    commit_all(remote.folder)
    before = set(slurm.jobs())
    remote.finish(remote.start(config=[], targets=["archive"]))
    assert [rule for job, rule in slurm.jobs().items() if job not in before] == ["rule_archive"]
    done = remote.lra("verify", "results/tiny/archive/tiny.zip")
    assert done.returncode == 0, done.stdout
