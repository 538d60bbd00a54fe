"""What planning says that the cells still to train will cost."""

from __future__ import annotations

import re
import subprocess

import pytest

import warm

HEAD = "Estimate of the cells to train"


def streams(checkout, *arguments: str) -> tuple[str, str]:
    """stdout and stderr of snakemake on the tiny experiment."""
    command = [warm.python(), "-m", "snakemake", "--configfile", "config/tiny.yaml", *arguments]
    done = subprocess.run(command, cwd=checkout.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_finished_experiment_costs_nothing(checkout):
    assert HEAD not in checkout.run("-n")


def test_the_plan_ends_with_the_costs_of_what_is_to_do(checkout):
    """Unknown first; after `lra estimate`, hours, of the new seed's four cells alone."""
    config = ("--config", "seeds=[1,2,3]")
    _, said = streams(checkout, "-n", *config)
    assert said.count(HEAD) == 1
    assert "rerun-triggers" not in said  # Snakemake's advice to overlook changes
    assert "cells      4" in said
    assert "unknown    4 cells: lra estimate config/tiny.yaml --write" in said
    done = checkout.lra("estimate", "config/tiny.yaml", "--write", "config/reference/estimates.csv")
    assert done.returncode == 0, done.stdout
    out, said = streams(checkout, "-n", *config)
    assert HEAD not in out
    assert re.search(r"CPU time +[\d.]+ (s|min)\s", said.split(HEAD)[1])
    assert "cells by their models' measured speeds" in said
    assert "unknown" not in said


def test_a_run_says_it_once_and_a_summary_never(checkout):
    out, said = streams(checkout, "--summary")
    assert HEAD not in out + said
    said = checkout.run("cells", "--config", "seeds=[3]", "tasks=[listops]", "models=[linear]")
    assert said.count(HEAD) == 1
    assert said.index(HEAD) < said.index("train listops/linear/seed3")


def test_a_quiet_run_says_in_one_line_why_there_is_none(checkout):
    """`--quiet all` keeps Snakemake's own errors back."""
    asked = ["--configfile", "config/tiny.yaml", "--cores", "1", "--profile", "profiles/quiet"]
    done = checkout.snakemake(*asked, "results/tiny/tables/nothing.md")
    said = "lra: MissingRuleException: No rule to produce results/tiny/tables/nothing.md"
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith(said)]


def test_a_quiet_run_shows_its_trainings_and_no_jobs(checkout):
    cell = ("--config", "seeds=[4]", "tasks=[listops]", "models=[linear]")
    lines = checkout.run("cells", *cell, "--profile", "profiles/quiet").splitlines()
    assert "lra: 2 jobs: 1 evaluate, 1 train" in lines
    assert [line for line in lines if line.startswith("listops/linear/seed4  step ")]
    snakemakes = ("rule ", "Job ", "[", "Select ", "Execute ", "Finished ")
    assert not [line for line in lines if line.startswith(snakemakes)]


@pytest.mark.slow
def test_waiting_jobs_are_looked_at_when_one_ends_and_not_all_the_time(checkout):
    """Snakemake's own costs: with its limit on jobs a second it looks ever more often."""
    said = checkout.run("cells", "--verbose", "--cores", "1", "--config", "seeds=[3]")
    assert said.count("Finished jobid") == 9  # four trainings, four scores and the target
    assert said.count("Ready jobs: ") <= 9
