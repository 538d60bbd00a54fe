"""From the files in config/ to cells: layers are joined and checked, values keep their source.

A value is looked up in layers, the later one winning: the task's file, the data set's entry, the
model's file, the protocol (its defaults, its task, its task's model), the experiment's variant of
the model, the experiment's overrides. Then `rates` multiplies the learning rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

from pydantic import RootModel, ValidationError

from lra.config import decode, profile
from lra.config.cell import Cell, ProfilePoint
from lra.config.layers import (
    Layer,
    check_objective,
    complete_options,
    complete_pretraining,
    join,
    sections,
    validated,
)
from lra.config.rates import unswept
from lra.config.schema import Experiment, Model, Protocol, ProtocolTask, Task, load
from lra.config.yaml_file import merged, read_yaml, typed_values
from lra.core.errors import LRAError, nearest, one_of
from lra.core.schema import Name, checked, complain
from lra.data.recipe import Archive, Dataset
from lra.data.sources import OF_TOKENS, check_source

Written = tuple[str, dict[str, Any]]  # a file, or "--config", and what is written there


@dataclass(frozen=True)
class Arena:
    """An experiment with the files of config/ that it names, checked."""

    root: Path
    where: str  # the experiment's file
    experiment: Experiment
    written: tuple[Written, ...] = ()  # what of it stands where, strongest first

    @classmethod
    def open(
        cls,
        given: dict[str, Any],
        files: list[Path],
        root: Path,
        sources: bool = True,
        typed: Iterable[str] = (),
    ) -> Arena:
        """Check `given`, Snakemake's merged config, which came from `files` or the command line.

        sources: also check the options of data sets, which takes a second of imports. typed: the
        arguments of `--config`, read again: Snakemake takes every value inside a list for text.
        """
        where = files[-1] if files else root / "config/config.yaml"
        where = _relative(where, root)
        # Snakemake has read them, and takes the last of a key that stands twice.
        names = [_relative(file, root) for file in files]
        found = [(name, read_yaml(root / name, name)) for name in reversed(names)]
        written = (("--config", typed_values(typed)), *found)
        try:
            experiment = Experiment.model_validate(merged(given, written[0][1]))
        except ValidationError as error:
            key = error.errors()[0]["loc"]
            otherwise = "--config" if key and key[0] in given else where
            raise complain(_place(written, key) or otherwise, error, Experiment) from None
        arena = cls(root, where, experiment, written)
        arena.check(sources)
        return arena

    def place(self, key: str) -> str:
        """Where a key of the experiment ("span.models") is written: a file, or `--config`."""
        return _place(self.written, key.split(".")) or self.where

    @classmethod
    def read(cls, file: Path, sources: bool = True, typed: Iterable[str] = ()) -> Arena:
        """The experiment of one file; config/ is the folder that it lies in.

        typed: KEY=VALUE each, as after `--config`.
        """
        file = file.resolve()
        root = file.parent.parent
        return cls.open(read_yaml(file, _relative(file, root)), [file], root, sources, typed)

    def check(self, sources: bool) -> None:
        """Resolve everything once, so that a mistake stops the plan, not a job."""
        experiment, models = self.experiment, _stems(self.root, "models")
        for name, variant in experiment.variants.items():
            key = f"variants.{name}"
            if name in models:
                raise LRAError(f"{self.place(key)}: {key}: config/models/ has a model of this name")
            one_of(f"{self.place(key)}: {key}.model", variant.model, models)
        for key, values, choices in (
            ("protocol", [experiment.protocol], _stems(self.root, "protocols")),
            ("models", experiment.models, [*models, *experiment.variants]),
            ("span.models", experiment.span.models or [], [*models, *experiment.variants]),
            (
                "decode.models",
                (experiment.decode and experiment.decode.models) or [],
                [*models, *experiment.variants],
            ),
            ("tasks", experiment.tasks, {*_stems(self.root, "tasks"), *self.tasks}),
            *(
                (f"profile.variants.{name}.models", variant.models or [], self._profiled())
                for name, variant in experiment.profile.variants.items()
            ),
        ):
            for value in values:
                one_of(f"{self.place(key)}: {key}", value, choices)
        for name, protocol in self.protocols.items():
            where = f"config/protocols/{name}.yaml"
            named = {"models": protocol.models}
            for task, rules in protocol.tasks.items():
                one_of(f"{where}: tasks", rules.variant_of or task, _stems(self.root, "tasks"))
                named[f"tasks.{task}.models"] = rules.models
            for key, models in named.items():
                for model in models:
                    one_of(f"{where}: {key}", model, _stems(self.root, "models"))
        for task in experiment.tasks:
            for model in experiment.trained:
                self.resolve(task, model, experiment.seeds[0])
        if len({self.tasks[task] in OF_TOKENS for task in experiment.tasks}) > 1:
            tokens = next(task for task in experiment.tasks if self.tasks[task] in OF_TOKENS)
            raise LRAError(
                f"{self.place('tasks')}: tasks: '{tokens}' has no labels and others have; make an "
                "experiment of each kind"
            )
        if self.predicts_tokens and experiment.span.models:
            raise LRAError(
                f"{self.place('span.models')}: span.models: spans are of models that predict "
                "labels; remove it"
            )
        if experiment.generate and not self.predicts_tokens:
            raise LRAError(
                f"{self.place('generate')}: generate: models that predict labels generate nothing; "
                "remove it"
            )
        for row in self.profile_rows():
            self.profile_point(row, min(experiment.profile.lengths))
        for model in self.decode_models():
            self.decode_points(model)
        for name in self.datasets() if sources else ():
            check_source(name, self.dataset(name))

    @cached_property
    def protocols(self) -> dict[str, Protocol]:
        """The experiment's protocol by its name, after those that it is based on."""
        found: dict[str, Protocol] = {}
        name: str | None = self.experiment.protocol
        where = f"{self.place('protocol')}: protocol"
        while name is not None:
            one_of(where, name, _stems(self.root, "protocols"))
            if name in found:
                raise LRAError(f"{where}: '{name}' is based on itself")
            found[name] = _protocol(self.root, name)
            where, name = f"config/protocols/{name}.yaml: base", found[name].base
        return dict(reversed(found.items()))

    @cached_property
    def tasks(self) -> dict[str, str]:
        """The protocol's tasks, and which of config/tasks/ each is or is a variant of."""
        found: dict[str, str] = {}
        for protocol in self.protocols.values():
            found |= {task: rules.variant_of or task for task, rules in protocol.tasks.items()}
        return found

    def _profiled(self) -> list[str]:
        """The profile rows that any model of config/models/ or of the variants has."""
        models = [*_stems(self.root, "models"), *self.experiment.variants]
        return [row for name in models for row in (name, *self.profile_also(name))]

    def _rules(self, protocol: str, task: str) -> list[tuple[str, ProtocolTask]]:
        """What a protocol says of a task, by its key; first of the one that it is a variant of."""
        tasks = self.protocols[protocol].tasks
        return [
            (key, tasks[key]) for key in dict.fromkeys((self.tasks[task], task)) if key in tasks
        ]

    def dataset_name(self, task: str) -> str:
        """The data set that the protocol uses for a task."""
        if task not in self.tasks:
            raise LRAError(
                f"{self.place('tasks')}: tasks: protocol '{self.experiment.protocol}' has no task "
                f"'{task}'; {nearest(task, self.tasks)}"
            )
        named = [
            (f"config/protocols/{protocol}.yaml: tasks.{key}.dataset", rules.dataset)
            for protocol in self.protocols
            for key, rules in self._rules(protocol, task)
            if rules.dataset
        ]
        if not named:
            where = f"config/protocols/{self.experiment.protocol}.yaml"
            raise LRAError(f"{where}: tasks.{task}.dataset: is missing")
        where, name = named[-1]
        if name not in datasets(self.root):
            raise LRAError(
                f"{where}: '{name}' is not in config/datasets.yaml; "
                f"{nearest(name, datasets(self.root))}"
            )
        if self.dataset(name).task != self.tasks[task]:
            raise LRAError(f"{where}: '{name}' is a data set of task '{self.dataset(name).task}'")
        return name

    def task_name(self, task: str) -> dict[str, str | None]:
        """What tells a task apart, in the cells' own words."""
        of, base = self.experiment, self.tasks[task]
        name = {"experiment": of.experiment, "protocol": of.protocol, "task": task}
        variant_of = None if base == task else base
        return name | {"variant_of": variant_of, "dataset": self.dataset_name(task)}

    def datasets(self) -> list[str]:
        return sorted({self.dataset_name(task) for task in self.experiment.tasks})

    def dataset(self, name: str) -> Dataset:
        return datasets(self.root)[name]

    @property
    def all_datasets(self) -> list[str]:
        return sorted(datasets(self.root))

    def archive(self, file: str) -> Archive:
        """The download of that name."""
        entries = [entry.archive for entry in datasets(self.root).values() if entry.archive]
        archives = {archive.file: archive for archive in entries}
        return archives[one_of("config/datasets.yaml: archive.file", file, archives)]

    def layers(self, task: str, model: str) -> list[Layer]:
        """What each file says of a cell, weakest first."""
        dataset = self.dataset(self.dataset_name(task))
        model, _ = unswept(model)
        variant, own = self.experiment.variants.get(model), f"variants.{model}"
        model = self.base(model)
        file = _model(self.root, model)
        of_data = {"max_len": dataset.max_len}
        if dataset.vocab_size:
            of_data["vocab_size"] = dataset.vocab_size
        if dataset.classes:
            of_data["classes"] = dataset.classes
        layers: list[Layer] = [
            (f"config/tasks/{self.tasks[task]}.yaml", sections(_task(self.root, self.tasks[task]))),
            ("config/datasets.yaml", {"encoder": of_data}),
            (f"config/models/{model}.yaml", {"encoder": {"options": file.options}}),
        ]
        for name, protocol in self.protocols.items():
            layers.append((f"config/protocols/{name}.yaml: defaults", sections(protocol.defaults)))
        for name, protocol in self.protocols.items():
            where = f"config/protocols/{name}.yaml"
            parts = [(f"{where}: tasks.{key}", rules) for key, rules in self._rules(name, task)]
            layers += [(place, sections(rules)) for place, rules in parts]
            for place, models in [
                (f"{where}: models", protocol.models),
                *((f"{place}.models", rules.models) for place, rules in parts),
            ]:
                if model in models:
                    layers.append((f"{place}.{model}", sections(models[model])))
        if variant:
            layers.append((f"{self.place(own)}: {own}", sections(variant)))
        training = {"training": {"precision": self.experiment.precision}}
        return [
            *layers,
            (self.place("precision"), training),
            *(
                (f"{self.place(f'overrides.{name}')}: overrides", {name: part})
                for name, part in sections(self.experiment.overrides).items()
            ),
        ]

    def resolve(self, task: str, model: str, seed: int) -> tuple[Cell, dict[str, str]]:
        """A cell, and for each of its keys ("training.steps") where the value is written."""
        layers = self.layers(task, model)
        values, sources = join(layers)
        of_the_data = {where for where, _ in layers[:2]}
        for key in ("vocab_size", "classes", "towers", "max_len"):
            if (where := sources.get(f"encoder.{key}")) and where not in of_the_data:
                raise LRAError(f"{where}: encoder.{key}: the task's data set it; remove it")
        base, mechanism = self.base(model), self.mechanism(model)
        encoder = values["encoder"]
        encoder["options"] = complete_options(base, mechanism, encoder["options"], sources)
        encoder["attention"] = mechanism
        check_objective(self.tasks[task], mechanism, values, sources)
        self._set_rate(model, values["training"], sources)
        complete_pretraining(mechanism, values, sources)
        fixed = self.task_name(task) | {
            "model": model,
            "seed": seed,
            "device": self.experiment.device,
            "threads": self.experiment.threads,
        }
        cell = validated(Cell, {**fixed, **values}, sources, self.where)
        return cell, {**dict.fromkeys(fixed, self.where), **sources}

    def _set_rate(self, model: str, training: dict[str, Any], sources: dict[str, str]) -> None:
        """Multiply the learning rate by the factor in the name of a cell's model."""
        _, factor = unswept(model)
        own, key = training.get("learning_rate"), "training.learning_rate"
        if factor != 1 and isinstance(own, int | float):  # else the cell's check complains
            training["learning_rate"] = float(f"{factor * own:.12g}")  # 0.15: 3 * 0.05 is more
            sources[key] = f"{self.place('rates')}: rates, {factor:g} times {sources[key]}"

    @property
    def predicts_tokens(self) -> bool:
        """Whether its cells predict tokens; all do or none does."""
        return self.tasks[self.experiment.tasks[0]] in OF_TOKENS

    def span_models(self) -> list[str]:
        """Those whose span is measured: of the experiment's models, the ones that `span` lists."""
        if self.predicts_tokens:
            return []
        listed = self.experiment.span.models
        return [m for m in self.experiment.trained if listed is None or unswept(m)[0] in listed]

    def generating_models(self) -> list[str]:
        """Those whose tokens are generated: all, where the experiment has a section `generate`."""
        return self.experiment.trained if self.experiment.generate else []

    def base(self, model: str) -> str:
        """Which of config/models/ a model of the experiment is, or is a variant of."""
        variants, (model, _) = self.experiment.variants, unswept(model)
        return variants[model].model if model in variants else model

    def mechanism(self, model: str) -> str:
        """The attention of a model of the experiment."""
        base = self.base(model)
        return _model(self.root, base).attention or base

    def profile_also(self, model: str) -> dict[str, dict[str, Any]]:
        """The further profile rows that a model's file lists; a variant has none."""
        return {} if model in self.experiment.variants else _model(self.root, model).profile_also

    def profile_rows(self) -> dict[str, profile.ProfileRow]:
        """By their names in paths, see `lra.config.profile`."""
        return profile.rows(self)

    def profile_point(self, name: str, length: int) -> ProfilePoint:
        return profile.point(self, name, length)

    def decode_models(self) -> list[str]:
        return decode.models(self)

    def decode_points(self, model: str) -> list[decode.DecodePoint]:
        return decode.points(self, model)


