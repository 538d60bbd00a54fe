"""What a job asks of a cluster: memory and time by its cell's estimate, more at each attempt.

Nothing here is a param of a rule, so no change here reruns anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lra.config.cell import Cell
from lra.config.schema import Site
from lra.core.formats import BYTES
from lra.planning.estimate import GB, Estimates, dataset_bytes

MB = BYTES["MB"]
PROCESS_MB = 2000  # Python with torch, and two snakemakes around it in a Slurm job
CUDA_MB = 6000  # host memory of CUDA's libraries and pinned buffers
MEMORY_MARGIN = 1.3  # allocators, temporary copies
MEASURED_MARGIN, ASSUMED_MARGIN = 1.5, 3.0  # on hours from a measured speed, or an assumed one
SHORTEST = 30  # minutes
UNKNOWN_MB = 16000  # of a cell without an estimate


def memory_mb(cell: Cell, estimates: Estimates, attempt: int, site: Site) -> int:
    """Host memory of the cell's jobs; `attempt` counts from 1."""
    costs = estimates.costs(cell)
    if costs is None:
        need = UNKNOWN_MB
    elif cell.device == "cpu":
        need = PROCESS_MB + MEMORY_MARGIN * costs.peak_bytes / MB
    else:  # the tensors lie on the GPU
        dataset = estimates.arena.dataset(cell.dataset)
        examples = dataset.train + dataset.val + dataset.test
        data = dataset_bytes(dataset, cell.encoder, examples, 4)
        need = PROCESS_MB + CUDA_MB + MEMORY_MARGIN * data / MB
    return capped_mb(attempt * need, site)


def train_minutes(cell: Cell, estimates: Estimates, attempt: int, site: Site) -> int:
    """Time limit of the cell's training: without an estimate the longest that the site allows."""
    return _minutes(cell, estimates, attempt, site, 1.0)


def scoring_minutes(
    cell: Cell, estimates: Estimates, attempt: int, site: Site, passes: float
) -> int:
    """Time limit of that many passes over one example, by the time that they take in training."""
    trained = cell.training.steps * cell.training.batch_size
    return _minutes(cell, estimates, attempt, site, passes / trained)


def _minutes(cell: Cell, estimates: Estimates, attempt: int, site: Site, share: float) -> int:
    costs = estimates.costs(cell)
    if costs is None:
        return capped_minutes(60 * site.max_hours, site)
    margin = MEASURED_MARGIN if costs.basis else ASSUMED_MARGIN
    return capped_minutes(attempt * (SHORTEST + margin * 60 * costs.hours * share), site)


def gpu_share(cell: Cell, estimates: Estimates, site: Site) -> int:
    """How many jobs may hold a GPU at a time where this cell is one: 1 if they may not fit."""
    part = estimates.machine.device_memory_gb * GB / site.gpu_share
    trained = [cell] if cell.pretraining is None else [cell, cell.pretraining_cell]
    costs = [estimates.costs(each) for each in trained]
    fits = all(each and MEMORY_MARGIN * each.peak_bytes <= part for each in costs)
    return site.gpu_share if fits else 1


def capped_mb(wanted: float, site: Site) -> int:
    return int(min(wanted, site.max_memory_gb * GB / MB))


def capped_minutes(wanted: float, site: Site) -> int:
    return max(1, int(min(wanted, 60 * site.max_hours)))


class Requests:
    """What the jobs of an experiment ask for, as functions of Snakemake's wildcards and attempt."""

    def __init__(self, estimates: Estimates, site: Site, cell_of: Callable[[Any], Cell]) -> None:
        """cell_of: the resolved cell of a job's wildcards."""
        self.estimates, self.site, self.cell_of = estimates, site, cell_of
        self.experiment = estimates.arena.experiment

    def memory(self, wildcards: Any, attempt: int) -> int:
        return memory_mb(self.cell_of(wildcards), self.estimates, attempt, self.site)

    def pretraining_memory(self, wildcards: Any, attempt: int) -> int:
        cell = self.cell_of(wildcards).pretraining_cell
        return memory_mb(cell, self.estimates, attempt, self.site)

    def pretrain(self, wildcards: Any, attempt: int) -> int:
        cell = self.cell_of(wildcards).pretraining_cell
        return train_minutes(cell, self.estimates, attempt, self.site)

    def train(self, wildcards: Any, attempt: int) -> int:
        site = self._one_seed(0.8)
        return train_minutes(self.cell_of(wildcards), self.estimates, attempt, site)

    def evaluate(self, wildcards: Any, attempt: int) -> int:
        cell, site = self.cell_of(wildcards), self._one_seed(0.2)
        passes = self.estimates.arena.dataset(cell.dataset).test
        if cell.predicts_tokens:  # also in windows 16 times as long, a token up to 16 times as dear
            draws = cell.training.draws if cell.training.objective == "masked" else 1
            passes *= draws * (1 + 16)
        return scoring_minutes(cell, self.estimates, attempt, site, passes)

    def span(self, wildcards: Any, attempt: int) -> int:
        passes = self.experiment.span.samples * (1 + self.experiment.span.queries)
        cell = self.cell_of(wildcards)
        return scoring_minutes(cell, self.estimates, attempt, self.site, passes)

    def generate(self, wildcards: Any, attempt: int) -> int:
        """As if each step, also one by a state, were a pass over all tokens."""
        cell, asked = self.cell_of(wildcards), self.experiment.generate
        length = cell.encoder.max_len
        evaluations = length
        if cell.training.objective == "masked":
            # steps of a block halve to one: about twice as many
            evaluations = 2 * sum(asked.steps) + 2 * length * len(asked.blocks)
        passes = asked.examples * evaluations
        return scoring_minutes(cell, self.estimates, attempt, self.site, passes)

    def profile(self, wildcards: Any, attempt: int) -> int:
        """All lengths of a model are one job."""
        return capped_minutes(60 * attempt * len(self.experiment.profile.lengths), self.site)

    def decode(self, wildcards: Any, attempt: int) -> int:
        """All contexts and lengths of a model are one job."""
        section = self.experiment.decode
        points = len(section.contexts) + len(section.training_lengths)
        return capped_minutes(attempt * points * (1 + section.limit / 60), self.site)

    def minutes(self, wanted: float) -> Callable[[Any, int], int]:
        """A fixed time limit, longer at each attempt."""
        return lambda wildcards, attempt: capped_minutes(attempt * wanted, self.site)

    def megabytes(self, wanted: float) -> Callable[[Any, int], int]:
        """Fixed memory, more at each attempt."""
        return lambda wildcards, attempt: capped_mb(attempt * wanted, self.site)

    def _one_seed(self, share: float) -> Site:
        """The limits of one seed's job; those of all seeds in one job add up to the site's."""
        if not self.site.seeds_together:
            return self.site
        hours = share * self.site.max_hours / len(self.experiment.seeds)
        return self.site.model_copy(update={"max_hours": hours})


def node(site: Site, gpu: bool) -> dict[str, str]:
    """A rule's resources for Slurm's account and partition, where the site names them."""
    partition = site.gpu_partition if gpu else site.cpu_partition
    asked = {"slurm_account": site.account, "slurm_partition": partition}
    return {name: value for name, value in asked.items() if value}


def gres(site: Site) -> str:
    """The value of --gres, for a site without --gpus."""
    return f"gpu:{site.gpu_type}:1" if site.gpu_type else "gpu:1"
