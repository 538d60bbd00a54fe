"""Any change to any key of any file in config/ ends in one line or in a plan; never a traceback."""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lra.config.resolve import Arena
from lra.config.schema import Site, load
from lra.core.errors import LRAError
from lra.planning.estimate import CACHE, Estimates, read_cache
from lra.planning.resources import Requests, node
from tiny import ROOT, examples

EXPERIMENT = {
    "experiment": "small", "protocol": "quick", "tasks": ["listops", "image"],
    "models": ["linear", "transformer"], "seeds": [1, 2], "device": "cpu", "threads": 1,
    "precision": "float32", "data_mirror": "/where", "generate_workers": 2,
    "span": {"models": ["linear"], "samples": 5, "queries": 4},
    "estimate": {"device_memory_gb": 4, "teraflops": 0.05, "bandwidth_gb_s": 8, "kernel_us": 10},
    "profile": {
        "task": "text", "lengths": [256, 512], "batch_size": 1, "seconds": 0.3, "threads": 1,
        "encoder": {"dim": 128, "qkv_dim": 128, "heads": 4, "layers": 4, "mlp_dim": 512},
        "variants": {"tf32": {"tf32": True, "models": ["linear"]}, "exact": {"deterministic": True}},
    },
    "overrides": {
        "encoder": {"dropout": 0.1, "options": {}}, "training": {"betas": [0.9, 0.98], "clip": 1.0},
    },
}  # fmt: skip
FILES = [
    "config/small.yaml", "config/datasets.yaml", "config/site.yaml", "config/protocols/quick.yaml",
    "config/tasks/listops.yaml", "config/models/linear.yaml", "config/models/transformer.yaml",
]  # fmt: skip
NAMES = ["my linear", "a,b", "-x", "..", ".", "", "data", "README.md", "reference", "a/b", "a" * 40,
         "a" * 256, "linear", "listops", "é", "a\nb", "{model}", "$HOME", "a'b", "x" * 100_000]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([None, True, False, [], {}, "", "null", "inf", "nan", 0, -1, 1, 2**31, 2**63 - 1,
                     2**64, int("1" * 22), 10**400, 0.0, -0.5, 1e-320, 1e308, float("inf"),
                     float("-inf"), float("nan"), [None], [[]], {"a": None}, {1: 2}, {"": {}}]),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES).map(lambda name: [name, name]),
    st.sampled_from(NAMES).map(lambda name: {name: {}}),
    st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(0, 3), max_size=3),
)  # fmt: skip
RAW = [b"\xff\xfe", b"\xe9: 1\n", b"\t- b\n", b"[" * 5000, b"word\n", b"- a\n", b"", b"a: [1\n",
       b"\x00", b"a: !!python/object:x {}\n", b"<<: 3\n", b"? [a]\n: 1\n"]  # fmt: skip
OWN = yaml.safe_dump(EXPERIMENT).encode()
tried: Counter[str] = Counter()
numbers = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Roots with a configuration each: the files are cached by their root."""
    yield tmp_path_factory.mktemp("roots")
    print(f"\n{sum(tried.values())} mutations tried: {dict(tried)}")


def root_in(folder: Path) -> Path:
    root = folder / str(next(numbers))
    for file in ROOT.glob("config/**/*.yaml"):
        link = root / file.relative_to(ROOT)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    write(root, FILES[0], OWN)
    return root


@functools.cache
def parsed(name: str) -> dict:
    return EXPERIMENT if name == FILES[0] else yaml.safe_load((ROOT / name).read_text("utf-8"))


def write(root: Path, name: str, content: bytes) -> None:
    (root / name).unlink(missing_ok=True)  # it is a link to ours
    (root / name).write_bytes(content)


def places(tree, prefix=()):
    """Every key and every item of a list, by its path."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in entries:
        yield (*prefix, key)
        if isinstance(value, dict | list):
            yield from places(value, (*prefix, key))


def plan(root: Path) -> str:
    """What a plan takes from the files, or its one line; any other exception is a failure."""
    try:
        arena = Arena.read(root / FILES[0])
        site = load(root / "config/site.yaml", Site, root)
        estimates = Estimates(arena, read_cache(ROOT / CACHE), Path("results"))
        requests = Requests(estimates, site, lambda cell: cell)
        experiment = arena.experiment
        for task, model, seed in itertools.product(
            experiment.tasks, experiment.models, experiment.seeds
        ):
            cell, _ = arena.resolve(task, model, seed)
            assert cell.model_dump_json().count("null") >= 0
            requests.memory(cell, 1), requests.train(cell, 3), requests.span(cell, 1)
        for row, length in itertools.product(arena.profile_rows(), experiment.profile.lengths):
            arena.profile_point(row, length).model_dump_json()
        requests.profile(None, 1), node(site, gpu=True)
    except LRAError as error:
        return str(error)
    return "planned"


def judge(root: Path, kind: str) -> None:
    said = plan(root)
    tried[f"{kind}: {'planned' if said == 'planned' else 'refused'}"] += 1
    if said != "planned":
        assert said.startswith("config/") and ".yaml: " in said, said
        assert said.isprintable(), said
        assert len(said) < 1000, said


def test_the_unchanged_files_are_planned(folder):
    assert plan(root_in(folder)) == "planned"


@settings(parent=examples(300))
@given(st.data())
def test_any_value_at_any_key(folder, data):
    root = root_in(folder)
    name = data.draw(st.sampled_from(FILES))
    tree = copy.deepcopy(parsed(name))
    *above, last = data.draw(st.sampled_from(list(places(tree))))
    owner = tree
    for key in above:
        owner = owner[key]
    change = data.draw(st.sampled_from(["value", "removed", "renamed", "added"]))
    if change == "value":
        owner[last] = data.draw(VALUES)
    elif change == "removed" or isinstance(owner, list):
        del owner[last]
    elif change == "renamed":
        owner[data.draw(st.sampled_from(NAMES))] = owner.pop(last)
    else:
        owner[data.draw(st.sampled_from([*NAMES, 3, None, True]))] = data.draw(VALUES)
    write(root, name, yaml.dump(tree, allow_unicode=True).encode())
    judge(root, change)


@pytest.mark.parametrize("name", FILES)
def test_any_bytes_and_doubled_keys(folder, name):
    own = (root_in(folder) / name).read_bytes()
    for raw in RAW:
        for content in (raw, own + b"\n" + raw):
            root = root_in(folder)
            write(root, name, content)
            judge(root, "bytes")
    root = root_in(folder)
    key = next(iter(yaml.safe_load(own)))
    write(root, name, own + f"\n{key}: 1\n".encode())
    assert re.match(f"{name}: line \\d+: '{key}' stands in line \\d+ already", plan(root))


@pytest.mark.parametrize("odd", [name for name in NAMES[:15] if "/" not in name])
@pytest.mark.parametrize("kind", ["models", "tasks"])
def test_files_with_odd_names(folder, kind, odd):
    """Once such a file is asked for."""
    root = root_in(folder)
    if len(odd) < 250:
        write(root, f"config/{kind}/{odd}.yaml", (ROOT / f"config/{kind}/image.yaml").read_bytes())
    write(root, FILES[0], yaml.dump({**EXPERIMENT, kind: [odd]}, allow_unicode=True).encode())
    judge(root, f"names of {kind}")
