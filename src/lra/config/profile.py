"""The profile rows of an experiment, and what each is measured on.

A row is a model, or a variant of it that its file lists (`profile_also`), under one setting. Its
encoder and options are those that the protocol has for one task, so that a speed stands beside the
accuracies of the same model.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Protocol

from lra.config.cell import FAST, PADDED, ProfilePoint, profile_row
from lra.config.layers import Layer, complete_options, join, validated
from lra.config.schema import Experiment, Variant
from lra.core.errors import LRAError, one_of


class Rules(Protocol):
    """What a profile needs of `resolve.Arena`, which imports this."""

    experiment: Experiment
    tasks: dict[str, str]  # which task of config/tasks/ each of the protocol's is

    def place(self, key: str) -> str: ...

    def base(self, model: str) -> str: ...

    def mechanism(self, model: str) -> str: ...

    def profile_also(self, model: str) -> dict[str, dict[str, Any]]: ...

    def layers(self, task: str, model: str) -> list[Layer]: ...


@dataclass(frozen=True)
class ProfileRow:
    model: str  # of the experiment
    name: str  # in tables: the model's or one of its file's `profile_also`
    options: dict[str, Any]  # changed ones
    setting: str
    variant: Variant


def rows(arena: Rules) -> dict[str, ProfileRow]:
    """By their names in paths; all of one setting, then all of the next."""
    named: dict[str, tuple[str, dict[str, Any]]] = {}
    for model in arena.experiment.models:
        for name, options in {model: {}, **arena.profile_also(model)}.items():
            _free(name, named, model)
            named[name] = (model, options)
    found: dict[str, ProfileRow] = {}
    for setting, variant in {FAST: Variant(), **arena.experiment.profile.variants}.items():
        for name, (model, options) in named.items():
            if variant.models is None or name in variant.models:
                _free(row := profile_row(name, setting), found, model)
                found[row] = ProfileRow(model, name, options, setting, variant)
    return found


def _free(name: str, taken: Container[str], model: str) -> None:
    if name in taken:
        raise LRAError(
            f"config/models/{model}.yaml: '{name}' is the name of another profile row, too"
        )


def task(arena: Rules) -> str:
    """The task of the protocol whose rules the profile has."""
    wanted, where = arena.experiment.profile.task, f"{arena.place('profile.task')}: profile.task"
    if wanted is None and "text" not in arena.tasks:
        protocol = arena.experiment.protocol
        raise LRAError(f"{where}: is missing; protocol '{protocol}' has no task 'text'")
    return one_of(where, wanted or "text", arena.tasks)


def point(arena: Rules, name: str, length: int) -> ProfilePoint:
    """The row of that name at one length, over whatever length the task has."""
    row, experiment, of_task = rows(arena)[name], arena.experiment, task(arena)
    profile, where = experiment.profile, f"{arena.place('profile.encoder')}: profile"
    layers = [
        (f"config/models/{row.model}.yaml", {"encoder": {"options": row.options}}),
        (where, {"encoder": profile.encoder}),
    ]
    values, sources = encoder_of(arena, of_task, row.model, layers, length)
    fixed = {
        "experiment": experiment.experiment,
        "protocol": experiment.protocol,
        "task": of_task,
        "model": row.name,
        "setting": row.setting,
        "length": length,
        "batch_size": profile.batch_size,
        "seconds": profile.seconds,
        "device": experiment.device,
        "threads": profile.threads,
        "precision": row.variant.precision or experiment.precision,
        "deterministic": row.variant.deterministic,
        "tf32": row.variant.tf32,
        "compile": row.variant.compile,
        "masks": arena.tasks[of_task] in PADDED,
    }
    return validated(ProfilePoint, {**fixed, **values}, sources, where)


def encoder_of(
    arena: Rules, of_task: str, model: str, own: list[Layer], max_len: int
) -> tuple[dict[str, Any], dict[str, str]]:
    """What `layers.join` gives, of the protocol's encoder for a task with `own` over it."""
    layers = [
        (place, {"encoder": said["encoder"]})
        for place, said in arena.layers(of_task, model)
        if "encoder" in said
    ]
    values, sources = join(layers + own)
    encoder, mechanism = values["encoder"], arena.mechanism(model)
    encoder["options"] = complete_options(arena.base(model), mechanism, encoder["options"], sources)
    encoder |= {"attention": mechanism, "max_len": max_len}
    return values, sources
