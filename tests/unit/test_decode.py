"""What causal models cost: what is counted, of which models, and what is left out."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
import yaml

from lra.config.decode import DecodePoint
from lra.config.resolve import Arena
from lra.core.errors import LRAError
from lra.evaluation import decode, job
from lra.results.collect import collect
from lra.results.fingerprint import STAGES, fingerprint, modules, roots
from lra.results.points import DecodeRecord, DecodeRow
from lra.results.records import read_record, read_table
from tiny import ENCODER, ROOT

CPU = torch.device("cpu")


def point(length=9, what="decode", encoder=None, **changed) -> DecodePoint:
    given = {
        "experiment": "x", "protocol": "quick", "task": "text", "model": "transformer",
        "what": what, "length": length, "batch_size": 2, "seconds": 0.02, "limit": 60.0,
        "device": "cpu",
    }  # fmt: skip
    return DecodePoint(**given | changed, encoder={**ENCODER, "layers": 2, **(encoder or {})})


def arena(section, models=("linear", "linformer", "rotary"), **changed) -> Arena:
    given = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    given |= {"models": list(models), "tasks": ["text"], "decode": section} | changed
    given["profile"]["task"] = "text"
    return Arena.open(given, [], ROOT)


SECTION = {"contexts": [8, 16], "training_lengths": [4]}


def test_a_model_is_measured_after_a_context():
    found = decode.decode(point(), 60)
    assert (found["status"], found["reason"], found["state"]) == ("ok", None, "cache")
    assert (
        found["state_bytes"] == 2 * 2 * 9 * 32 * 4
    )  # layers, keys and values, tokens, dim, float32
    for name in ("prefill", "decode"):
        low, middle, high = (found[f"{name}_tokens_per_s{end}"] for end in ("_low", "", "_high"))
        assert 0 < low <= middle <= high
    assert 1 <= found["decode_repeats"] <= decode.REPEATS


def test_decoding_begins_each_repeat_from_the_same_context(monkeypatch):
    contexts = []
    step = decode.Decoder.step
    monkeypatch.setattr(
        decode.Decoder,
        "step",
        lambda self, *given: contexts.append(given[1][0].n) or step(self, *given),
    )
    assert decode.decode(point(5), 60)["status"] == "ok"
    assert contexts[: decode.STEPS] == list(range(5, 5 + decode.STEPS))
    assert set(contexts[:: decode.STEPS]) == {5}


@pytest.mark.parametrize(
    ("takes", "expected"),
    [
        ([4, 1, 1, 1, 1, 1, 1, 1, 1, 1], [10] * decode.REPEATS),  # the first is a warm-up
        ([4, 6, 5, 1], [10 / 6, 2]),  # no further one begins after `seconds`
        ([20, 1], [0.5]),  # a long one is all
    ],
)
def test_the_first_repeat_is_a_warm_up_unless_it_is_long(monkeypatch, takes, expected):
    now, left = [0.0], iter(takes)

    def work() -> None:
        now[0] += next(left)

    monkeypatch.setattr(decode.time, "process_time", lambda: now[0])
    found, _ = decode.rates(work, 10, 10, CPU)
    assert found == expected


def test_both_directions_are_of_one_mechanism_and_a_slower_minute_hits_both(monkeypatch):
    """A causal step takes twice the other's time, and a minute in which all takes longer comes."""
    now, steps, built = [0.0], [0], []

    def training_step(model, tokens):
        causal = model.blocks[0].attention.causal
        built.append((causal, tokens.shape))

        def step() -> None:
            steps[0] += 1
            now[0] += (2 if causal else 1) * (10 if steps[0] > 22 else 1)

        return step

    monkeypatch.setattr(decode, "training_step", training_step)
    for clock in ("process_time", "perf_counter"):
        monkeypatch.setattr(decode.time, clock, lambda: now[0])
    asked = point(16, "directions", {"attention": "linear"}, seconds=200)
    found = decode.directions(asked, 60)
    assert built == [(True, (2, 1, 16)), (False, (2, 1, 16))]
    ends = ("", "_low", "_high")
    assert [found[f"causal_over_bidirectional{end}"] for end in ends] == [2, 2, 2]
    assert found["pairs"] == steps[0] // 2 - 1 and found["pairs"] > 10


def test_a_training_step_updates_every_weight_and_predicts_each_token():
    model = decode.TokenModel(point().encoder, causal=True)
    before = {name: value.clone() for name, value in model.named_parameters()}
    tokens = torch.randint(1, 17, (2, 1, 9))
    decode.training_step(model, tokens)()
    same = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert same == ["unknown"]  # only hidden tokens read it


def exhausted(*_):
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory\nmore")


def endless(*_):
    while True:
        time.sleep(0.01)


