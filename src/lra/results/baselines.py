"""The record of a task's baselines without a network, and its rows (see records.py)."""

from __future__ import annotations

from lra.core.schema import Strict
from lra.results.records import Provenance, Status


class TaskName(Strict):
    """Which task a record is of"""

    experiment: str
    protocol: str
    task: str
    variant_of: str | None = None  # the task whose column it belongs to
    dataset: str


class Measure(Strict):
    """What one baseline reached; numbers are null where status is not ok"""

    kind: str  # lra.evaluation.baselines.kinds
    status: Status
    reason: str | None  # one line, where status is not ok
    accuracy: float | None  # percent on the test split
    bits: float | None = None  # of tokens: of code for each that is to be predicted
    val_accuracy: float | None  # percent on the examples that the penalty was chosen on
    penalty: float | None  # of half the squared weights; null where nothing was chosen
    n_train: int | None  # training examples learned from
    seconds: float | None  # wall clock: features, fits, answers


class BaselineRecord(TaskName, Provenance):
    """baselines/<task>.json"""

    n_test: int
    chance: float  # percent of the test split's majority class
    validation: str  # what the validation split was: "held out" or "test set"
    n_train_split: int
    measures: list[Measure]


class BaselineRow(Strict):
    """baselines.parquet, one row a task and baseline"""

    experiment: str
    protocol: str
    task: str
    dataset: str
    kind: str
    status: Status
    accuracy: float | None
    bits: float | None = None
    val_accuracy: float | None
    penalty: float | None
    n_train: int | None
    n_train_split: int
    n_test: int
    chance: float
    seconds: float | None
