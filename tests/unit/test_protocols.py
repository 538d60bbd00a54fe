"""What `official` and `standard` train, against the values of the code that they follow."""

from __future__ import annotations

import math

import pytest

from lra.config.resolve import Arena, datasets
from lra.config.schema import Experiment
from lra.training.loop import learning_rate
from tiny import ROOT

TASKS = ["listops", "text", "retrieval", "image", "pathfinder", "pathx"]
MODELS = sorted(path.stem for path in (ROOT / "config/models").glob("*.yaml"))

# google-research/long-range-arena at cd31e5c: steps, batch, warm-up, highest rate, rate at the end
OFFICIAL = {
    "listops": (5_000, 32, 1_000, 1.581e-3, 0.05 / math.sqrt(5_000)),
    "text": (20_000, 32, 8_000, 5.590e-4, 0.05 / math.sqrt(20_000)),
    "retrieval": (5_000, 32, 8_000, 3.494e-4, 3.494e-4),  # the warm-up never ends
    "image": (35_000, 256, 175, 5.0e-4, None),
    "pathfinder": (62_400, 512, 312, 1.0e-3, None),
    "pathx": (500_000, 64, 2_500, 1.0e-3, None),
}
# mlpen/Nystromformer, LRA/code/lra_config.py at 2bcc280: steps, batch, warm-up, evaluation every
STANDARD = {
    "listops": (5_000, 32, 1_000, 50),
    "text": (20_000, 32, 8_000, 500),
    "retrieval": (30_000, 32, 800, 300),
    "image": (35_000, 256, 175, 175),
    "pathfinder": (62_400, 256, 312, 312),
}


def arena(protocol: str) -> Arena:
    experiment = Experiment(
        experiment="x", protocol=protocol, tasks=TASKS, models=MODELS, seeds=[0],
        profile={"lengths": [64], "batch_size": 1},
    )  # fmt: skip
    return Arena(ROOT, "x.yaml", experiment)


@pytest.mark.parametrize("task", TASKS)
def test_official_steps_batches_and_rates(task):
    rules = arena("official").resolve(task, "transformer", 0)[0].training
    steps, batch, warmup, peak, last = OFFICIAL[task]
    assert (rules.steps, rules.batch_size, rules.warmup) == (steps, batch, warmup)
    assert (rules.betas, rules.eps, rules.checkpoint) == ((0.9, 0.98), 1e-9, "last")
    rates = [learning_rate(rules, step) for step in range(1, steps + 1)]
    assert max(rates) == pytest.approx(peak, rel=1e-3)
    assert rates[min(warmup, steps) - 1] == max(rates)
    if rules.schedule == "rsqrt":
        assert rates[0] == pytest.approx(0.05 / warmup / math.sqrt(warmup))
        assert rates[-1] == pytest.approx(last, rel=1e-3)
    else:  # one cosine of `steps` after the warm-up, so that the end is a little above 0
        assert rates[0] == pytest.approx(peak / warmup)
        end = peak * 0.5 * (1 + math.cos(math.pi * (steps - warmup) / steps))
        assert rates[-1] == pytest.approx(end)
    assert rules.weight_decay == {"image": 0, "pathfinder": 0, "pathx": 0}.get(task, 0.1)
    assert rules.clip == {"pathx": 1.0}.get(task)


def test_official_text_is_validated_on_the_test_set_and_no_other_task_is():
    official = arena("official")
    for task in TASKS:
        entry = datasets(ROOT)[official.dataset_name(task)]
        assert (entry.options.get("validation") == "test") == (task == "text")


@pytest.mark.parametrize("task", TASKS)
def test_standard_is_one_encoder_for_every_model(task):
    standard = arena("standard")
    cells = [standard.resolve(task, model, 0)[0] for model in MODELS]
    encoders = {
        cell.encoder.model_copy(update={"attention": "", "options": {}}).model_dump_json()
        for cell in cells
    }
    assert len(encoders) == 1
    encoder = cells[0].encoder
    assert (encoder.layers, encoder.dim, encoder.mlp_dim, encoder.heads) == (2, 64, 128, 2)
    assert (encoder.pooling, encoder.interaction) == (
        "MEAN",
        "NLI" if task == "retrieval" else "none",
    )
    assert len({cell.training.model_dump_json() for cell in cells}) == 1
    rules = cells[0].training
    if task in STANDARD:
        steps, batch, warmup, every = STANDARD[task]
        assert (rules.steps, rules.batch_size, rules.warmup) == (steps, batch, warmup)
        assert rules.eval_every == every
    assert rules.checkpoint == "best"
    assert learning_rate(rules, 1) == pytest.approx(1e-4 / rules.warmup)
    assert learning_rate(rules, rules.warmup) == pytest.approx(1e-4)
    middle = (rules.warmup + rules.steps) // 2
    assert learning_rate(rules, middle) == pytest.approx(0.5e-4, rel=1e-3)
    assert learning_rate(rules, rules.steps) == 0


def test_standard_holds_validation_out_of_every_task():
    standard = arena("standard")
    for task in TASKS:
        entry = datasets(ROOT)[standard.dataset_name(task)]
        assert entry.options.get("validation", "train") == "train"
