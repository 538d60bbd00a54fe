"""The resolved configuration of a cell (one training) or of a profile point.

A cell holds everything that a training's result depends on, besides its data and code. The file
`config.yaml` beside every result is a `Cell`; so is the JSON that Snakemake compares to decide what
reruns. Planning reads this, so nothing here imports torch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, model_validator

from lra.config.yaml_file import parse_yaml, read_yaml
from lra.core.schema import Count, Seed, Settings, Strict, Threads, checked

Beta = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]
PADDED = {"listops", "text", "retrieval"}  # tasks whose batches have masks
FAST = "fast"  # the setting under which every profile row is measured


class Encoder(Settings):
    """Sizes of the shared encoder; the names follow the LRA configuration files."""

    attention: str  # the mechanism, a file's name in src/lra/attention/
    options: dict[str, Any] = {}  # the mechanism's own options, e.g. block_size
    vocab_size: Count  # rows of the token embedding
    classes: int = Field(gt=1, lt=2**31)
    max_len: Count  # longest sequence in tokens, without CLS
    dim: Count  # width of the residual stream (emb_dim)
    qkv_dim: Count  # width of queries, keys and values, all heads together
    heads: Count
    layers: Count
    mlp_dim: Count  # hidden width of each block's MLP and of the classifier head
    positions: Literal["sinusoidal", "learned", "none"] = "sinusoidal"
    # mean and deviation of grey values in [0, 1]: a linear map of each instead of an embedding
    pixels: tuple[float, Positive] | None = None
    embedding_std: float = Field(1.0, gt=0)  # of the token embeddings at the start
    position_std: float = Field(0.02, gt=0)  # of learned positions at the start
    mask_zero: bool = False  # hide every token 0, where it is a pixel's value too
    pooling: Literal["CLS", "MEAN", "PMA"] = "CLS"  # PMA: Set Transformer's, by attention
    # MEAN: the mean of the real tokens, of all up to max_len, or the sum of the real ones over this
    mean_over: Literal["real", "all"] | Count = "real"
    head_layers: Count = 2  # linear layers of the classifier head
    head_gelu: bool = False  # between the head's layers, else ReLU
    # what follows the mechanism: an MLP with a residual of its own, or, within the mechanism's, a
    # gated linear unit: S4's (glu) or one of S5's
    block: Literal["mlp", "glu", "half_glu1", "half_glu2"] = "mlp"
    activation: Literal["gelu", "silu"] = "gelu"  # of the MLP
    norm: Literal["layer", "batch", "scale"] = "layer"  # batch: over real tokens; scale: Mega's
    norm_place: Literal["pre", "post"] = "pre"  # of each residual: on its input, or after its sum
    final_norm: bool = True  # one more after the last block
    init: Literal["xavier", "torch"] = "xavier"  # official's (Flax), or torch's own for all layers
    projection_bias: bool = False  # biases of queries, keys, values and their output
    gelu: Literal["tanh", "exact"] = "tanh"
    norm_eps: float = Field(1e-6, gt=0)  # of each norm
    norm_momentum: float = Field(0.1, gt=0, le=1)  # a batch's share in batch norm's running values
    towers: Literal[1, 2] = 1  # 2: one shared encoder over two documents (retrieval)
    interaction: Literal["none", "NLI"] = "none"  # features of the two-tower head
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    embedding_dropout: float | None = Field(None, ge=0, lt=1)  # None: as `dropout`
    tied_dropout: bool = False  # a feature is dropped at all tokens of a sequence or at none

    @property
    def sizes(self) -> str:
        layers = f"{self.layers} layer{'s' * (self.layers > 1)}"
        return f"{layers}, {self.heads} heads, dim {self.dim}, MLP {self.mlp_dim}"

    @model_validator(mode="after")
    def heads_divide_the_width(self):
        if self.qkv_dim % self.heads:
            raise ValueError(f"heads: {self.heads} heads do not divide qkv_dim {self.qkv_dim}")
        if self.pooling == "PMA" and self.dim % self.heads:
            raise ValueError(f"heads: {self.heads} heads do not divide dim {self.dim}, for PMA")
        if self.interaction == "NLI" and self.towers == 1:
            raise ValueError("interaction: NLI compares two towers, but towers is 1")
        if self.pixels is not None and self.vocab_size != 256:
            raise ValueError("pixels: the tokens of this task are no grey values")
        return self

    @model_validator(mode="after")
    def reversible_layers_are_plain(self):
        """They have two residuals, of the mechanism and of the MLP, and run each of them twice."""
        usual = {"norm": ("layer", "scale"), "norm_place": ("pre",), "block": ("mlp",)}
        for key, values in usual.items():
            if self.options.get("reversible") and (found := getattr(self, key)) not in values:
                raise ValueError(
                    f"{key}: reversible layers have no '{found}'; choose '{values[0]}'"
                )
        return self


def check_compiled(key: str, compiled: bool, encoder: Encoder) -> None:
    """Raises ValueError naming the key where blocks that cannot be compiled are to be."""
    if compiled and encoder.options.get("reversible"):
        raise ValueError(f"{key}: reversible layers are not compiled")


class ParameterGroup(Settings):
    """Parameters whose names fit a pattern, e.g. "blocks.*.attention.*"; the first fit counts."""

    names: str
    rate: float = Field(1.0, ge=0)  # factor of the learning rate
    weight_decay: float | None = Field(None, ge=0)  # None: that of all parameters


class Training(Settings):
    """How a cell is optimised and selected."""

    steps: Count  # optimiser steps
    batch_size: Count
    eval_batch_size: Count = 64  # changes speed and memory only
    eval_every: Count  # steps between evaluations on the validation split
    learning_rate: float = Field(gt=0)  # the schedule's constant, not always its peak
    schedule: Literal["rsqrt", "cosine", "onecycle", "linear"]  # see lra.training.optimizer
    warmup: Count  # steps
    cycle: Count | None = None  # steps per cosine cycle; default: steps
    weight_decay: float = Field(0.0, ge=0)  # decoupled, on all parameters
    groups: list[ParameterGroup] = []  # parameters with a rate or decay of their own
    betas: tuple[Beta, Beta] = (0.9, 0.98)  # onecycle has its own first one
    eps: float = Field(1e-9, gt=0)
    clip: float | None = Field(None, gt=0)  # largest gradient norm
    checkpoint: Literal["best", "last"]  # which one is scored: best on validation, or the last
    pad_to: Count = 64  # batches are padded to their longest member, rounded up to this
    precision: Precision = "float32"
    compile: bool = False  # the blocks, by torch.compile
    # what is predicted: a label, each next token or hidden ones (lra.training.tokens). Neither of
    # these two is written where it is the default: cells are written as before there were any
    objective: Literal["classify", "next", "masked"] = Field(
        "classify", exclude_if=lambda given: given == "classify"
    )
    # of hidden tokens of each test example, for `masked`
    draws: Count = Field(128, exclude_if=lambda given: given == 128)

    @model_validator(mode="after")
    def best_needs_an_evaluation(self):
        if self.eval_every > self.steps:
            raise ValueError(f"eval_every: {self.eval_every} is more than the {self.steps} steps")
        return self


class Pretraining(Training):
    """How a model is trained on the tokens of its task before it is trained on the labels.

    Values that are not given are those of the cell's `training`.
    """

    objective: Literal["masked", "causal"]  # predict hidden tokens, or each next one
    masked: float = Field(0.5, gt=0, lt=1)  # share of the tokens that `masked` hides


class Cell(Settings):
    """One (task, model, seed) of an experiment, resolved."""

    stage: ClassVar[str] = "train"  # what makes it: a rule, a verb and a fingerprint

    experiment: str
    protocol: str
    task: str
    variant_of: str | None = (
        None  # the task whose column the cell's belongs to, e.g. text of text-1k
    )
    model: str
    seed: Seed
    dataset: str
    device: Device = "auto"
    threads: Threads = 1  # CPU threads: part of the result's bits, so part of the cell
    encoder: Encoder
    training: Training
    # None is not written, so that a cell without one is written as before there were any
    pretraining: Pretraining | None = Field(None, exclude_if=lambda given: given is None)

    @property
    def name(self) -> str:
        return f"{self.task}/{self.model}/seed{self.seed}"

    @property
    def predicts_tokens(self) -> bool:
        return self.training.objective in ("next", "masked")

    @property
    def pretraining_cell(self) -> PretrainingCell | None:
        """What its pretraining depends on, without its own training and the head's settings."""
        if self.pretraining is None:
            return None
        encoder = self.encoder.model_dump(exclude=OF_HEAD)
        if self.encoder.pooling == "CLS" and self.encoder.towers == 1:
            encoder["pooling"] = "CLS"  # a token more
        else:
            encoder["pooling"] = "MEAN"
        names = self.model_dump(exclude={"encoder", "training", "pretraining"})
        return PretrainingCell(**names, encoder=encoder, training=self.pretraining)

    @model_validator(mode="after")
    def reversible_layers_are_not_compiled(self):
        check_compiled("training.compile", self.training.compile, self.encoder)
        if self.pretraining:
            check_compiled("pretraining.compile", self.pretraining.compile, self.encoder)
        return self