def _stems(root: Path, folder: str) -> list[str]:
    return sorted(path.stem for path in (root / "config" / folder).glob("*.yaml"))


@cache
def datasets(root: Path) -> dict[str, Dataset]:
    where = "config/datasets.yaml"
    entries = read_yaml(root / where, where)
    checked(RootModel[dict[Name, Any]], entries, where)
    return {name: checked(Dataset, entry, f"{where}: {name}") for name, entry in entries.items()}


@cache
def _protocol(root: Path, name: str) -> Protocol:
    return load(root / f"config/protocols/{name}.yaml", Protocol, root)


@cache
def _task(root: Path, name: str) -> Task:
    return load(root / f"config/tasks/{name}.yaml", Task, root)


@cache
def _model(root: Path, name: str) -> Model:
    return load(root / f"config/models/{name}.yaml", Model, root)


def _relative(file: Path, root: Path) -> str:
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def _place(written: Iterable[Written], key: Sequence[str | int]) -> str | None:
    """Where a key stands: the strongest of the places that have most of its parts."""
    depths = [(_depth(tree, key), where) for where, tree in written]
    depth, where = max(depths, key=itemgetter(0), default=(0, None))
    return where if depth else None


def _depth(tree: Any, key: Sequence[str | int]) -> int:
    """How many parts of a key there are in nested mappings."""
    if not key or not isinstance(tree, dict) or key[0] not in tree:
        return 0
    return 1 + _depth(tree[key[0]], key[1:])
