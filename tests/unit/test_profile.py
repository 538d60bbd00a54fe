"""What a profile is measured on: the protocol's rules for one task, kernels, precision, masks."""

from __future__ import annotations

import pytest
import torch
import yaml

from lra.config.cell import ProfilePoint
from lra.config.resolve import Arena
from lra.core.errors import LRAError
from lra.evaluation import profile
from lra.evaluation.job import measure_point
from lra.hardware import device
from lra.planning.estimate import Load
from lra.planning.measured import measured_speeds
from lra.results.collect import collect
from lra.results.points import SpeedRecord, SpeedRow
from lra.results.records import read_record, read_table, write_rows
from tiny import ROOT, make_cell


def arena_of(file="config", profile=None, **changed) -> Arena:
    """An experiment of the repository, changed; `profile` changes keys of its section."""
    given = yaml.safe_load((ROOT / f"config/{file}.yaml").read_text())
    given |= changed
    return Arena.open(given | {"profile": given["profile"] | (profile or {})}, [], ROOT)


def point(setting="fast", **changed) -> ProfilePoint:
    sizes = {"max_len": 64, "vocab_size": 257, "attention_dropout": 0.0}
    return ProfilePoint(
        experiment="test", protocol="quick", task="text", model="transformer", setting=setting,
        length=64, batch_size=2, seconds=0.01, device="cpu", encoder=make_cell(encoder=sizes).encoder,
        **changed,
    )  # fmt: skip


@pytest.fixture
def kernels():
    """The process's own settings, back again afterwards."""
    yield
    device.choose_kernels(torch.get_num_threads(), deterministic=True, tf32=False)
    torch.backends.cudnn.allow_tf32 = True  # torch's default


@pytest.mark.parametrize(
    ("protocol", "models"),
    [
        ("quick", ["reformer", "performer", "local", "linformer", "xl"]),
        ("standard", ["reformer", "performer", "nystrom", "linformer", "xl"]),
        ("official", ["transformer", "linear", "bigbird", "synthesizer"]),
        ("paper", ["transformer", "linear", "bigbird", "synthesizer"]),
    ],
)
def test_encoder_and_options_are_the_protocols_for_the_text_task(protocol, models):
    arena = arena_of(
        protocol=protocol, models=models, tasks=["text"], profile={"task": None, "encoder": {}}
    )
    for model in models:
        trained = arena.resolve("text", model, 1)[0].encoder
        profiled = arena.profile_point(model, 1024)
        assert (profiled.protocol, profiled.task) == (protocol, "text")
        assert profiled.encoder == trained.model_copy(update={"max_len": 1024})


def test_options_that_the_models_file_has_otherwise():
    """4 hashes in buckets of 64 there, 2 in 32 in quick's pathx; 16 of k, and 256 in standard's."""
    quick = arena_of("survey").profile_point("reformer", 512).encoder.options
    assert (quick["hashes"], quick["bucket_size"]) == (2, 32)
    standard = arena_of(protocol="standard", models=["linformer"]).profile_point("linformer", 512)
    assert standard.encoder.options["k"] == 256


def test_another_task_of_the_protocol_and_the_experiments_own_sizes():
    arena = arena_of(models=["local"], profile={"task": "retrieval", "encoder": {"layers": 7}})
    encoder = arena.profile_point("local", 256).encoder
    assert (encoder.towers, encoder.interaction, encoder.dim, encoder.layers) == (2, "NLI", 32, 7)
    arena = arena_of(
        models=["local"], profile={"encoder": {}}, overrides={"encoder": {"layers": 5}}
    )
    assert arena.profile_point("local", 256).encoder.layers == 5


def test_a_further_row_of_a_model_is_what_its_file_says():
    arena = arena_of(models=["transformer"])
    kernel = {
        row: arena.profile_point(row, 256).encoder.options["kernel"] for row in arena.profile_rows()
    }
    assert kernel == {"transformer": "fused", "transformer-materialised": "materialised"}


def test_masks_are_those_of_the_task():
    def masked(**section):
        return arena_of(models=["linear"], profile=section).profile_point("linear", 256)

    text = masked(task="text")
    assert text.masks and Load.of_point(text).pads
    assert not masked(task="image").masks
    variant = arena_of(
        protocol="paper", models=["linear"], tasks=["text"], profile={"task": "text-1k"}
    )
    assert variant.profile_point("linear", 1024).masks