OF_HEAD = {"pooling", "mean_over", "head_layers", "head_gelu", "interaction"}  # keys of the encoder


class PretrainingCell(Cell):
    """The pretraining of a cell: `training` is the cell's `pretraining`."""

    stage: ClassVar[str] = "pretrain"

    training: Pretraining

    @property
    def name(self) -> str:
        return f"pretraining of {super().name}"

    @property
    def predicts_tokens(self) -> bool:
        return False  # its task does not


class ProfilePoint(Settings):
    """One (model, setting, length) whose speed and memory are measured."""

    experiment: str
    protocol: str
    task: str  # of the protocol, whose encoder and options it has
    model: str
    setting: str = FAST
    length: Count  # tokens
    batch_size: Count
    seconds: float = Field(gt=0)  # time spent measuring each of training and inference
    device: Device = "auto"
    threads: Threads = 1
    precision: Precision = "float32"
    deterministic: bool = False  # kernels
    tf32: bool = False  # matrix products of float32 tensors
    compile: bool = False  # the blocks, by torch.compile
    masks: bool = False  # batches have a mask, as the task's have; all tokens are real
    encoder: Encoder

    @model_validator(mode="after")
    def reversible_layers_are_not_compiled(self):
        check_compiled("compile", self.compile, self.encoder)
        return self

    @property
    def checksum(self) -> str:
        """16 hex digits"""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def profile_row(model: str, setting: str | None) -> str:
    """The name of a profile row in paths and plans: a model's, and of other settings theirs."""
    return model if setting in (None, FAST) else f"{model}.{setting}"


def read(kind: type[Strict], text_or_path: str):
    """A `Cell` or `ProfilePoint` from JSON text (as rules pass it) or from a YAML file."""
    if text_or_path.lstrip().startswith("{"):
        return checked(kind, parse_yaml(text_or_path, "command line"), "command line")
    return checked(kind, read_yaml(Path(text_or_path)), text_or_path)


def to_yaml(resolved: Strict) -> str:
    return yaml.safe_dump(resolved.model_dump(mode="json"), sort_keys=False)
