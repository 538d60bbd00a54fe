"""Real data through the DAG: downloaded once, verified, prepared, never prepared by half."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

import archives
from checkout import Checkout
from lra.core.files import sha256
from lra.data.split import read_split


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []  # paths, in order

    def log_message(self, *_arguments) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def served(tmp_path):
    """A folder, its address, and what was asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    Quiet.asked = []
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://localhost:{server.server_port}", Quiet.asked
        server.shutdown()


@pytest.fixture
def text(tmp_path, served) -> tuple[Checkout, Path]:
    """A checkout whose experiment has one task, of two data sets of one archive's making."""
    folder, address, _ = served
    archive = archives.tar(folder / "imdb.tar.gz", archives.imdb(20))
    (tmp_path / "checkout").mkdir()
    checkout = Checkout(tmp_path / "checkout")
    entry = {
        "task": "text", "source": "imdb", "max_len": 100, "options": {"max_length": 99},
        "train": 30, "val": 10, "test": 40, "licence": "test", "citation": "test",
        "archive": {"file": archive.name, "urls": [f"{address}/imdb.tar.gz"],
                    "sha256": sha256(archive)},
    }  # fmt: skip
    datasets = yaml.safe_load((checkout.folder / "config/datasets.yaml").read_text())
    checkout.write("config/datasets.yaml", yaml.safe_dump({**datasets, "text-tiny": entry}))
    protocol = yaml.safe_load((checkout.folder / "config/protocols/tiny.yaml").read_text())
    protocol["tasks"]["text"] = {"dataset": "text-tiny"}
    checkout.write("config/protocols/tiny.yaml", yaml.safe_dump(protocol))
    checkout.edit("config/tiny.yaml", "tasks:\n- listops\n- pathfinder\n", "tasks:\n- text\n")
    return checkout, archive


def test_an_archive_is_downloaded_once_and_another_mirror_changes_nothing(text, served, tmp_path):
    checkout, archive = text
    said = checkout.run("data")
    assert "download imdb.tar.gz" in said
    assert served[2] == ["/imdb.tar.gz"]
    data = checkout.folder / "results/data/text-tiny"
    train, val, test = (read_split(data / f"{split}.arrow") for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (30, 10, 40)
    assert train.info.checksums == {"imdb.tar.gz": sha256(archive)}
    assert "Nothing to be done" in checkout.run("data")
    again = checkout.run("data", "--config", f"data_mirror={tmp_path}/elsewhere")
    assert "Nothing to be done" in again
    checkout.edit("config/datasets.yaml", "max_length: 99\n", "max_length: 50\n")
    assert checkout.plan("data") == {"prepare text-tiny"}


def test_a_mirror_stands_for_the_network(text, served, tmp_path):
    checkout, archive = text
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    archive.rename(mirror / archive.name)
    checkout.run("data", "--config", f"data_mirror={mirror}")
    assert served[2] == []
    assert (checkout.folder / "results/data/text-tiny/train.arrow").exists()


def test_a_lying_server_is_one_line_and_nothing_is_half_prepared(text, served):
    checkout, archive = text
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    done = checkout.snakemake("--configfile", "config/tiny.yaml", "--cores", "2", "data")
    assert done.returncode != 0
    said = [line for line in done.stdout.splitlines() if line.startswith("lra: ")]
    assert len(said) == 1
    assert "imdb.tar.gz" in said[0] and "sha256" in said[0]
    results = checkout.folder / "results/data"
    assert (results / "downloads/imdb.tar.gz.bad").exists()
    assert not (results / "downloads/imdb.tar.gz").exists()
    assert not (results / "text-tiny/train.arrow").exists()