def test_rows_are_models_by_settings_and_fast_is_always_there():
    variants = {"tf32": {"tf32": True, "models": ["linear", "reformer"]},
                "half": {"precision": "bfloat16"}}  # fmt: skip
    arena = arena_of(models=["linear", "local"], profile={"variants": variants})
    assert list(arena.profile_rows()) == [
        "linear", "local", "linear.tf32", "linear.half", "local.half",
    ]  # fmt: skip
    points = [arena.profile_point(row, 256) for row in arena.profile_rows()]
    assert [(p.model, p.setting, p.tf32, p.precision) for p in points][::2] == [
        ("linear", "fast", False, "float32"),
        ("linear", "tf32", True, "float32"),
        ("local", "half", False, "bfloat16"),
    ]
    assert not any(p.deterministic for p in points)
    assert list(arena_of().profile_rows())[:2] == ["transformer", "transformer-materialised"]
    assert {row.setting for row in arena_of().profile_rows().values()} == {"fast"}


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"task": "txt"}, "profile.task: 'txt' is unknown; did you mean 'text'?"),
        ({"variants": {"fast": {}}}, "profile.variants: 'fast' is the setting that every row has"),
        ({"variants": {"a.b": {}}}, "String should match pattern"),
        ({"variants": {"x": {"tf23": True}}}, "unknown key; did you mean 'tf32'?"),
        ({"variants": {"x": {"models": ["liner"]}}},
         "profile.variants.x.models: 'liner' is unknown; did you mean 'linear'?"),
        ({"variants": {"x": {"tf32": True, "precision": "bfloat16"}}}, "bfloat16 has no use for it"),
        ({"encoder": {"laiers": 3}}, "profile: encoder.laiers"),
    ],
)  # fmt: skip
def test_mistakes(section, said):
    with pytest.raises(LRAError) as error:
        arena_of(profile=section)
    assert said in str(error.value).replace("profile.encoder", "profile: encoder")


def test_a_protocol_without_text_needs_a_task():
    arena = arena_of(models=["linear"], tasks=["listops"], profile={"task": None})
    protocol = arena.protocols["quick"]

    class Without(Arena):
        @property
        def protocols(self):
            tasks = {k: v for k, v in protocol.tasks.items() if k != "text"}
            return {"quick": protocol.model_copy(update={"tasks": tasks})}

    other = Without(arena.root, arena.where, arena.experiment)
    with pytest.raises(
        LRAError, match="profile.task: is missing; protocol 'quick' has no task 'text'"
    ):
        other.check(sources=False)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("tf32", [False, True])
def test_kernels_are_the_settings(kernels, monkeypatch, deterministic, tf32):
    """Seen while a step runs; TF32 on a device that is said to have it."""
    seen = []

    def step(self):
        flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        cudnn = torch.backends.cudnn.benchmark
        seen.append((torch.get_deterministic_debug_mode(), cudnn, *flags))

    monkeypatch.setattr(profile.Workload, "train_step", step)
    monkeypatch.setattr(profile, "has_tf32", lambda device: True)
    device.choose_kernels(1, deterministic=not deterministic, tf32=not tf32)
    assert profile.memory(point(deterministic=deterministic, tf32=tf32))["status"] == "ok"
    assert set(seen) == {(2 if deterministic else 0, not deterministic, tf32, tf32)}