@pytest.mark.parametrize("what", ["decode", "directions"])
@pytest.mark.parametrize(
    ("instead", "status", "reason"),
    [(exhausted, "oom", "can't allocate memory"), (endless, "timeout", "more than 0.2 s")],
)
def test_what_cannot_be_measured_is_a_record_with_its_reason(
    monkeypatch, tmp_path, what, instead, status, reason
):
    monkeypatch.setattr(decode, "rates" if what == "decode" else "training_step", instead)
    file = tmp_path / f"profile/{what}/transformer/9.json"
    job.measure_point(what, point(9, what, limit=0.2), file, "code")
    collect(what, tmp_path, tmp_path / "rows.parquet", [], ["transformer"], [], [9])
    kind = job.KINDS[what]
    (row,) = read_table(tmp_path / "rows.parquet", kind.row).to_pylist()
    assert (row["status"], row[kind.value]) == (status, None) and reason in row["reason"]
    assert read_record(file, kind.record).params > 0


def test_a_model_without_steps_is_unsupported():
    found = decode.decode(point(encoder={"mask_zero": True}), 60)
    assert found["status"] == "unsupported" and "mask_zero" in found["reason"]


def test_another_error_is_no_status(monkeypatch):
    def broken(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(decode, "rates", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        decode.decode(point(), 60)


def test_a_further_context_is_measured_alone_and_the_rest_stays(monkeypatch, tmp_path):
    measured = []

    def at_once(work, what, asked, file, found):
        measured.append((what, asked.length))
        work(what, asked, file, found)
        return 0

    monkeypatch.setattr(job, "run_in_child", at_once)
    asked = [point(9), point(4, "directions", seconds=0.01)]
    job.measure_decoding(asked, tmp_path)
    job.measure_decoding([*asked, point(12)], tmp_path)
    assert measured == [("decode", 9), ("directions", 4), ("decode", 12)]
    job.measure_decoding(asked[:1], tmp_path, again=True)
    assert measured[3:] == [("decode", 9)]
    collect("decode", tmp_path, tmp_path / "decode.parquet", [], ["transformer"], [], [9, 12])
    rows = read_table(tmp_path / "decode.parquet", DecodeRow).to_pylist()
    assert [row["state_bytes"] for row in rows] == [2 * 2 * n * 32 * 4 for n in (9, 12)]
    record = read_record(tmp_path / "profile/decode/transformer/9.json", DecodeRecord)
    assert record.sizes == point().encoder.sizes and record.device.startswith("cpu")


def test_only_causal_models_are_planned_and_without_the_section_none():
    asked = arena(SECTION)
    assert asked.decode_models() == ["linear", "rotary"]
    points = asked.decode_points("linear")
    assert [(p.what, p.length) for p in points] == [
        ("decode", 8), ("decode", 16), ("directions", 4),
    ]  # fmt: skip
    trained = asked.resolve("text", "linear", 1)[0].encoder
    profiled = asked.decode_points("linear")[0].encoder
    assert profiled == trained.model_copy(update={"max_len": 8})
    assert arena(None).decode_models() == []


def test_models_may_be_others_than_the_trained_and_sizes_of_their_own():
    section = SECTION | {"models": ["retention"], "encoder": {"layers": 5}, "batch_size": 3}
    (model,) = (asked := arena(section)).decode_models()
    found = asked.decode_points(model)[0]
    assert (model, found.encoder.attention, found.encoder.layers) == ("retention", "retention", 5)
    assert found.batch_size == 3


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"contexts": [8]}, "decode.training_lengths: is missing"),
        (SECTION | {"contexts": [8, 8]}, "decode.contexts: 8 is listed twice"),
        (SECTION | {"models": ["liner"]}, "decode.models: 'liner' is unknown; did you mean 'linear'?"),
        (SECTION | {"models": ["linformer"]}, "decode.models: none of linformer has a causal version; add one, as"),
        (SECTION | {"encoder": {"laiers": 3}}, "encoder.laiers"),
        (SECTION | {"context": [8]}, "decode.context: unknown key; did you mean 'contexts'?"),
    ],
)  # fmt: skip
def test_mistakes_name_the_key(section, said):
    with pytest.raises(LRAError) as error:
        arena(section)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_the_code_behind_it_has_the_step_form_and_not_what_it_does_not_use():
    read = set(modules(*roots("decode", "s4d")))
    assert {"lra.evaluation.decode", "lra.attention.s4d", "lra.attention.steps.averaged"} <= read
    assert not read & {"lra.attention.steps.gated", "lra.attention.linear"}
    assert "lra.evaluation.profile" not in read and "lra.config.resolve" not in read
    training = set(modules(STAGES["train"], "lra.attention.s4d"))
    assert not any(name.startswith("lra.attention.steps") for name in training)
    assert fingerprint(*roots("decode", "s4d")) != fingerprint(*roots("decode", "mega"))


def test_quartiles_are_named_after_the_median():
    values = np.arange(5.0)
    assert decode.quartiles("x", values) == {"x": 2, "x_low": 1, "x_high": 3}
