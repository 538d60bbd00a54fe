"""The parallel driver: same bytes for any number of workers, and nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil
import pyarrow as pa
import pytest
from pydantic import BaseModel

from lra.core.errors import LRAError
from lra.data import generate, listops
from lra.data.generate import generate_dataset
from lra.data.manifest import verify
from lra.data.split import SPLITS, Info, read_split, table_of
from tiny import slow, tmpfs

SMALL = {"min_length": 8, "max_length": 64, "max_depth": 4, "max_args": 5}
TINY = {"min_length": 3, "max_length": 6, "max_depth": 2, "max_args": 3}  # 4,400 expressions
SIZES = {"train": 3000, "val": 400, "test": 500}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows(folder: Path) -> list[tuple[int, ...]]:
    """The tokens of every row of the three splits."""
    splits = [pa.ipc.open_file(folder / f"{split}.arrow").read_all() for split in SPLITS]
    return [tuple(tokens) for split in splits for tokens in split["tokens"].to_pylist()]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("listops-small")
    generate_dataset("listops", SMALL, SIZES, seed=3, out=out)
    return out


@pytest.fixture
def damaged(dataset, tmp_path) -> Path:
    """A copy of the data set, to be damaged."""
    for name, content in files(dataset).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def toy(monkeypatch) -> ModuleType:
    """A task module whose chunk i is ten rows of the number i; tests replace its `chunk`."""

    class Config(BaseModel):
        size: int = 1

    def chunk(config: Config, seed: int, index: int) -> pa.Table:
        values = np.arange(10 * index, 10 * index + 10, dtype=np.uint16)
        return table_of(values, np.arange(11), np.zeros(10))

    module = ModuleType("lra.data.toy")
    module.Config, module.CHUNK, module.chunk = Config, 10, chunk
    module.info = lambda config: Info(
        "toy", 65536, 2, config.size, False, generator={"name": "toy"}
    )
    monkeypatch.setitem(sys.modules, "lra.data.toy", module)
    return module


def test_splits_hold_what_was_asked_for(dataset):
    assert sorted(files(dataset)) == ["dataset.json", "test.arrow", "train.arrow", "val.arrow"]
    manifest = json.loads((dataset / "dataset.json").read_text())
    for split, size in SIZES.items():
        verify(dataset / f"{split}.arrow")
        read = read_split(dataset / f"{split}.arrow")
        assert len(read) == manifest["splits"][split]["rows"] == size
        assert read.info.generator["seed"] == 3
        assert read.info.generator["config"] == listops.Config(**SMALL).model_dump()
        assert read.info == Info(**manifest["info"])


def test_splits_are_consecutive_parts_of_one_stream(dataset):
    stream = listops.generate(sum(SIZES.values()), 3, **SMALL)["tokens"].to_pylist()
    assert rows(dataset) == [tuple(tokens) for tokens in stream]


@pytest.mark.parametrize("workers", [2, 3])
def test_bytes_do_not_depend_on_workers(dataset, tmp_path, workers):
    generate_dataset("listops", SMALL, SIZES, seed=3, out=tmp_path, workers=workers)
    assert files(tmp_path) == files(dataset)


def test_seed_decides_the_bytes(dataset, tmp_path):
    generate_dataset("listops", SMALL, SIZES, seed=3, out=tmp_path / "same")
    generate_dataset("listops", SMALL, SIZES, seed=4, out=tmp_path / "other")
    assert files(tmp_path / "same") == files(dataset)
    assert not set(rows(tmp_path / "other")) & set(rows(dataset)[:5])


def test_no_duplicates_across_splits(tmp_path):
    sizes = {"train": 2000, "val": 1000, "test": 1000}
    config = listops.Config(**TINY)
    raw = pa.concat_tables(listops.chunk(config, 0, index) for index in range(4))
    assert len(set(map(tuple, raw["tokens"].to_pylist()))) < len(raw) == 4000
    generate_dataset("listops", TINY, sizes, seed=0, out=tmp_path)
    assert len(set(rows(tmp_path))) == len(rows(tmp_path)) == 4000


def test_more_examples_than_exist(tmp_path):
    sizes = {"train": 4000, "val": 400, "test": 1}
    with pytest.raises(LRAError, match="4,400 different examples"):
        generate_dataset("listops", TINY, sizes, seed=0, out=tmp_path)
    assert sorted(files(tmp_path)) == ["train.arrow"]  # complete, and no manifest


def test_examples_are_counted_on_stderr(tmp_path, capsys):
    generate_dataset("listops", SMALL, SIZES, seed=3, out=tmp_path)
    shown = capsys.readouterr().err
    assert "3900/3900" in shown
    assert "examples/s" in shown
    assert len(shown.split("\r")) < 5  # a log file is no terminal


@pytest.mark.parametrize(
    ("config", "sizes", "seed", "message"),
    [
        (
            {"max_dept": 4},
            SIZES,
            0,
            r"listops: options\.max_dept: unknown key; did you mean 'max_depth'\?",
        ),
        (
            {"min_length": 70, "max_length": 64},
            SIZES,
            0,
            "listops: options: no length lies between",
        ),
        ({"p_operator": 0.0}, SIZES, 0, "listops: fewer than 1 in 10,000"),
        (SMALL, {"train": 1, "val": 1}, 0, "listops: sizes needs train, val, test"),
        (SMALL, SIZES, -1, "listops: seed -1 is below 0"),
    ],
)
def test_a_bad_request_ends_in_one_line(tmp_path, config, sizes, seed, message):
    with pytest.raises(LRAError, match=message) as raised:
        generate_dataset("listops", config, sizes, seed, tmp_path)
    assert "\n" not in str(raised.value)
    assert not files(tmp_path)


def test_errors_cross_the_process_boundary(tmp_path):
    with pytest.raises(LRAError, match="widen the window"):
        generate_dataset("listops", {"p_operator": 0.0}, SIZES, 0, tmp_path, workers=2)


class _Pool:
    """Stands in for the process pool: runs at once, counts what was asked for."""

    submitted = 0
    failure: Exception | None = None

    def __init__(self, *_args: object, **_options: object) -> None:
        _Pool.submitted = 0

    def submit(self, function, *arguments) -> Future:
        _Pool.submitted += 1
        future: Future = Future()
        if self.failure:
            future.set_exception(self.failure)
        else:
            future.set_result(function(*arguments))
        return future

    def shutdown(self, **_options: object) -> None:
        pass


def test_chunks_in_flight_are_bounded(toy, monkeypatch):
    """Path-X does not fit in memory: nothing is drawn far ahead of what is written."""
    monkeypatch.setattr(generate, "ProcessPoolExecutor", _Pool)
    chunks = generate.stream("toy", toy.Config(), 0, workers=3)
    for used, (table, _) in enumerate(islice(chunks, 50)):
        assert table["tokens"][0].as_py() == [10 * used]
        assert _Pool.submitted - used <= 3 * generate.AHEAD


def test_a_killed_worker_is_one_line(toy, monkeypatch, tmp_path):
    monkeypatch.setattr(generate, "ProcessPoolExecutor", _Pool)
    monkeypatch.setattr(_Pool, "failure", BrokenProcessPool("terminated abruptly"))
    with pytest.raises(LRAError, match="toy: a generator process was killed"):
        generate_dataset("toy", {}, SIZES, 0, tmp_path, workers=2)
    assert not files(tmp_path)


def test_a_failure_midway_leaves_complete_files_only(toy, tmp_path):
    """And takes away the manifest of what was there before."""
    sizes = {"train": 20, "val": 20, "test": 5}
    generate_dataset("toy", {}, sizes, 0, tmp_path)
    good, whole = toy.chunk, files(tmp_path)

    def chunk(config, seed, index):
        if index == 3:
            raise KeyboardInterrupt
        return good(config, seed, index)

    toy.chunk = chunk
    with pytest.raises(KeyboardInterrupt):
        generate_dataset("toy", {}, sizes, 0, tmp_path)
    assert files(tmp_path) == {name: whole[name] for name in whole if name != "dataset.json"}


@pytest.mark.parametrize("split", SPLITS)
def test_a_flipped_bit_is_found(damaged, split):
    path = damaged / f"{split}.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(LRAError, match=f"{split}.arrow: sha256") as raised:
        verify(path)
    assert "\n" not in str(raised.value)
    for other in set(SPLITS) - {split}:
        verify(damaged / f"{other}.arrow")


def test_a_truncated_split_is_found(damaged):
    path = damaged / "val.arrow"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LRAError, match=r"val\.arrow: not a complete Arrow file"):
        read_split(path)
    with pytest.raises(LRAError, match=r"val\.arrow: sha256"):
        verify(path)


def test_missing_and_unreadable_files_are_named(damaged):
    (damaged / "val.arrow").unlink()
    with pytest.raises(LRAError, match=r"val\.arrow: no such file"):
        verify(damaged / "val.arrow")
    for content in ("{", "[]", '{"splits": {"train": 1}}'):
        (damaged / "dataset.json").write_text(content)
        with pytest.raises(LRAError, match=r"dataset\.json: says nothing of train"):
            verify(damaged / "train.arrow")
    (damaged / "dataset.json").unlink()
    with pytest.raises(LRAError, match=r"dataset\.json: no such file"):
        verify(damaged / "train.arrow")


@pytest.fixture
def mounted(tmp_path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    with tmpfs(tmp_path / "disk", "size=256k") as disk:
        yield disk


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_line_and_leaves_nothing(mounted, workers):
    sizes = {"train": 4000, "val": 6000, "test": 500}  # train fits, val does not
    with pytest.raises(LRAError, match=r"val\.arrow: no space left on device$") as raised:
        generate_dataset("listops", SMALL, sizes, 0, mounted, workers)
    assert "\n" not in str(raised.value)
    assert sorted(files(mounted)) == ["train.arrow"]
    assert len(read_split(mounted / "train.arrow")) == 4000


def test_a_read_only_disk_is_one_line(mounted):
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(LRAError, match=r"dataset\.json: read-only file system$"):
        generate_dataset("listops", SMALL, SIZES, 0, mounted)


def test_a_forbidden_folder_is_one_line(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o555)
    with pytest.raises(LRAError, match=r"train\.arrow: permission denied$"):
        generate_dataset("listops", SMALL, SIZES, 0, tmp_path)


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(LRAError, match="out/dataset.json: not a directory"):
        generate_dataset("listops", SMALL, SIZES, 0, tmp_path / "out")


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), *slow([(signal.SIGINT, -2), (signal.SIGKILL, -9)])],
)
def test_a_killed_run_leaves_no_worker_and_nothing_half_written(tmp_path, number, status):
    script = (  # a slow writer, so that the workers are idle when the signal comes
        "import sys, time; from pathlib import Path; from lra.core import progress;"
        "from lra.data import generate; progress.tqdm.update = lambda *_: time.sleep(1);"
        "sizes = {'train': 10**9, 'val': 1, 'test': 1};"
        "generate.generate_dataset('listops', {}, sizes, 0, Path(sys.argv[1]), workers=2)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(generate.__file__).parents[2])}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        partial = tmp_path / "train.arrow.partial"
        while not (partial.exists() and partial.stat().st_size > 1_000_000):
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.05)
        time.sleep(0.5)
        workers = psutil.Process(run.pid).children(recursive=True)
        assert len(workers) >= 2
        if number == signal.SIGINT:
            os.killpg(run.pid, number)  # Ctrl-C reaches the workers too
        else:
            run.send_signal(number)
        run.wait()
        psutil.wait_procs(workers)
        tracebacks = run.stderr.read().count("Traceback")
    assert run.returncode == status
    assert tracebacks == (number == signal.SIGINT)  # the parent's own, which the command line hides
    if number != signal.SIGKILL:  # it gives no time to clean up; the next run overwrites the rest
        assert not files(tmp_path)
    assert not (tmp_path / "train.arrow").exists()