@pytest.mark.parametrize(
    ("cost", "repeats", "steps"), [(0.011, 5, 30), (0.04, 4, 8), (0.1, 3, 3), (9.0, 3, 3)]
)
def test_the_seconds_of_a_profile_are_split_into_repeats(monkeypatch, cost, repeats, steps):
    """A clock that only steps move: never much longer than the seconds, or than three steps."""
    clock, taken = [0.0], []

    def step():
        taken.append(cost)
        clock[0] += cost

    monkeypatch.setattr(profile.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(profile.time, "process_time", lambda: clock[0] / 2)
    found = profile.repeated(step, None, 0.3, torch.device("cpu"))
    assert (len(found.rates), len(taken) - profile.WARM_UP) == (repeats, steps)
    assert found.median == pytest.approx(1 / cost)
    assert found.cpu_share == pytest.approx(0.5)
    assert clock[0] - profile.WARM_UP * cost <= max(3 * cost, 0.3 + 0.3 / 5 + cost) + 1e-9


def test_a_speed_has_its_median_within_the_range_of_its_repeats(kernels):
    found = profile.speed(point())
    for what in ("train", "infer"):
        low, middle, high = (found[f"{what}_steps_per_s{end}"] for end in ("_low", "", "_high"))
        assert 0 < low <= middle <= high
    assert 3 <= found["repeats"] <= 5 and found["cpu_share"] > 0


def test_tf32_on_a_cpu_is_a_status(kernels):
    for measure in (profile.speed, profile.memory):
        measured = measure(point(tf32=True))
        assert measured["status"] == "unsupported" and "has no TF32" in measured["reason"]
        assert not {"train_steps_per_s", "peak_bytes"} & set(measured) and measured["params"]


@pytest.mark.parametrize("masks", [False, True])
def test_the_model_sees_a_mask_of_real_tokens_where_the_task_has_masks(kernels, masks):
    load = profile.Workload(point(masks=masks), torch.device("cpu"))
    given = []
    load.model.register_forward_pre_hook(lambda module, inputs: given.append(inputs))
    load.train_step()
    ((tokens, mask),) = given
    assert (tokens > 0).all()
    assert (
        (mask is not None and mask.shape == tokens.shape and mask.all()) if masks else mask is None
    )


def test_half_precision_takes_less_memory_for_activations(kernels):
    full, half = (
        profile.memory(point(precision=p).model_copy(update={"batch_size": 64}))["peak_bytes"]
        for p in ("float32", "bfloat16")
    )
    assert half < 0.9 * full


def test_record_and_row_say_the_setting(kernels, tmp_path):
    asked = point("half", precision="bfloat16", masks=True, deterministic=True)
    out = tmp_path / "profile/speed/transformer.half/64.json"
    measure_point("speed", asked, out, "code")
    record = read_record(out, SpeedRecord)
    assert (record.model, record.setting, record.precision) == ("transformer", "half", "bfloat16")
    assert (record.deterministic, record.tf32, record.masks) == (True, False, True)
    assert (record.protocol, record.task, record.device[:4]) == ("quick", "text", "cpu:")
    assert record.sizes == "1 layer, 2 heads, dim 32, MLP 32"
    collect("speed", tmp_path, tmp_path / "speed.parquet", [], ["transformer.half"], [], [64])
    (row,) = read_table(tmp_path / "speed.parquet", SpeedRow).to_pylist()
    assert (row["model"], row["setting"], row["deterministic"]) == ("transformer", "half", True)
    assert row["torch_version"] == torch.__version__
    out.rename(tmp_path / "profile/speed/64.json")
    (tmp_path / "profile/speed/transformer").mkdir()
    (tmp_path / "profile/speed/64.json").rename(tmp_path / "profile/speed/transformer/64.json")
    with pytest.raises(LRAError, match=r"is of transformer\.half at 64"):
        collect("speed", tmp_path, tmp_path / "speed.parquet", [], ["transformer"], [], [64])


def test_hours_follow_the_deterministic_profile_where_there_is_one(tmp_path):
    from fabricated import speed_row

    slow = {"setting": "x", "deterministic": True}
    rows = [
        speed_row("linear", train_steps_per_s=9.0),
        speed_row("linear", train_steps_per_s=3.0, **slow),
        speed_row("linear", train_steps_per_s=99.0, setting="y", tf32=True),
        speed_row("linear", train_steps_per_s=98.0, **slow | {"precision": "bfloat16"}),
        speed_row("local", train_steps_per_s=8.0),
    ]
    write_rows(tmp_path / "speed.parquet", rows, SpeedRow)
    assert measured_speeds(tmp_path / "speed.parquet") == {
        ("linear", 1024): (3.0, 32, "cpu: demo"),
        ("local", 1024): (8.0, 32, "cpu: demo, fast kernels"),
    }
