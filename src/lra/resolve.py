"""From the files in config/ to cells: layers joined, checked, and traced to where a value stands.

A value is looked up in layers, the later one winning: the task's file, the data set's entry, the
model's file, the protocol (its defaults, its task, its task's model), the experiment's overrides.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lra import attention
from lra.cell import Cell, ProfilePoint, Strict
from lra.config import Dataset, Experiment, Model, Part, Protocol, Task, complain, load
from lra.errors import LRAError, nearest

Layer = tuple[str, dict[str, Any]]  # where it is written, what is written there
GENERATORS = ("listops", "pathfinder")  # modules of src/lra/data/ that make data sets
GIVEN_BY_ENCODER = {"qkv_dim", "dropout"}  # options that the encoder's own keys set


@dataclass(frozen=True)
class Arena:
    """An experiment with the files of config/ that it names, checked."""

    root: Path
    where: str  # the experiment's file
    experiment: Experiment

    @classmethod
    def open(cls, given: dict[str, Any], files: list[Path], root: Path) -> Arena:
        """Check `given`, Snakemake's merged config, which came from `files` or the command line."""
        where = files[-1] if files else root / "config/config.yaml"
        where = where.relative_to(root) if where.is_relative_to(root) else where
        try:
            arena = cls(root, where.as_posix(), Experiment.model_validate(given))
        except ValidationError as error:
            key = error.errors()[0]["loc"][:1]
            source = _source_of(key[0] if key else None, files, root) or where.as_posix()
            raise complain(source, error, Experiment) from None
        arena.check()
        return arena

    @classmethod
    def read(cls, file: Path) -> Arena:
        """The experiment of one file; config/ is the folder that it lies in."""
        try:
            given = yaml.safe_load(file.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise LRAError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
        return cls.open(given, [file.resolve()], file.resolve().parent.parent)

    def check(self) -> None:
        """Resolve everything once, so that a mistake stops the plan and not a job."""
        experiment = self.experiment
        for key, values, choices in (
            ("protocol", [experiment.protocol], _stems(self.root, "protocols")),
            ("models", experiment.models, _stems(self.root, "models")),
            ("tasks", experiment.tasks, _stems(self.root, "tasks")),
        ):
            for value in values:
                if value not in choices:
                    raise LRAError(
                        f"{self.where}: {key}: '{value}' is unknown; {nearest(value, choices)}"
                    )
        where = f"config/protocols/{experiment.protocol}.yaml"
        for task, rules in self.protocol.tasks.items():
            for model in rules.models:
                if model not in _stems(self.root, "models"):
                    raise LRAError(
                        f"{where}: tasks.{task}.models: '{model}' is unknown; "
                        f"{nearest(model, _stems(self.root, 'models'))}"
                    )
        for task in experiment.tasks:
            for model in experiment.models:
                self.resolve(task, model, experiment.seeds[0])
        for model in self.profile_models():
            self.profile_point(model, min(experiment.profile.lengths))
        for name in self.datasets():
            _check_generator(name, self.dataset(name))

    @property
    def protocol(self) -> Protocol:
        return _protocol(self.root, self.experiment.protocol)

    def dataset_name(self, task: str) -> str:
        """The data set that the protocol uses for a task."""
        where = f"config/protocols/{self.experiment.protocol}.yaml"
        if task not in self.protocol.tasks:
            raise LRAError(
                f"{self.where}: tasks: protocol '{self.experiment.protocol}' has no task '{task}'; "
                f"{nearest(task, self.protocol.tasks)}"
            )
        name = self.protocol.tasks[task].dataset
        if name not in datasets(self.root):
            raise LRAError(
                f"{where}: tasks.{task}.dataset: '{name}' is not in config/datasets.yaml; "
                f"{nearest(name, datasets(self.root))}"
            )
        if self.dataset(name).task != task:
            raise LRAError(
                f"{where}: tasks.{task}.dataset: '{name}' is a data set of task "
                f"'{self.dataset(name).task}'"
            )
        return name

    def datasets(self) -> list[str]:
        return sorted({self.dataset_name(task) for task in self.experiment.tasks})

    def dataset(self, name: str) -> Dataset:
        return datasets(self.root)[name]

    def layers(self, task: str, model: str) -> list[Layer]:
        """What each file says of a cell, weakest first."""
        entry = _task(self.root, task)
        facts = _model(self.root, model)
        dataset = datasets(self.root)[self.dataset_name(task)]
        protocol = self.protocol
        rules = protocol.tasks[task]
        where = f"config/protocols/{self.experiment.protocol}.yaml"
        layers: list[Layer] = [
            (f"config/tasks/{task}.yaml", _part(entry)),
            ("config/datasets.yaml", {"encoder": {"max_len": dataset.max_len}}),
            (f"config/models/{model}.yaml", {"encoder": {"options": facts.options}}),
            (f"{where}: defaults", _part(protocol.defaults)),
            (f"{where}: tasks.{task}", _part(rules)),
        ]
        if model in rules.models:
            special = rules.models[model]
            part = _part(special)
            part["encoder"] = {**part["encoder"], "options": special.options}
            layers.append((f"{where}: tasks.{task}.models.{model}", part))
        training = {"training": {"precision": self.experiment.precision}}
        return [
            *layers,
            (self.where, training),
            (f"{self.where}: overrides", _part(self.experiment.overrides)),
        ]

    def resolve(self, task: str, model: str, seed: int) -> tuple[Cell, dict[str, str]]:
        """A cell, and for each of its keys ("training.steps") where the value is written."""
        layers = self.layers(task, model)
        values, sources = _join(layers)
        mechanism = _model(self.root, model).attention or model
        _check_options(self.root, model, mechanism, values["encoder"].get("options", {}), sources)
        fixed = {
            "experiment": self.experiment.experiment,
            "protocol": self.experiment.protocol,
            "task": task,
            "model": model,
            "seed": seed,
            "dataset": self.dataset_name(task),
            "device": self.experiment.device,
            "threads": self.experiment.threads,
        }
        values["encoder"]["attention"] = mechanism
        values["encoder"]["options"] = _complete(mechanism, values["encoder"].get("options", {}))
        cell = _validated(Cell, {**fixed, **values}, sources, layers)
        return cell, {**dict.fromkeys(fixed, self.where), **sources}

    def profile_models(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Each profile row's name -> (model, changed options)."""
        rows: dict[str, tuple[str, dict[str, Any]]] = {}
        for model in self.experiment.models:
            rows[model] = (model, {})
            for name, options in _model(self.root, model).profile_also.items():
                rows[name] = (model, options)
        return rows

    def profile_point(self, name: str, length: int) -> ProfilePoint:
        model, changed = self.profile_models()[name]
        facts = _model(self.root, model)
        mechanism = facts.attention or model
        profile = self.experiment.profile
        values, sources = _join(
            [
                (f"{self.where}: profile", {"encoder": profile.encoder}),
                (
                    f"config/models/{model}.yaml",
                    {"encoder": {"options": {**facts.options, **changed}}},
                ),
            ]
        )
        options = values["encoder"]["options"]
        _check_options(self.root, model, mechanism, options, sources)
        values["encoder"] |= {
            "attention": mechanism,
            "options": _complete(mechanism, options),
            "max_len": length,
        }
        fixed = {
            "experiment": self.experiment.experiment,
            "model": name,
            "length": length,
            "batch_size": profile.batch_size,
            "seconds": profile.seconds,
            "device": self.experiment.device,
            "threads": profile.threads,
            "precision": self.experiment.precision,
        }
        return _validated(
            ProfilePoint, {**fixed, **values}, sources, [(f"{self.where}: profile", {})]
        )


def _stems(root: Path, folder: str) -> list[str]:
    return sorted(path.stem for path in (root / "config" / folder).glob("*.yaml"))


@cache
def datasets(root: Path) -> dict[str, Dataset]:
    checked = {}
    for name, entry in yaml.safe_load((root / "config/datasets.yaml").read_text()).items():
        try:
            checked[name] = Dataset.model_validate(entry)
        except ValidationError as error:
            raise complain(f"config/datasets.yaml: {name}", error, Dataset) from None
    return checked


@cache
def _protocol(root: Path, name: str) -> Protocol:
    return load(root / f"config/protocols/{name}.yaml", Protocol, root)


@cache
def _task(root: Path, name: str) -> Task:
    return load(root / f"config/tasks/{name}.yaml", Task, root)


@cache
def _model(root: Path, name: str) -> Model:
    return load(root / f"config/models/{name}.yaml", Model, root)


def _check_generator(name: str, dataset: Dataset) -> None:
    if dataset.generator not in GENERATORS:
        raise LRAError(
            f"config/datasets.yaml: {name}.generator: '{dataset.generator}' is unknown; "
            f"{nearest(dataset.generator, GENERATORS)}"
        )
    options = importlib.import_module(f"lra.data.{dataset.generator}").Config
    try:
        options.model_validate(dataset.options)
    except ValidationError as error:
        raise complain(f"config/datasets.yaml: {name}.options", error, options) from None


def _part(part: Part) -> dict[str, Any]:
    return {"encoder": dict(part.encoder), "training": dict(part.training)}


def _join(layers: list[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """Merge section by section (options key by key); note where each key was last written."""
    values: dict[str, Any] = {"encoder": {"options": {}}}
    sources: dict[str, str] = {}
    for where, sections in layers:
        for section, entries in sections.items():
            target = values.setdefault(section, {})
            for key, value in entries.items():
                if key == "options":
                    target["options"] |= value
                    sources |= {f"{section}.options.{option}": where for option in value}
                else:
                    target[key] = value
                    sources[f"{section}.{key}"] = where
    return values, sources


def _complete(mechanism: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options with the mechanism's defaults, but for those that the encoder's own keys set."""
    resolved = attention.resolve_options(mechanism, options)
    return {key: value for key, value in resolved.items() if key not in GIVEN_BY_ENCODER}


def _check_options(
    root: Path, model: str, mechanism: str, options: dict[str, Any], sources: dict[str, str]
) -> None:
    where = f"config/models/{model}.yaml"
    if mechanism not in attention.names():
        raise LRAError(
            f"{where}: attention: '{mechanism}' is unknown; {nearest(mechanism, attention.names())}"
        )
    for key in GIVEN_BY_ENCODER & options.keys():
        source = sources[f"encoder.options.{key}"]
        instead = "attention_dropout" if key == "dropout" else key
        raise LRAError(f"{source}: options.{key}: set encoder.{instead} instead")
    try:
        attention.resolve_options(mechanism, options)
    except LRAError as error:
        key = str(error).split(":", 1)[0]
        raise LRAError(f"{sources.get(f'encoder.{key}', where)}: {error}") from None


def _validated(kind: type[Strict], values: dict, sources: dict[str, str], layers: list[Layer]):
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        message = error.errors()[0]["msg"]
        named = re.search(r"^Value error, (\w+):", message)
        if named:  # a validator that names the key it complains of
            key = f"{key}.{named[1]}"
        raise complain(sources.get(key, layers[-1][0]), error, kind) from None


def _source_of(key: str | None, files: list[Path], root: Path) -> str | None:
    """The file in which a top-level key stands, the last one winning; else the command line."""
    for file in reversed(files):
        if key in (yaml.safe_load(file.read_text()) or {}):
            return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()
    return "--config" if key is not None else None


def annotated(arena: Arena, task: str, model: str, seed: int) -> str:
    """A cell as YAML, and behind each key the file that it comes from."""
    for key, value, choices in (
        ("task", task, arena.experiment.tasks),
        ("model", model, arena.experiment.models),
    ):
        if value not in choices:
            raise LRAError(
                f"{arena.where}: {key}: '{value}' is not in it; {nearest(value, choices)}"
            )
    cell, sources = arena.resolve(task, model, seed)
    lines = []
    for key, value in _leaves(cell.model_dump(mode="json")):
        lines.append(f"{key + ':':32} {value!s:24} # {sources.get(key, 'default')}")
    return "\n".join(lines)


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for key, value in tree.items():
        if isinstance(value, dict):
            pairs += _leaves(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + key, value))
    return pairs
