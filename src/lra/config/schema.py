"""The files in config/, as people write them: one class a kind of file, unknown keys forbidden.

resolve.py joins them into cells. Planning reads this, so it imports no torch.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from lra.config.cell import FAST, Cell, Device, Precision, ProfilePoint
from lra.config.rates import swept
from lra.config.yaml_file import read_yaml
from lra.core.errors import shown
from lra.core.schema import Count, Name, Seed, Settings, Strict, Threads, checked
from lra.data.recipe import Dataset


def no_twins(values: list) -> list:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{shown(value)} is listed twice")
    return values


def options_are_a_mapping(values: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(values.get("options", {}), dict):
        raise ValueError(f"options: keys and values are wanted, not {shown(values['options'])}")
    return values


def own_among(factors: list[float]) -> list[float]:
    if 1 not in factors:
        raise ValueError("factors of each model's own learning rate are wanted, and 1 among them")
    return factors


Title = Annotated[str, Field(pattern=r"^[^\r\n\t]+$")]  # a cell of tables
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(no_twins)]
Counts = Annotated[list[Count], Field(min_length=1), AfterValidator(no_twins)]
Factor = Annotated[float, Field(gt=0)]
Rates = Annotated[list[Factor], AfterValidator(no_twins), AfterValidator(own_among)]
Values = Annotated[dict[str, Any], AfterValidator(options_are_a_mapping)]  # of an encoder
# What else lies in results/, and what there is in another writing where letters' case is one.
TAKEN = {"data", "reference", "slurm", "readme.md"}


class Part(Settings):
    """What one file says of a cell; it is checked once all files are joined."""

    encoder: Values = {}
    training: dict[str, Any] = {}
    pretraining: dict[str, Any] | None = None  # over the training's values; None: says nothing


class Task(Part):
    """config/tasks/<task>.yaml"""

    title: Title


class Model(Settings):
    """config/models/<model>.yaml"""

    attention: Name | None = None  # the mechanism; default: the file's own name
    title: Title
    options: dict[str, Any] = {}
    profile_also: dict[Name, dict[str, Any]] = {}  # further profile rows: name -> changed options


class ProtocolModel(Part):
    options: dict[str, Any] = {}


class ProtocolTask(Part):
    dataset: Name | None = None  # None: the one of the protocol's base
    variant_of: Name | None = None  # whose file and rules it has too, e.g. text at a length
    models: dict[Name, ProtocolModel] = {}


class ModelVariant(ProtocolModel):
    """An entry of the experiment's `variants`: a model with other values, under another name."""

    model: Name  # of config/models/; its file and the protocol's rules hold, these are over them


class Protocol(Settings):
    """config/protocols/<protocol>.yaml"""

    title: Title
    base: Name | None = None  # the protocol that says what this one leaves open
    defaults: Part = Part()
    models: dict[Name, ProtocolModel] = {}  # over a task's values, under those of its `models`
    tasks: dict[Name, ProtocolTask]


class Variant(Settings):
    """A setting of profiles beside the one that every row has: fast kernels, no TF32."""

    models: Names | None = None  # profile rows; default: all
    deterministic: bool = False  # the kernels of trainings
    tf32: bool = False  # in matrix products; a GPU's alone
    precision: Precision | None = None  # default: the experiment's
    compile: bool = False  # the blocks, by torch.compile

    @model_validator(mode="after")
    def tf32_is_of_float32(self):
        if self.tf32 and self.precision == "bfloat16":
            raise ValueError("tf32: bfloat16 has no use for it")
        return self


class Profile(Settings):
    """The experiment's profile section: what speed and memory are measured on."""

    task: Name | None = None  # of the protocol: its encoder and options; default: text
    lengths: Counts  # tokens
    batch_size: Count
    seconds: float = Field(5, gt=0)  # time spent measuring each of training and inference
    threads: Threads = 1
    encoder: Values = {}  # over the task's
    variants: dict[Annotated[Name, Field(pattern=r"^[a-z0-9_-]+$")], Variant] = {}

    @field_validator("variants")
    @classmethod
    def fast_is_always_there(cls, values: dict) -> dict:
        if FAST in values:
            raise ValueError(f"{FAST!r} is the setting that every row has")
        return values


