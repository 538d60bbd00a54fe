"""The files in config/, as people write them: one class per kind of file, unknown keys forbidden.

resolve.py joins them into cells. A mistake is one line: file, key, nearest valid choice. Planning
imports this, so it imports no torch.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from lra.cell import Cell, Device, Precision, ProfilePoint, Strict
from lra.errors import LRAError, nearest
from lra.gpu import check_share

HttpAddress = Annotated[str, Field(pattern=r"^https?://[^/]+")]


class Part(Strict):
    """A layer's share of a cell, checked once all layers are joined."""

    encoder: dict[str, Any] = {}
    training: dict[str, Any] = {}


def no_twins(values: list) -> list:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is listed twice")
    return values


class Task(Part):
    """config/tasks/<task>.yaml"""

    title: str


class Archive(Strict):
    """One file that data sets are read from, as its authors publish it"""

    # its name below results/data/downloads/ and in the data_mirror: no slash, no leading dot
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    urls: list[HttpAddress] = Field(min_length=1)  # tried in this order
    # None: what was found is said and not compared
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    bytes: int | None = Field(None, gt=0)  # size of the file; None: what the server says


class Recipe(Strict):
    """What a data set's bytes depend on, besides code."""

    source: str  # what makes it: a generator, or a reader of the archive
    archive: Archive | None = None
    options: dict[str, Any] = {}  # the source's own options
    seed: int = Field(0, ge=0)
    train: int = Field(gt=0)  # examples
    val: int = Field(gt=0)
    test: int = Field(gt=0)

    @property
    def sizes(self) -> dict[str, int]:
        return {"train": self.train, "val": self.val, "test": self.test}


class Dataset(Recipe):
    """One entry of config/datasets.yaml"""

    task: str
    max_len: int = Field(gt=0)  # longest example in tokens
    contact_sheet: bool = False  # draw samples by label as a picture
    licence: str
    citation: str

    def recipe(self) -> Recipe:
        return Recipe(**self.model_dump(include=set(Recipe.model_fields)))


class Model(Strict):
    """config/models/<model>.yaml"""

    attention: str | None = None  # the mechanism; default: the file's own name
    title: str
    options: dict[str, Any] = {}
    profile_also: dict[str, dict[str, Any]] = {}  # further profile rows: name -> changed options


class ProtocolModel(Part):
    options: dict[str, Any] = {}


class ProtocolTask(Part):
    dataset: str
    models: dict[str, ProtocolModel] = {}


class Protocol(Strict):
    """config/protocols/<protocol>.yaml"""

    title: str
    defaults: Part = Part()
    tasks: dict[str, ProtocolTask]


class Profile(Strict):
    """The experiment's profile section: what speed and memory are measured on."""

    lengths: list[PositiveInt] = Field(min_length=1)  # tokens
    batch_size: int = Field(gt=0)
    seconds: float = Field(5, gt=0)  # time spent measuring each of training and inference
    threads: int = Field(1, gt=0)
    encoder: dict[str, Any] = {}


class Span(Strict):
    """The experiment's span section: whose required attention span is measured, and how."""

    models: list[str] | None = Field(None, min_length=1)  # of the experiment's; default: all
    samples: int = Field(1000, gt=0)  # validation examples of each cell
    queries: int = Field(16, gt=0)  # of each example, for the method by gradient

    @field_validator("models")
    @classmethod
    def no_twins(cls, values: list | None) -> list | None:
        return values and no_twins(values)


class Estimate(Strict):
    """The experiment's estimate section: the machine that the plan's hours and memory assume.

    The defaults are an H100's as an assumption, not a measurement: a small eager model reaches
    about half of TF32's and of the memory's peak, and starts a kernel every 10 us.
    """

    device_memory_gb: float = Field(80, gt=0)  # 1e9 bytes
    teraflops: float = Field(30, gt=0)  # sustained in matrix products
    bandwidth_gb_s: float = Field(1500, gt=0)  # sustained in elementwise operators
    kernel_us: float = Field(10, gt=0)  # from one operator's start to the next


