"""What the protocols of others' code train, key by key against the code that they follow."""

from __future__ import annotations

import math
import re
from functools import cache

import pytest
import torch

from lra.config import protocol_source
from lra.config.annotate import annotated
from lra.config.resolve import Arena, datasets
from lra.config.schema import Experiment
from lra.core.errors import LRAError
from lra.core.schema import leaves
from lra.models.classifier import Classifier
from lra.training.optimizer import by_name, learning_rate
from tiny import ROOT

TASKS = {
    "official": ["listops", "text", "retrieval", "image", "pathfinder", "pathx"],
    "paper": ["listops", "text-1k", "text-2k", "text-3k", "text-4k", "retrieval", "image",
              "pathfinder", "pathx"],
    "standard": ["listops", "text", "text-4k", "retrieval", "image", "pathfinder", "pathx"],
    "authors": ["listops", "text", "retrieval", "image", "pathfinder", "pathx"],
}  # fmt: skip
CELLS = [(protocol, task) for protocol, tasks in TASKS.items() for task in tasks]
EVERY = sorted(path.stem for path in (ROOT / "config/models").glob("*.yaml"))
MODELS = {"official": EVERY, "paper": EVERY, "standard": EVERY, "authors": ["mega", "s4d", "s5"]}


@cache
def arena(protocol: str) -> Arena:
    experiment = Experiment(
        experiment="x", protocol=protocol, tasks=TASKS[protocol], models=MODELS[protocol], seeds=[0],
        profile={"lengths": [64], "batch_size": 1},
    )  # fmt: skip
    return Arena(ROOT, "x.yaml", experiment)


@cache
def lines_of(protocol: str) -> list[protocol_source.Sourced]:
    return protocol_source.read(protocol_source.path(ROOT / "config/reference", protocol))


def wrong(cell: dict, expected: dict) -> list[str]:
    """What of a cell is not what its source's table says, or is not in it."""
    said = []
    for key, value in cell.items():
        if key not in expected:
            said.append(f"{key} is {value}: not in the table")
        elif value != expected[key].expected:
            said.append(f"{key} is {value}, not {expected[key].expected}")
    return said


def resolved(protocol: str, task: str, model: str) -> dict:
    cell = arena(protocol).resolve(task, model, 0)[0].model_dump(mode="json")
    keys = leaves({part: cell[part] for part in ("dataset", "encoder", "training")})
    return {key: value for key, value in keys if key != "encoder.attention"}


@pytest.mark.parametrize(("protocol", "task"), CELLS)
def test_every_key_of_every_cell_is_the_sources_or_a_difference_with_a_reason(protocol, task):
    lines, tasks = lines_of(protocol), [arena(protocol).tasks[task], task]
    found = {}
    for model in MODELS[protocol]:
        expected = protocol_source.of_cell(lines, tasks, model)
        if said := wrong(resolved(protocol, task, model), expected):
            found[model] = said
    assert not found


@pytest.mark.parametrize("protocol", TASKS)
def test_every_line_of_a_table_counts_somewhere_and_says_where_it_is_from(protocol):
    """A key that no cell has, or a line that later ones hide everywhere, is a mistake."""
    lines, base = lines_of(protocol), arena(protocol).protocols[protocol].base
    own = [line for line in lines if base is None or line not in lines_of(base)]
    assert own
    assert (base is not None) == (len(own) < len(lines))
    used = {
        id(line)
        for task in TASKS[protocol]
        for model in MODELS[protocol]
        for line in protocol_source.of_cell(
            own, [arena(protocol).tasks[task], task], model
        ).values()
        if line.key.startswith("other: ") or line.key in resolved(protocol, task, model)
    }
    assert [line for line in own if id(line) not in used] == []
    place = re.compile(r"-|.+\.(py|yaml|sh|md):\d+|arXiv 2011.04006, appendix A(\.\d)?")
    assert [line for line in own if not place.fullmatch(line.source)] == []
    assert [line for line in own if bool(line.reason) != (line.ours != "")] == []
    assert [line for line in own if line.differs and line.ours == line.value] == []


def test_a_wrong_key_and_a_missing_one_are_seen():
    expected = protocol_source.of_cell(lines_of("official"), ["image"], "transformer")
    cell = resolved("official", "image", "transformer")
    assert wrong(cell | {"encoder.heads": 4}, expected) == ["encoder.heads is 4, not 8"]
    missing = {key: line for key, line in expected.items() if key != "training.warmup"}
    assert wrong(cell, missing) == ["training.warmup is 175: not in the table"]


def test_the_last_line_that_fits_counts():
    def line(task, model, value):
        return protocol_source.Sourced(task, model, "k", value, "f:1", "", "")

    lines = [line("*", "*", 1), line("text", "*", 2), line("text", "local", 3), line("*", "x", 4)]
    values = [protocol_source.of_cell(lines, [task], model)["k"].value
              for task, model in (("image", "local"), ("text", "set"), ("text", "local"),
                                  ("text", "x"))]  # fmt: skip
    assert values == [1, 2, 3, 4]


def test_differences_are_those_that_count_for_the_models_and_tasks_asked_for():
    def line(task, model, ours=""):
        return protocol_source.Sourced(task, model, "k", 1, "f:1", ours, "why" if ours else "")

    lines = [line("*", "*"), line("text", "*", 2), line("text", "local", 3), line("image", "*", 4)]
    assert protocol_source.differences(lines, ["text"], ["local", "set"]) == lines[1:3]
    assert protocol_source.differences(lines, ["text"], ["local"]) == lines[2:3]
    assert protocol_source.differences(lines, ["listops"], ["local"]) == []