class Decode(Settings):
    """The experiment's decode section: models token by token, and their training in order.

    The task is the profile section's. On a CPU with one thread.
    """

    models: Names | None = None  # also ones that are not trained; default: the experiment's
    contexts: Counts  # tokens before those that are decoded
    training_lengths: Counts  # at which a step is timed in both directions
    batch_size: Count = 1
    seconds: float = Field(1, gt=0)  # of repeats of each thing that is measured
    limit: float = Field(600, gt=0)  # seconds of one context or length; longer: status timeout
    encoder: Values = {}  # over the task's


class Span(Settings):
    """The experiment's span section: whose required attention span is measured, and how."""

    models: Names | None = None  # of the experiment's; default: all
    samples: Count = 1000  # validation examples of each cell
    queries: Count = 16  # of each example, for the method by gradient


class Generate(Settings):
    """The experiment's generate section: what cells that predict tokens fill in, and how.

    Those under `next` go from left to right; under `masked` by random order, by confidence and by
    confidence within blocks.
    """

    examples: Count = 256  # of the test split, the first
    steps: Counts = [1, 2, 4, 8, 16, 32, 64]  # of an example, or of each block
    blocks: Annotated[list[Count], AfterValidator(no_twins)] = [4, 8, 16]  # missing tokens of each
    batch_size: Count = 64


class Estimate(Settings):
    """The experiment's estimate section: the machine that the plan's hours and memory assume.

    The defaults are an H100's as an assumption, not a measurement: a small eager model in float32
    without TF32 reaches about half of the peaks (67 TFLOP/s, 3,350 GB/s), and starts a kernel every
    10 us.
    """

    device_memory_gb: float = Field(80, gt=0)  # 1e9 bytes
    teraflops: float = Field(30, gt=0)  # sustained in matrix products
    bandwidth_gb_s: float = Field(1500, gt=0)  # sustained in elementwise operators
    kernel_us: float = Field(10, gt=0)  # from one operator's start to the next


SlurmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:@+-]+$")]  # or several, with commas


class Site(Settings):
    """config/site.yaml: a cluster's names, and what a job may ask of it"""

    account: SlurmName | None = None  # None: the executor asks Slurm
    cpu_partition: SlurmName | None = None  # None: the cluster's default
    gpu_partition: SlurmName | None = None
    gpu: Literal["gpus", "gres"] = "gpus"  # --gpus=1 or --gres=gpu:1
    gpu_type: str | None = Field(None, pattern=r"^[A-Za-z0-9_.]+$")
    max_hours: float = Field(24, gt=0, le=10_000)
    max_memory_gb: float = Field(128, gt=0, le=1e6)  # 1e9 bytes
    early_seconds: int = Field(120, ge=0, le=65535)  # from a training's signal to its time limit
    seeds_together: bool = False
    gpu_share: int = Field(1, ge=1, le=8)  # trainings that one of this machine's GPUs may hold


class Experiment(Settings):
    """config/config.yaml, config/paper.yaml, ...: tasks x models x seeds under one protocol"""

    experiment: Name  # folder below results/
    protocol: Name
    tasks: Names
    models: Names  # of config/models/, or of `variants`
    variants: dict[Name, ModelVariant] = {}  # models that are another with other values
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(no_twins)]
    rates: Rates = [1.0]  # learning rates of every model, as factors of its own
    device: Device = "auto"
    threads: Threads = 1  # CPU threads of one training
    precision: Precision = "float32"
    data_mirror: str | None = None  # folder of archives, read instead of the network
    generate_workers: Threads = 2  # processes; changes no byte of the data
    profile: Profile
    decode: Decode | None = None
    span: Span = Span()
    generate: Generate | None = None  # None: nothing is generated
    estimate: Estimate = Estimate()
    overrides: Part = Part()  # for every cell, over everything else

    @property
    def trained(self) -> list[str]:
        """The models of cells: each one at each rate (lra.config.rates)."""
        return [swept(model, factor) for model, factor in product(self.models, self.rates)]

    @property
    def cells(self) -> list[str]:
        """task/model/seed<k> of each, in the order of the file."""
        every = product(self.tasks, self.trained, self.seeds)
        return [f"{task}/{model}/seed{seed}" for task, model, seed in every]

    @field_validator("experiment")
    @classmethod
    def has_a_folder_of_its_own(cls, name: str) -> str:
        if name.lower() in TAKEN:
            raise ValueError(f"'{name}' is no experiment: results/{name} is something else")
        return name

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
