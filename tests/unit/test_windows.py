"""Bytes: windows of enwik8's three parts, and what they cost without a network."""

from __future__ import annotations

import gzip
import lzma
import zipfile

import numpy as np
import pytest

from lra.data import enwik8_windows
from lra.data.generate import generate_dataset
from lra.evaluation.floors import floors
from prepared import prepare, refused

TEXT = bytes(np.random.default_rng(2).choice(np.arange(97, 105, dtype=np.uint8), 1000))


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A zip with 1,000 bytes, whose parts are 600, 200 and 200 of them."""
    parts = {"train": slice(0, 600), "val": slice(600, 800), "test": slice(800, 1000)}
    monkeypatch.setattr(enwik8_windows, "PARTS", parts)
    with zipfile.ZipFile(tmp_path / "x.tar.gz", "w") as file:
        file.writestr("enwik8", TEXT)
    return tmp_path / "x.tar.gz"


def test_windows_are_the_text_in_order_and_no_part_has_anothers_bytes(archive, tmp_path):
    sizes, options = (40, 10, 12), {"max_length": 15}
    found = prepare(archive, tmp_path / "out", "enwik8_windows", sizes, options=options)
    for split, start, count in zip(found, (0, 600, 800), sizes, strict=True):
        assert split.towers[0].values.tobytes() == TEXT[start : start + 15 * count]
        assert set(np.diff(split.towers[0].offsets)) == {15}
        assert not split.labels.any() and split.counted is None and not split.info.pads
    said = refused(archive, tmp_path / "no", "enwik8_windows", (41, 10, 12), options=options)
    assert "gives 40 examples of train, not the 41" in said


def test_the_published_parts_are_90_5_and_5_million_bytes():
    ends = [(part.start, part.stop) for part in enwik8_windows.PARTS.values()]
    assert ends == [(0, 90 * 10**6), (90 * 10**6, 95 * 10**6), (95 * 10**6, 10**8)]


def test_the_floors_of_bytes_are_those_of_the_same_test_bytes(archive, tmp_path):
    prepare(archive, tmp_path / "out", "enwik8_windows", (40, 10, 12), options={"max_length": 15})
    found = {each.kind: each for each in floors(tmp_path / "out")}
    test, train = TEXT[800:980], TEXT[:600]
    assert found["uniform"].bits == 8
    assert found["gzip"].bits == 8 * len(gzip.compress(test, 9, mtime=0)) / 180
    xz = lzma.compress(test, preset=9 | lzma.PRESET_EXTREME)
    assert found["xz"].bits == 8 * len(xz) / 180
    share = {byte: (train.count(byte) + 1) / (600 + 256) for byte in test}
    by_hand = -sum(np.log2(share[byte]) for byte in test) / 180
    assert found["token frequencies"].bits == pytest.approx(by_hand)
    most = max(set(train), key=train.count)
    assert found["token frequencies"].accuracy == pytest.approx(100 * test.count(most) / 180)


def test_the_floors_of_recall_are_guesses_of_a_value_and_of_the_contexts_values(tmp_path):
    options = {"max_length": 32, "vocab_size": 64, "pairs": [2, 4]}
    generate_dataset("recall", options, {"train": 10, "val": 10, "test": 500}, 0, tmp_path)
    uniform, context = floors(tmp_path)
    assert (uniform.bits, uniform.accuracy) == (5, 100 / 32)
    # about half of the examples have 2 answers of a bit each, the others 4 of two bits
    assert context.bits == pytest.approx((2 * 1 + 4 * 2) / 6, abs=0.05)
    assert context.accuracy == pytest.approx(100 * 2 / 6, abs=1.5)