def test_a_table_with_another_column_is_named(tmp_path):
    path = tmp_path / "official.csv"
    path.write_text("task,model,key,value,source\nimage,*,encoder.heads,8,x\n", encoding="utf-8")
    with pytest.raises(LRAError, match="official.csv: line 2: the columns are task, model, key"):
        protocol_source.read(path)


def test_resolve_shows_the_sources_value_beside_ours():
    text = annotated(arena("standard"), "text", "transformer", 0)
    (dim,) = (line for line in text.splitlines() if line.startswith("encoder.dim:"))
    assert dim.endswith("source: 64 (code/lra_config.py:227)")
    (length,) = (line for line in text.splitlines() if line.startswith("encoder.max_len:"))
    assert "source: 1024" in length and "not so here: positions that only padding has" in length


@pytest.mark.parametrize("task", TASKS["official"])
def test_official_rates_are_those_of_its_schedules(task):
    """google-research/long-range-arena at cd31e5c: the highest rate and the last."""
    peak, last = {
        "listops": (1.581e-3, 0.05 / math.sqrt(4_999)),
        "text": (5.590e-4, 0.05 / math.sqrt(19_999)),
        "retrieval": (3.494e-4, 3.494e-4),  # the warm-up never ends
        "image": (5.0e-4, None), "pathfinder": (1.0e-3, None), "pathx": (1.0e-3, None),
    }[task]  # fmt: skip
    rules = arena("official").resolve(task, "transformer", 0)[0].training
    rates = [learning_rate(rules, step) for step in range(1, rules.steps + 1)]
    assert rates[0] == 0 and max(rates) == pytest.approx(peak, rel=1e-3)
    assert rates[min(rules.warmup, rules.steps - 1)] == max(rates)
    if last:
        assert rates[-1] == pytest.approx(last, rel=1e-3)
    else:  # one cosine of `steps` after the warm-up, so that the end is a little above 0
        end = (rules.steps - 1 - rules.warmup) / rules.steps
        assert rates[-1] == pytest.approx(peak * 0.5 * (1 + math.cos(math.pi * end)))


def test_only_official_validates_on_a_test_set_and_only_text():
    for protocol, tasks in TASKS.items():
        for task in tasks:
            entry = datasets(ROOT)[arena(protocol).dataset_name(task)]
            on_test = entry.options.get("validation", "train") == "test"
            assert on_test == ((protocol, task) == ("official", "text"))


def test_standard_is_one_encoder_for_every_model():
    standard = arena("standard")
    for task in TASKS["standard"]:
        cells = [standard.resolve(task, model, 0)[0] for model in MODELS["standard"]]
        own = {"attention": "", "options": {}, "positions": ""}
        assert len({c.encoder.model_copy(update=own).model_dump_json() for c in cells}) == 1
        assert len({c.training.model_dump_json() for c in cells}) == 1


@pytest.mark.parametrize("task", TASKS["authors"])
@pytest.mark.parametrize("model", MODELS["authors"])
def test_each_group_of_the_authors_has_parameters(model, task):
    """And what has a rate or decay of its own is the state space, not the rest of its block."""
    cell = arena("authors").resolve(task, model, 0)[0]
    with torch.device("meta"):
        names = [name for name, _ in Classifier(cell.encoder).named_parameters()]
    rest = cell.training.weight_decay
    groups = by_name(names, cell.training.groups, rest)
    slow = {names[i].rpartition(".")[2] for rate, decay, own in groups for i in own
            if (rate, decay) != (max(rate for rate, _, own in groups if own), rest)}  # fmt: skip
    poles = {"log_dt", "a_log", "a_imag"} if model == "s4d" else {"log_dt", "a_real", "a_imag", "b"}
    expected = {
        "mega": set(),
        "s4d": poles | {"weight", "bias"} | ({"c"} if task in ("image", "pathfinder") else set()),
        "s5": poles
        - ({"log_dt"} if task in ("text", "retrieval") else set())
        - ({"b"} if task in ("listops", "image") else set()),
    }
    assert slow == expected[model]


@pytest.mark.parametrize("task", TASKS["authors"])
@pytest.mark.parametrize("model", MODELS["authors"])
def test_the_authors_rates_end_near_zero_and_reach_their_peak(model, task):
    rules = arena("authors").resolve(task, model, 0)[0].training
    assert learning_rate(rules, rules.warmup + 1) == pytest.approx(rules.learning_rate)
    assert learning_rate(rules, rules.steps) < 0.03 * rules.learning_rate


def test_papers_sizes_are_the_appendixs_and_the_rest_is_officials():
    paper, official = arena("paper"), arena("official")
    text = paper.resolve("text-3k", "local", 0)[0]
    assert (text.encoder.dim, text.encoder.heads, text.encoder.layers) == (512, 8, 6)
    assert (text.encoder.max_len, text.variant_of) == (3000, "text")
    assert (
        text.training.learning_rate
        == official.resolve("text", "local", 0)[0].training.learning_rate
    )
    assert paper.resolve("listops", "transformer", 0)[0].encoder.mlp_dim == 2048
