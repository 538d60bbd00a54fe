"""Mistakes in configuration are one line: file, key, nearest valid choice."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lra import attention
from lra.config.annotate import annotated
from lra.config.resolve import Arena
from lra.config.schema import SCHEMAS, schema
from lra.core.errors import LRAError
from tiny import ROOT


@pytest.fixture
def checkout(tmp_path) -> Path:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path


def rewrite(path: Path, change) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def complaint(root: Path, **given) -> str:
    """What opening the default experiment, changed by `given`, says."""
    from lra.config import resolve

    for cached in (resolve.datasets, resolve._protocol, resolve._task, resolve._model):
        cached.cache_clear()
    file = root / "config/config.yaml"
    with pytest.raises(LRAError) as error:
        Arena.open({**yaml.safe_load(file.read_text()), **given}, [file], root)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_every_experiment_of_the_repository_resolves():
    files = ("config", "open", "paper", "survey", "reach", "reach-full", "pretraining", "rates",
             "ar-quick", "ar-recall", "ar-order", "ar-state", "ar-paper", "table2")  # fmt: skip
    for file in (f"{name}.yaml" for name in files):
        arena = Arena.read(ROOT / "config" / file)
        for task in arena.experiment.tasks:
            for model in arena.experiment.models:
                cell, _ = arena.resolve(task, model, 0)
                assert (cell.task, cell.model) == (task, model)


@pytest.mark.parametrize(
    ("file", "least"), [("config.yaml", 2), ("open.yaml", 3), ("paper.yaml", 3), ("survey.yaml", 3)]
)
def test_every_experiment_profiles_enough_lengths(file, least):
    """Three for exponents; the default one, which has ten minutes, shows none."""
    assert len(Arena.read(ROOT / "config" / file).experiment.profile.lengths) >= least


def test_every_mechanism_has_its_defaults_and_its_place_in_the_survey():
    for name in attention.names():
        assert (ROOT / f"config/models/{name}.yaml").exists()
    assert set(Arena.read(ROOT / "config/survey.yaml").experiment.models) == set(attention.names())


def test_the_default_experiment_has_four_families_and_the_baseline_that_mixes_no_tokens():
    models = Arena.read(ROOT / "config/config.yaml").experiment.models
    families = [attention.info(model).family for model in models]
    assert len(set(families)) == len(families) == 5
    assert {"transformer", "identity"} <= set(models)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"modles": ["linear"]}, "--config: modles: unknown key; did you mean 'models'?"),
        ({"models": ["liner"]}, "config/config.yaml: models: 'liner' is unknown; did you mean 'linear'?"),
        ({"models": "linear"}, "config/config.yaml: models: Input should be a valid list, not 'linear'"),
        ({"models": []}, "config/config.yaml: models: List should have at least 1 item"),
        ({"models": ["linear"] * 2}, "config/config.yaml: models: 'linear' is listed twice"),
        ({"tasks": ["listop"]}, "config/config.yaml: tasks: 'listop' is unknown; did you mean 'listops'?"),
        ({"protocol": "quik"}, "config/config.yaml: protocol: 'quik' is unknown; did you mean 'quick'?"),
        ({"seeds": ["one"]}, "config/config.yaml: seeds.0: Input should be a valid integer"),
        ({"seeds": [-1]}, "config/config.yaml: seeds.0: Input should be greater than or equal to 0, not -1"),
        ({"device": "gpu"}, "config/config.yaml: device: 'gpu' is unknown; did you mean 'cpu'?"),
        ({"precision": "bfloat"}, "--config: precision: 'bfloat' is unknown; did you mean 'bfloat16'?"),
        ({"experiment": "../escape"}, "config/config.yaml: experiment: String should match pattern"),
        ({"overrides": {"training": {"stesp": 5}}},
         "config/config.yaml: overrides.training.stesp: unknown key; did you mean 'steps'?"),
        ({"span": {"modles": ["linear"]}}, "span.modles: unknown key; did you mean 'models'?"),
        ({"span": {"models": ["liner"]}},
         "config/config.yaml: span.models: 'liner' is unknown; did you mean 'linear'?"),
        ({"span": {"models": ["linear"] * 2}}, "config/config.yaml: span.models: 'linear' is listed twice"),
        ({"span": {"samples": 0}}, "config/config.yaml: span.samples: Input should be greater than 0, not 0"),
        ({"variants": {"near": {"options": {}}}}, "variants.near.model: is missing"),
        ({"variants": {"near": {"model": "longfomer"}}},
         "config/config.yaml: variants.near.model: 'longfomer' is unknown; did you mean 'longformer'?"),
        ({"variants": {"local": {"model": "longformer"}}},
         "config/config.yaml: variants.local: config/models/ has a model of this name"),
        ({"variants": {"near": {"model": "local", "option": {}}}},
         "--config: variants.near.option: unknown key; did you mean 'options'?"),
        ({"variants": {"near-4": {"model": "local"}}, "models": ["naer-4"]},
         "config/config.yaml: models: 'naer-4' is unknown; did you mean 'near-4'?"),
        ({"variants": {"near": {"model": "longformer", "options": {"windw": 8}}}, "models": ["near"]},
         "config/config.yaml: variants.near: options.windw: unknown key; did you mean 'window'?"),
        ({"variants": {"near": {"model": "longformer", "training": {"stesp": 8}}}, "models": ["near"]},
         "config/config.yaml: variants.near.training.stesp: unknown key; did you mean 'steps'?"),
        ({"overrides": {"encoder": {"towers": 2}}}, "overrides: encoder.towers: the task's data set it; remove it"),
        ({"overrides": {"encoder": {"heads": 5}}}, "overrides.encoder: heads: 5 heads do not divide qkv_dim 64"),
        ({"models": ["local"], "overrides": {"encoder": {"options": {"blocksize": 5}}}}, "did you mean 'block_size'?"),
        ({"models": ["reformer"], "overrides": {"encoder": {"norm": "batch", "options": {"reversible": True}}}},
         "encoder: norm: reversible layers have no 'batch'; choose 'layer'"),
        ({"overrides": {"encoder": {"pixels": [0.5, 0.5]}}},
         "overrides.encoder: pixels: the tokens of this task are no grey values"),
    ],
)  # fmt: skip
def test_mistakes_in_the_experiment(given, said):
    assert said in complaint(ROOT, **given)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("protocols/quick.yaml", lambda c: c["tasks"]["listops"]["training"].update(stesp=3),
         "config/protocols/quick.yaml: tasks.listops.training.stesp: unknown key; did you mean 'steps'?"),
        ("protocols/quick.yaml", lambda c: c["tasks"]["listops"].update(trainign={}),
         "config/protocols/quick.yaml: tasks.listops.trainign: unknown key; did you mean 'training'?"),
        ("protocols/quick.yaml", lambda c: c["defaults"]["training"].update(schedule="cosin"),
         "config/protocols/quick.yaml: defaults.training.schedule: 'cosin' is unknown; did you mean 'cosine'?"),
        ("protocols/quick.yaml", lambda c: c["tasks"]["listops"].update(dataset="listops-smal"),
         "config/protocols/quick.yaml: tasks.listops.dataset: 'listops-smal' is not in config/datasets.yaml; "
         "did you mean 'listops-small'?"),
        ("protocols/quick.yaml", lambda c: c.update(base="offical"),
         "config/protocols/quick.yaml: base: 'offical' is unknown; did you mean 'official'?"),
        ("protocols/quick.yaml", lambda c: c.update(base="quick"),
         "config/protocols/quick.yaml: base: 'quick' is based on itself"),
        ("protocols/quick.yaml", lambda c: c.update(models={"lcoal": {}}),
         "config/protocols/quick.yaml: models: 'lcoal' is unknown; did you mean 'local'?"),
        ("protocols/quick.yaml", lambda c: c["tasks"]["listops"].update(variant_of="listop"),
         "config/protocols/quick.yaml: tasks: 'listop' is unknown; did you mean 'listops'?"),
        ("protocols/quick.yaml", lambda c: c["tasks"]["listops"].pop("dataset"),
         "config/protocols/quick.yaml: tasks.listops.dataset: is missing"),
        ("protocols/quick.yaml", lambda c: c["tasks"].pop("listops"),
         "config/config.yaml: tasks: protocol 'quick' has no task 'listops'"),
        ("protocols/quick.yaml", lambda c: c["tasks"]["pathfinder"]["models"].update(lcoal={}),
         "config/protocols/quick.yaml: tasks.pathfinder.models: 'lcoal' is unknown; did you mean 'local'?"),
        ("protocols/quick.yaml", lambda c: c["defaults"]["encoder"].update(options=5),
         "config/protocols/quick.yaml: defaults.encoder: options: keys and values are wanted, not 5"),
        ("protocols/quick.yaml", lambda c: c["tasks"]["listops"]["training"].update(learning_rate="inf"),
         "config/protocols/quick.yaml: tasks.listops.training.learning_rate: Input should be a finite number, not 'inf'"),
        ("protocols/quick.yaml", lambda c: c["defaults"]["training"].update(betas=[2, 5]),
         "config/protocols/quick.yaml: defaults.training.betas.0: Input should be less than 1, not 2"),
        ("models/linear.yaml", lambda c: c.update(profile_also={"local": {}}),
         "config/models/linear.yaml: 'local' is the name of another profile row, too"),
        ("datasets.yaml", lambda c: c.update({"a b": c["text"]}),
         "config/datasets.yaml: a b: String should match pattern"),
        ("models/local.yaml", lambda c: c["options"].update(block_sise=4),
         "config/models/local.yaml: options.block_sise: unknown key; did you mean 'block_size'?"),
        ("models/local.yaml", lambda c: c["options"].update(qkv_dim=4),
         "config/models/local.yaml: options.qkv_dim: set encoder.qkv_dim instead"),
        ("models/local.yaml", lambda c: c["options"].update(bias=True),
         "config/models/local.yaml: options.bias: set encoder.bias instead"),
        ("models/transformer.yaml", lambda c: c["options"].update(kernel="fussed"),
         "config/models/transformer.yaml: options.kernel:"),
        ("models/transformer.yaml", lambda c: c["profile_also"]["transformer-materialised"].update(kernel=1),
         "config/models/transformer.yaml: options.kernel:"),
        ("models/linear.yaml", lambda c: c.update(attention="liner"),
         "config/models/linear.yaml: attention: 'liner' is unknown; did you mean 'linear'?"),
        ("tasks/listops.yaml", lambda c: c["encoder"].update(vocab_sise=4),
         "config/tasks/listops.yaml: encoder.vocab_sise: unknown key; did you mean 'vocab_size'?"),
        ("datasets.yaml", lambda c: c["listops-small"].update(trian=4),
         "config/datasets.yaml: listops-small.trian: unknown key; did you mean 'train'?"),
        ("datasets.yaml", lambda c: c["listops-small"]["options"].update(max_dept=4),
         "config/datasets.yaml: listops-small.options.max_dept: unknown key; did you mean 'max_depth'?"),
        ("datasets.yaml", lambda c: c["listops-small"].update(archive=c["text"]["archive"]),
         "config/datasets.yaml: listops-small.archive: source 'listops' reads none; remove it"),
        ("datasets.yaml", lambda c: c["listops-small"].update(source="lra_release"),
         "config/datasets.yaml: listops-small.archive: is missing; source 'lra_release' reads one"),
        ("datasets.yaml", lambda c: c["listops-small"].update(source="listop"),
         "config/datasets.yaml: listops-small.source: 'listop' is unknown; did you mean 'listops'?"),
        ("datasets.yaml", lambda c: c["listops-small"].update(max_len=20),
         "config/datasets.yaml: listops-small.max_len: 20 tokens, but by options its examples have up to 50"),
        ("datasets.yaml", lambda c: c["listops-small"].update(task="pathfinder"),
         "config/protocols/quick.yaml: tasks.listops.dataset: 'listops-small' is a data set of task 'pathfinder'"),
    ],
)  # fmt: skip
def test_mistakes_in_the_other_files(checkout, file, change, said):
    rewrite(checkout / "config" / file, change)
    assert complaint(checkout).startswith(said)


def test_a_file_that_is_not_yaml_is_named(checkout):
    (checkout / "config/protocols/quick.yaml").write_text("a: [1,")
    assert complaint(checkout).startswith("config/protocols/quick.yaml: not YAML")


def test_spans_are_of_the_listed_models_that_the_experiment_has():
    file = ROOT / "config/config.yaml"
    given = yaml.safe_load(file.read_text()) | {"models": ["linear", "set", "local"]}

    def spanned(**span):
        return Arena.open(given | {"span": span}, [file], ROOT).span_models()

    assert spanned() == ["linear", "set", "local"]
    assert spanned(models=["local", "linear", "transformer"]) == ["linear", "local"]
    assert spanned(models=["xl"]) == []


def test_the_default_seed_is_one_of_the_experiment():
    arena = Arena.read(ROOT / "config/config.yaml")
    given = arena.experiment.model_copy(update={"seeds": [5, 6]})
    text = annotated(replace(arena, experiment=given), "listops", "local")
    assert re.search(r"^seed: +5 ", text, re.MULTILINE)


def test_later_layers_win_and_are_named():
    arena = Arena.read(ROOT / "config/config.yaml")
    lines = annotated(arena, "listops", "local", 3).splitlines()
    where = {line.split(":")[0]: line.split("# ")[1] for line in lines}
    assert where["encoder.options.block_size"].endswith("quick.yaml: tasks.listops.models.local")
    assert where["encoder.vocab_size"] == "config/tasks/listops.yaml"
    assert where["training.steps"].endswith("quick.yaml: tasks.listops")
    assert where["training.eval_batch_size"] == "default"


def test_a_variant_is_its_model_with_other_values():
    """Over the protocol's rules for the model, under the experiment's overrides."""
    file = ROOT / "config/config.yaml"
    variants = {
        "near": {"model": "longformer", "options": {"window": 8}, "training": {"steps": 7}},
        "exact": {"model": "transformer"},
    }
    given = yaml.safe_load(file.read_text()) | {
        "models": ["longformer", "near", "transformer", "exact"], "variants": variants,
        "overrides": {"training": {"eval_every": 5}},
    }  # fmt: skip
    arena = Arena.open(given, [file], ROOT)
    plain, near = (arena.resolve("listops", m, 0)[0] for m in ("longformer", "near"))
    assert (plain.encoder.options["window"], near.encoder.options["window"]) == (16, 8)
    assert (near.training.steps, near.training.eval_every) == (7, 5)
    assert (near.model, near.encoder.attention) == ("near", "longformer")
    changed = near.model_copy(update={"model": "longformer", "encoder": plain.encoder,
                                      "training": plain.training})  # fmt: skip
    assert changed == plain
    _, sources = arena.resolve("listops", "near", 0)
    assert sources["encoder.options.window"] == "config/config.yaml: variants.near"
    # the profile follows, and a variant has no second row of its model's
    assert arena.profile_point("near", 256).encoder.options["window"] == 8
    also = {"longformer", "near", "transformer", "transformer-materialised", "exact"}
    assert set(arena.profile_rows()) == also


def test_schemas_in_the_repository_are_the_generated_ones():
    for name in SCHEMAS:
        written = json.loads((ROOT / f"workflow/schemas/{name}.schema.json").read_text())
        assert written == schema(name), "run 'lra schemas workflow/schemas'"
