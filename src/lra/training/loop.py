"""Training of one cell: optimise, validate, choose a checkpoint, resume after a kill.

A batch is a function of (seed, step), and every random number comes from torch's generators, whose
state is saved. So a training that was killed and resumed has the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lra.config.cell import Cell
from lra.data.split import read_split
from lra.hardware.device import choose_device, is_out_of_memory, make_repeatable, unknown_energy
from lra.models.classifier import Classifier, parameter_count, reach, start_from
from lra.models.compiled import as_written, compile_blocks
from lra.training.batches import Batch, Batches, training_order
from lra.training.checkpoint import Work
from lra.training.optimizer import AdamW, first_beta, learning_rate
from lra.training.predict import forward, predict
from lra.training.signals import Interrupted, Stop

PROGRESS_SECONDS = 10


def ignore(history: list[dict[str, Any]]) -> None:
    """Default callback: does nothing."""


@dataclass
class Outcome:
    """The result of a training; it has no weights where the status is not ok."""

    status: str  # ok, oom, diverged, or stopped: the state is saved and this is no result yet
    reason: str | None
    params: int
    reach: int | None
    steps: int
    chosen_step: int | None
    seconds: float
    joules: float | None  # None where the device reports none
    val_accuracy: float | None
    history: list[dict[str, Any]]
    weights: dict[str, Tensor]


class Classification:
    """What is trained and what it minimises: a classifier, and the cross entropy of the labels.

    `lra.training.tokens` and `lra.training.pretraining` have others.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def model(self) -> Classifier:
        return Classifier(self.cell.encoder)

    def loss(self, model: Classifier, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Mean loss and share of right predictions of the batch of `step`, on the device."""
        scores = forward(model, batch, self.cell)
        loss = cross_entropy(scores, batch.labels)
        return loss, (scores.detach().argmax(-1) == batch.labels).double().mean()

    def validate(
        self, model: Classifier, batches: Batches, stop: Stop | None = None
    ) -> tuple[float, float]:
        """Mean loss of a split, and percent of right predictions.

        Raises Interrupted between two batches where `stop` has a signal.
        """
        predictions, loss = predict(model, batches, self.cell, stop)
        return loss, 100 * (predictions == batches.labels).double().mean().item()

    def score(self, loss: float, accuracy: float) -> float:
        """What validation chooses a checkpoint by: the highest."""
        return accuracy


class Run:
    """The state of one training: model, optimiser, history, best checkpoint so far."""

    def __init__(
        self,
        cell: Cell,
        data: Path,
        joules: Callable[[], float | None],
        objective: Classification,
        start: Path | None,
    ) -> None:
        make_repeatable(cell.threads)
        self.cell, self.objective = cell, objective
        self.device = choose_device(cell.device)
        self.train, self.val = (
            Batches(read_split(data / f"{split}.arrow"), cell, self.device)
            for split in ("train", "val")
        )
        torch.manual_seed(cell.seed)
        self.model = objective.model()
        if start is not None:
            start_from(self.model, load_file(start))
        self.model.to(self.device)
        training, named = cell.training, self.model.named_parameters()
        if training.compile:
            compile_blocks(self.model)
        self.optimizer = AdamW(
            named, training.betas, training.eps, training.weight_decay, training.groups
        )
        self.step, self.seconds = 0, 0.0
        self.joules = joules  # of this process
        self.joules_before: float | None = 0.0  # of the processes that it resumes
        self.unvalidated = False  # a validation is due at this step
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}  # step, accuracy, score and weights of the chosen one
        # loss and correct answers since the last history row, summed on the device
        self.sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.summed = 0

    def state(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if self.device.type == "cuda" else []
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": cuda,
            "step": self.step,
            "seconds": self.seconds,
            "joules": self.all_joules(),
            "unvalidated": self.unvalidated,
            "history": self.history,
            "best": self.best,
            "sums": self.sums,
            "summed": self.summed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.joules_before = state["joules"]
        self.unvalidated = state["unvalidated"]
        self.history, self.best = state["history"], state["best"]
        self.sums, self.summed = state["sums"].to(self.device), state["summed"]

    def all_joules(self) -> float | None:
        """Of the device, over all resumptions; None where a part is unknown."""
        own = self.joules()
        return None if None in (own, self.joules_before) else self.joules_before + own

    def update(self) -> None:
        """One optimiser step."""
        self.step += 1
        training = self.cell.training
        index = training_order(len(self.train), training.batch_size, self.cell.seed, self.step)
        loss, correct = self.objective.loss(self.model, self.train.at(index), self.step)
        self.optimizer.zero_grad()
        self.model.loss(loss).backward()
        if training.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
        self.optimizer.step(learning_rate(training, self.step), first_beta(training, self.step))
        self.sums += torch.stack([loss.detach().double(), correct])
        self.summed += 1

    def record(self, split: str, loss: float, accuracy: float) -> None:
        self.history.append(
            {
                "step": self.step,
                "split": split,
                "loss": loss,
                "accuracy": accuracy,
                "learning_rate": learning_rate(self.cell.training, self.step),
                "seconds": self.seconds,
            }
        )

    def record_training(self) -> bool:
        """A history row of the steps since the last one; False if their loss is not finite."""
        loss, correct = (self.sums / self.summed).tolist()
        if not math.isfinite(loss):
            return False
        self.record("train", loss, 100 * correct)
        self.sums.zero_()
        self.summed = 0
        return True

    def validate(self, stop: Stop) -> None:
        """Evaluate on the validation split and keep the checkpoint that the protocol wants."""
        with as_written(self.cell.training.compile):  # as it is scored
            loss, accuracy = self.objective.validate(self.model, self.val, stop)
        self.record("val", loss, accuracy)
        last = self.cell.training.checkpoint == "last"
        score = self.objective.score(loss, accuracy)
        if last or not self.best or score > self.best["score"]:
            form = torch.contiguous_format  # a checkpoint takes no other
            state = self.model.state_dict()
            weights = {key: value.clone(memory_format=form) for key, value in state.items()}
            found = {"accuracy": accuracy, "score": score, "weights": weights}
            self.best = {"step": self.step, **found}
        self.unvalidated = False

    def progress(self, done: int, seconds: float) -> str:
        """A line for a person; `done` steps took `seconds` in this process."""
        steps = self.cell.training.steps
        speed = done / seconds
        left = int((steps - self.step) / speed)
        evaluated = [row["accuracy"] for row in self.history if row["split"] == "val"]
        val = f"{evaluated[-1]:.1f} %" if evaluated else "-"
        return (
            f"{self.cell.name}  step {self.step:,}/{steps:,} ({100 * self.step // steps} %)  "
            f"val accuracy {val}  {speed:.1f} steps/s  "
            f"ETA {left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
        )


def train(
    cell: Cell,
    data: Path,
    work: Work,
    say: Callable[[str], None] = print,
    save_seconds: float = 30.0,
    joules: Callable[[], float | None] = unknown_energy,
    watch: Callable[[list[dict[str, Any]]], None] = ignore,
    stop: Stop | None = None,
    objective: type[Classification] = Classification,
    start: Path | None = None,
) -> Outcome:
    """Train a cell to its end, resuming from `work`, which the caller removes at the end.

    data: folder with train.arrow and val.arrow. say: prints a line of progress. save_seconds: the
    longest work that a kill can lose. joules: energy that this process has used so far. watch:
    called with the history at every evaluation. stop: once a signal has come, the state is saved
    after the current step, or as it was before the current validation; the outcome is `stopped`.
    objective: what is trained. start: a pretrained checkpoint, whose encoder the model begins with.
    """
    run, aim = None, objective(cell)
    try:
        run = Run(cell, data, joules, aim, start)
        return _optimise(run, work, say, save_seconds, watch, stop or Stop())
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return outcome_of(aim, run, "oom", str(error).splitlines()[0])


def _optimise(
    run: Run,
    work: Work,
    say: Callable[[str], None],
    save_seconds: float,
    watch: Callable[[list[dict[str, Any]]], None],
    stop: Stop,
) -> Outcome:
    cell, training = run.cell, run.cell.training
    saved = work.load()
    if saved:
        run.restore(saved)
        say(f"{cell.name}  resumed at step {run.step:,}")
    row_every = max(1, training.eval_every // 5)
    first, carried = run.step, run.seconds
    started = reported = saved_at = time.monotonic()
    while run.step < training.steps or run.unvalidated:
        if stop.signal:
            return _stopped(run, work, run.state(), stop)
        if not run.unvalidated:
            run.update()
            run.seconds = carried + time.monotonic() - started
            run.unvalidated = run.step == training.steps or run.step % training.eval_every == 0
            if (run.unvalidated or run.step % row_every == 0) and not run.record_training():
                reason = f"the loss was not finite by step {run.step}"
                return outcome_of(run.objective, run, "diverged", reason)
        if run.unvalidated:
            before = run.state()  # a mechanism may draw random numbers in it
            try:
                run.validate(stop)
            except Interrupted:
                return _stopped(run, work, before, stop)
            watch(run.history)
        ends = run.step == training.steps
        now = time.monotonic()
        if run.step > first and (ends or now - reported > PROGRESS_SECONDS):
            say(run.progress(run.step - first, now - started))
            reported = now
        if now - saved_at > save_seconds and not ends:
            work.save(run.state())
            saved_at = time.monotonic()
    run.seconds = carried + time.monotonic() - started
    return outcome_of(run.objective, run, "ok")


def _stopped(run: Run, work: Work, state: dict[str, Any], stop: Stop) -> Outcome:
    work.save(state)
    steps = run.cell.training.steps
    reason = f"stopped by {stop.signal.name} at step {run.step:,} of {steps:,}"
    return outcome_of(run.objective, run, "stopped", reason)


def outcome_of(
    objective: Classification, run: Run | None, status: str, reason: str | None = None
) -> Outcome:
    """The outcome of a run; run: None where not even its model fitted into memory."""
    if run is None:
        return saved_outcome(objective, None, status, reason)
    state = {"step": run.step, "seconds": run.seconds, "history": run.history}
    state["joules"] = run.all_joules()
    found = saved_outcome(objective, state, status, reason, run.model)
    if status != "ok":
        return found
    best = run.best
    return replace(
        found, chosen_step=best["step"], val_accuracy=best["accuracy"], weights=best["weights"]
    )


def saved_outcome(
    objective: Classification,
    state: dict[str, Any] | None,
    status: str,
    reason: str | None,
    model: Classifier | None = None,
) -> Outcome:
    """The outcome of a run that left only this saved state, or None; model: where it is at hand."""
    state = state or {"step": 0, "seconds": 0.0, "joules": None, "history": []}
    if model is None:
        with torch.device("meta"):  # it imports torch's compiler, 2 s of a job
            model = objective.model()
    return Outcome(
        status=status,
        reason=reason,
        params=parameter_count(model),
        reach=reach(model),
        steps=state["step"],
        chosen_step=None,
        seconds=state["seconds"],
        joules=state["joules"],
        val_accuracy=None,
        history=state["history"],
        weights={},
    )