class Site(Strict):
    """config/site.yaml: a cluster's names, and what a job may ask of it"""

    account: str | None = None  # None: the executor asks Slurm
    cpu_partition: str | None = None  # None: the cluster's default
    gpu_partition: str | None = None
    gpu: Literal["gpus", "gres"] = "gpus"  # --gpus=1 or --gres=gpu:1
    gpu_type: str | None = Field(None, pattern=r"^[A-Za-z0-9_.]+$")
    max_hours: float = Field(24, gt=0)
    max_memory_gb: float = Field(128, gt=0)  # 1e9 bytes
    early_seconds: int = Field(120, ge=0)  # from a training's signal to its time limit
    seeds_together: bool = False


class Experiment(Strict):
    """config/config.yaml, config/paper.yaml, ...: tasks x models x seeds under one protocol"""

    experiment: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")  # folder below results/
    protocol: str
    tasks: list[str] = Field(min_length=1)
    models: list[str] = Field(min_length=1)
    seeds: list[NonNegativeInt] = Field(min_length=1)
    device: Device = "auto"
    threads: int = Field(1, gt=0)  # CPU threads of one training
    precision: Precision = "float32"
    data_mirror: str | None = None  # folder of archives, read instead of the network
    gpu_share: int = Field(1, gt=0)  # trainings that may run on one GPU at once; changes no result
    generate_workers: int = Field(2, gt=0)  # processes; changes no byte of the data
    profile: Profile
    span: Span = Span()
    estimate: Estimate = Estimate()
    overrides: Part = Part()  # for every cell, over everything else

    @field_validator("tasks", "models", "seeds")
    @classmethod
    def no_twins(cls, values: list) -> list:
        return no_twins(values)

    @field_validator("gpu_share")
    @classmethod
    def can_be_shared(cls, value: int) -> int:
        check_share(value)
        return value

    @model_validator(mode="after")
    def overrides_leave_names_alone(self):
        if "attention" in self.overrides.encoder:
            raise ValueError("overrides.encoder.attention: the model's file sets it")
        return self


def complain(where: str, error: ValidationError, model: type[Strict]) -> LRAError:
    """The first of pydantic's complaints as one line: file, key, nearest valid choice."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    # `where` is a file, or a file and a key within it ("config/x.yaml: tasks.listops")
    place = f"{where}{'.' if ': ' in where else ': '}{key}" if key else where
    prefix = f"{place}: "
    if first["type"] == "extra_forbidden":
        owner = model
        for part in first["loc"][:-1]:
            owner = _nested(owner, part)
        return LRAError(f"{prefix}unknown key; {nearest(first['loc'][-1], owner.model_fields)}")
    if first["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return LRAError(
            f"{prefix}{first['input']!r} is unknown; {nearest(first['input'], choices)}"
        )
    if first["type"] == "missing":
        return LRAError(f"{prefix}is missing")
    message = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "value_error" else f", not {first['input']!r}"
    return LRAError(f"{prefix}{message}{given}")


def _nested(owner: Any, part: str | int) -> Any:
    """The model class at key `part` of `owner`, through dict[str, X] too."""
    if isinstance(owner, type) and issubclass(owner, Strict):
        return owner.model_fields[part].annotation
    return owner.__args__[-1]


def load(path: Path, model: type[Strict], root: Path):
    """One file of config/ as its class."""
    where = path.relative_to(root).as_posix()
    try:
        return model.model_validate(yaml.safe_load(path.read_text()) or {})
    except FileNotFoundError:
        raise LRAError(f"{where}: no such file") from None
    except yaml.YAMLError as error:
        raise LRAError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise complain(where, error, model) from None


SCHEMAS: dict[str, type[Strict]] = {
    "experiment": Experiment,
    "protocol": Protocol,
    "task": Task,
    "model": Model,
    "dataset": Dataset,
    "site": Site,
    "cell": Cell,
    "profile_point": ProfilePoint,
}


def schema(name: str) -> dict[str, Any]:
    """JSON Schema of one kind of file, for workflow/schemas/ and editors."""
    return SCHEMAS[name].model_json_schema()
