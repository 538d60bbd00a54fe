"""The files in config/, as people write them: one class a kind of file, unknown keys forbidden.

resolve.py joins them into cells. Planning reads this, so it imports no torch.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from lra.config.cell import FAST, Cell, Device, Precision, ProfilePoint
from lra.config.yaml_file import read_yaml
from lra.core.schema import Strict, checked
from lra.data.recipe import Dataset


class Part(Strict):
    """What one file says of a cell; it is checked once all files are joined."""

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


class Model(Strict):
    """config/models/<model>.yaml"""

    attention: str | None = None  # the mechanism; default: the file's own name
    title: str
    options: dict[str, Any] = {}
    profile_also: dict[str, dict[str, Any]] = {}  # further profile rows: name -> changed options


class ProtocolModel(Part):
    options: dict[str, Any] = {}


class ProtocolTask(Part):
    dataset: str | None = None  # None: the one of the protocol's base
    variant_of: str | None = None  # the task whose file and rules it has too, e.g. text at a length
    models: dict[str, ProtocolModel] = {}


class Protocol(Strict):
    """config/protocols/<protocol>.yaml"""

    title: str
    base: str | None = None  # the protocol that says what this one leaves open
    defaults: Part = Part()
    models: dict[str, ProtocolModel] = {}  # over a task's values, under those of its `models`
    tasks: dict[str, ProtocolTask]


class Variant(Strict):
    """A setting of profiles beside the one that every row has: fast kernels, no TF32."""

    models: list[str] | None = Field(None, min_length=1)  # profile rows; default: all
    deterministic: bool = False  # the kernels of trainings
    tf32: bool = False  # in matrix products; a GPU's alone
    precision: Precision | None = None  # default: the experiment's

    @model_validator(mode="after")
    def tf32_is_of_float32(self):
        if self.tf32 and self.precision == "bfloat16":
            raise ValueError("tf32: bfloat16 has no use for it")
        return self


class Profile(Strict):
    """The experiment's profile section: what speed and memory are measured on."""

    task: str | None = None  # of the protocol: its encoder and options; default: text
    lengths: list[PositiveInt] = Field(min_length=1)  # tokens
    batch_size: int = Field(gt=0)
    seconds: float = Field(5, gt=0)  # time spent measuring each of training and inference
    threads: int = Field(1, gt=0)
    encoder: dict[str, Any] = {}  # over the task's
    variants: dict[Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")], Variant] = {}

    @field_validator("variants")
    @classmethod
    def fast_is_always_there(cls, values: dict) -> dict:
        if FAST in values:
            raise ValueError(f"{FAST!r} is the setting that every row has")
        return values


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

    The defaults are an H100's as an assumption, not a measurement: a small eager model in float32
    without TF32 reaches about half of the peaks (67 TFLOP/s, 3,350 GB/s), and starts a kernel every
    10 us.
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
    generate_workers: int = Field(2, gt=0)  # processes; changes no byte of the data
    profile: Profile
    span: Span = Span()
    estimate: Estimate = Estimate()
    overrides: Part = Part()  # for every cell, over everything else

    @property
    def cells(self) -> list[str]:
        """task/model/seed<k> of each, in the order of the file."""
        every = product(self.tasks, self.models, self.seeds)
        return [f"{task}/{model}/seed{seed}" for task, model, seed in every]

    @field_validator("tasks", "models", "seeds")
    @classmethod
    def no_twins(cls, values: list) -> list:
        return no_twins(values)

    @model_validator(mode="after")
    def overrides_leave_names_alone(self):
        if "attention" in self.overrides.encoder:
            raise ValueError("overrides.encoder.attention: the model's file sets it")
        return self


def load(path: Path, model: type[Strict], root: Path):
    """One file of config/ as its class."""
    where = path.relative_to(root).as_posix()
    return checked(model, read_yaml(path, where), where)


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
