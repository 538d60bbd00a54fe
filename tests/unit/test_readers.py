"""Published archives become splits: what is read, what is held out, and what is refused."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import archives
from lra.core.errors import LRAError
from lra.core.files import sha256
from lra.data import image, listops, lra_release
from lra.data.recipe import Archive
from lra.data.split import read_split
from prepared import prepare, refused, texts
from tiny import examples

# Text


def test_imdb_is_bytes_plus_one_and_validation_is_held_out_of_train(tmp_path):
    files = archives.imdb()
    archive = archives.tar(tmp_path / "aclImdb_v1.tar.gz", files)
    train, val, test = prepare(archive, tmp_path / "out", "imdb", (15, 5, 20))
    expected = {
        text for name, text in files.items() if "/train/pos" in name or "/train/neg" in name
    }
    assert set(texts(train)) | set(texts(val)) == expected
    assert not set(texts(train)) & set(texts(val))
    for split in (train, val, test):
        for text, label in zip(texts(split), split.labels, strict=True):
            assert (b" pos " in text) == label
    assert 0 < val.labels.sum() < 5
    assert (train.info.vocab_size, train.info.pads, train.info.validation) == (
        257,
        True,
        "held out",
    )


def test_imdb_as_the_official_code_validates_on_the_test_set_and_says_so(tmp_path):
    archive = archives.tar(tmp_path / "aclImdb_v1.tar.gz", archives.imdb())
    train, val, test = prepare(
        archive, tmp_path / "out", "imdb", (20, 20, 20), options={"validation": "test"}
    )
    assert texts(val) == texts(test)
    assert not set(texts(train)) & set(texts(test))
    assert test.info.validation == "test set"


def test_long_documents_lose_their_tail(tmp_path):
    archive = archives.tar(tmp_path / "aclImdb_v1.tar.gz", archives.imdb())
    short = prepare(archive, tmp_path / "short", "imdb", (15, 5, 20), options={"max_length": 30})
    whole = prepare(archive, tmp_path / "whole", "imdb", (15, 5, 20))
    for cut, full in zip(short, whole, strict=True):
        assert texts(cut) == [text[:30] for text in texts(full)]


def test_the_order_of_the_archive_changes_no_byte_and_the_seed_does(tmp_path):
    files = archives.imdb()
    for name, order, seed in (("a", 1, 0), ("b", -1, 0), ("c", 1, 1)):
        archive = archives.tar(tmp_path / name / "x.tar.gz", dict(list(files.items())[::order]))
        prepare(archive, tmp_path / f"{name}-out", "imdb", (15, 5, 20), seed=seed)
    a, b, c = (texts(read_split(tmp_path / f"{n}-out/train.arrow")) for n in "abc")
    assert a == b != c


def test_an_empty_review_is_an_example_without_tokens_and_suffixes_have_any_case(tmp_path):
    files = archives.imdb() | {"aclImdb/train/neg/3_2.txt": b""}
    files["./aclImdb/train/pos/4_9.TXT"] = files.pop("aclImdb/train/pos/4_9.txt")
    archive = archives.tar(tmp_path / "aclImdb_v1.tar.gz", files)
    train, val, _ = prepare(archive, tmp_path / "out", "imdb", (15, 5, 20))
    assert (texts(train) + texts(val)).count(b"") == 1


def test_a_byte_of_255_is_no_text(tmp_path):
    files = archives.imdb() | {"aclImdb/train/neg/3_2.txt": b"caf\xff"}
    archive = archives.tar(tmp_path / "aclImdb_v1.tar.gz", files)
    assert "not UTF-8" in refused(archive, tmp_path / "out", "imdb", (15, 5, 20))


def kinds(count):
    """Rows of `count` texts for each file of the data of Hutto and Gilbert: each names its kind."""
    names = ("tweets", "movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets")
    numbers = [chr(97 + i // 26) + chr(97 + i % 26) for i in range(count)]
    return {
        name: [(f"{i}_1", 0.5, f"{name[:5]} {letters} is text {i}") for i, letters in
               enumerate(numbers)]
        for name in names
    }  # fmt: skip


def test_each_kind_of_text_has_as_many_and_what_is_alike_is_there_once(tmp_path):
    files = kinds(24)
    files["tweets"] += [("x", 1.0, "TWEET aa is text 0!!"), ("y", 1.0, "both have it")]
    files["nytEditorialSnippets"] += [("x", 1.0, "Both have it.")]
    files["movieReviewSnippets"] += [("x", 1.0, "movie reviews are more")]
    archive = archives.vader(tmp_path / "v.zip", files)
    splits = prepare(archive, tmp_path / "out", "kinds", (60, 12, 24))
    found = [text for split in splits for text in texts(split)]
    assert len(set(found)) == len(found)
    assert not any(b"!" in text or b"oth have" in text for text in found)
    assert np.bincount(np.concatenate([split.labels for split in splits])).tolist() == [24] * 4
    for split in splits:
        for text, label in zip(texts(split), split.labels, strict=True):
            kind = [b"tweet", b"movie", b"amazo", b"nytEd"].index(text[:5])
            assert kind == label


def test_a_text_is_cut_and_texts_of_one_beginning_count_once(tmp_path):
    files = kinds(10)
    files["tweets"] += [("x", 0.0, "tweet aa is another"), ("y", 0.0, "Tweet! aa, is it so?")]
    archive = archives.vader(tmp_path / "v.zip", files)
    splits = prepare(archive, tmp_path / "out", "kinds", (30, 4, 6), options={"max_length": 16})
    assert {len(text) for split in splits for text in texts(split)} == {16}


# Retrieval


def test_pairs_of_texts_share_none_between_splits_and_are_labelled_by_kind(tmp_path):
    archive = archives.vader(tmp_path / "v.zip", kinds(101))
    splits = prepare(archive, tmp_path / "out", "kind_pairs", (400, 20, 40))
    seen = []
    for split in splits:
        pairs = list(zip(texts(split), texts(split, 1), strict=True))
        for (a, b), label in zip(pairs, split.labels, strict=True):
            assert a != b and label == (a[:5] == b[:5])
            assert {a[:5], b[:5]} <= {b"tweet", b"amazo"}
        seen.append([text for pair in pairs for text in pair])
        assert 0.2 < split.labels.mean() < 0.8
    train, val, test = map(set, seen)
    assert not (train & val or train & test or val & test)
    assert (len(val), len(test), len(train)) == (40, 80, 82)  # of 202 texts
    assert max(map(seen[0].count, train)) - min(map(seen[0].count, train)) <= 1


def test_aan_has_two_documents_a_row_no_header_and_no_quoting(tmp_path):
    archive = archives.tar(
        tmp_path / "lra_release.gz", archives.aan({"test": 4, "train": 12, "eval": 6})
    )
    train, val, test = prepare(archive, tmp_path / "out", "aan", (12, 6, 4))
    assert texts(train)[3] == b'a paper "3'
    assert texts(train, 1)[3] == b"train of 3"
    assert texts(val, 1)[5] == b"eval of 5"
    assert train.labels.tolist() == [0, 1] * 6
    assert len(test) == 4


def broken(number, line):
    """AAN's training file with another line `number`."""
    files = archives.aan({"train": 12, "eval": 6, "test": 4})
    name = "lra_release/tsv_data/new_aan_pairs.train.tsv"
    lines = files[name].split(b"\n")
    lines[number] = line
    return files | {name: b"\n".join(lines)}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (archives.aan({"train": 11, "eval": 6, "test": 4}),
         "gives 11 examples of train, not the 12 that config/datasets.yaml says"),
        (archives.aan({"train": 12, "test": 4}), "has no new_aan_pairs.eval.tsv"),
        (broken(5, b"1.0\tP\tQ\tonly four"), "new_aan_pairs.train.tsv: line 6: 4 columns, not 5"),
        (broken(5, b"2.0\tP\tQ\ta\tb"), "new_aan_pairs.train.tsv: line 6: label '2.0' is neither"),
        (broken(5, b"yes\tP\tQ\ta\tb"), "new_aan_pairs.train.tsv: line 6: label 'yes' is neither"),
    ],
    ids=["short", "missing", "column", "label", "no-number"],
)  # fmt: skip
def test_a_bad_content_is_one_line_and_the_archive_stays(tmp_path, files, said):
    archive = archives.tar(tmp_path / "lra_release.gz", files)
    line = refused(archive, tmp_path / "out", "aan", (12, 6, 4))
    assert line.startswith(f"{archive}: ")
    assert said in line
    assert archive.exists()


def test_the_lines_of_aan_may_be_long_empty_crlf_and_begin_with_a_mark(tmp_path):
    files = archives.aan({"train": 12, "eval": 6, "test": 4})
    name = "lra_release/tsv_data/new_aan_pairs.train.tsv"
    rows = [b"\xef\xbb\xbf0.0\tP\tQ\t\t", b"", b"1\tP\tQ\t" + b"x" * 20_000_000 + b"\tb"]
    rows += [b"1.0\tP\tQ\ta\tb"] * 10
    files[name] = b"\r\n".join([*rows, b"", b""])
    archive = archives.tar(tmp_path / "lra_release.gz", files)
    train, *_ = prepare(archive, tmp_path / "out", "aan", (12, 6, 4))
    assert texts(train)[:3] == [b"", b"x" * 4000, b"a"]
    assert texts(train, 1)[:3] == [b"", b"b", b"b"]


@pytest.mark.parametrize("is_pinned", [True, False])
def test_the_right_archive_under_a_wrong_configuration_stays(tmp_path, is_pinned):
    archive = archives.tar(tmp_path / "r.gz", archives.aan({"train": 12, "eval": 6, "test": 4}))
    pin = {"sha256": sha256(archive)} if is_pinned else {}
    pinned = Archive(file="r.gz", urls=["http://localhost/"], **pin)
    assert "not the 13" in refused(archive, tmp_path / "out", "aan", (13, 6, 4), pinned=pinned)
    assert archive.exists()


def some(source):
    """The files of a small archive of a source, the sizes of its data set, its options."""
    rng = np.random.default_rng(0)
    if source == "imdb":
        return archives.imdb(), (15, 5, 20), {}
    if source == "aan":
        return archives.aan({"train": 12, "eval": 6, "test": 4}), (12, 6, 4), {}
    if source == "cifar10":
        return archives.cifar10(4, rng)[0], (18, 2, 4), {}
    if source == "digits":
        values = np.concatenate(
            [rng.integers(17, size=(30, 64)), rng.integers(10, size=(30, 1))], 1
        )
        return archives.digits(values), (20, 4, 6), {}
    images = {f"0/{i}": rng.integers(256, size=(32, 32), dtype=np.uint8) for i in range(10)}
    files = archives.pathfinder("lra_release/pathfinder32", images)
    return files, (6, 2, 2), {"size": 32}


@pytest.mark.parametrize("source", ["imdb", "aan", "cifar10", "digits", "lra_release"])
@examples(60)
@given(data=st.data())
def test_whatever_a_file_holds_it_is_one_line_and_the_archive_stays(tmp_path_factory, source, data):
    files, sizes, options = some(source)
    name = data.draw(st.sampled_from(sorted(files)), label="name")
    kind = data.draw(st.sampled_from(["other", "cut", "changed", "inserted"]), label="kind")
    old, place = files[name], data.draw(st.integers(0, len(files[name])), label="place")
    new = data.draw(st.binary(max_size=20), label="new")
    after = {"other": b"", "cut": b"", "changed": old[place + len(new) :], "inserted": old[place:]}
    before = b"" if kind == "other" else old[:place]
    files[name] = before + (b"" if kind == "cut" else new) + after[kind]
    folder = tmp_path_factory.mktemp("any")
    archive = archives.tar(folder / "x.tar.gz", files)
    try:
        prepare(archive, folder / "out", source, sizes, options=options)
    except LRAError as error:
        assert str(error).startswith(f"{archive}: ") and "\n" not in str(error)
    assert archive.exists()


@pytest.mark.parametrize(
    "inner",
    [b"", b"no archive", gzip.compress(b"no tar"), b"\x1f\x8b\x08cut"],
    ids=["empty", "no archive", "no tar", "cut"],
)
def test_a_bad_archive_in_an_archive_is_one_line(tmp_path, inner):
    archive = tmp_path / "v.zip"
    with zipfile.ZipFile(archive, "w") as outer:
        outer.writestr("v-0.5/hutto_ICWSM_2014.tar.gz", inner)
    line = refused(archive, tmp_path / "out", "kinds", (10, 4, 6))
    assert line.startswith(f"{archive}: v-0.5/hutto_ICWSM_2014.tar.gz: ")
    assert archive.exists()


def test_a_line_of_other_columns_and_a_missing_file_are_named(tmp_path):
    files = kinds(3)
    files["tweets"][2] = ("2", 1.0, "te\txt")
    line = refused(archives.vader(tmp_path / "v.zip", files), tmp_path / "out", "kinds", (6, 2, 4))
    assert "tweets_GroundTruth.txt: line 3: 4 columns, not 3" in line
    del files["tweets"]
    line = refused(archives.vader(tmp_path / "w.zip", files), tmp_path / "out", "kinds", (6, 2, 4))
    assert line.endswith("hutto_ICWSM_2014.tar.gz: has no tweets_GroundTruth.txt")


def test_a_missing_archive_is_one_line(tmp_path):
    path = tmp_path / "none.gz"
    assert refused(path, tmp_path / "out", "aan", (1, 1, 1)) == f"{path}: no such file"


def test_a_label_that_no_class_has_is_one_line(tmp_path):
    values = np.full((30, 65), 11)
    archive = archives.tar(tmp_path / "s.tar.gz", archives.digits(values))
    line = refused(archive, tmp_path / "out", "digits", (20, 4, 6))
    assert line.endswith("has label 11; labels are 0 to 9")


def test_a_truncated_archive_is_one_line_and_set_aside(tmp_path):
    archive = archives.tar(tmp_path / "r.gz", archives.aan({"train": 500, "eval": 6, "test": 4}))
    archive.write_bytes(archive.read_bytes()[:-200])
    assert str(archive) in refused(archive, tmp_path / "out", "aan", (500, 6, 4))
    assert not archive.exists()


# Image


def test_cifar10_is_grey_and_the_last_of_train_validate(tmp_path):
    files, pixels = archives.cifar10(4, np.random.default_rng(0))
    archive = archives.tar(tmp_path / "cifar-10-python.tar.gz", files)
    train, val, test = prepare(archive, tmp_path / "out", "cifar10", (18, 2, 4))
    shown = np.concatenate(
        [split.towers[0].values.reshape(-1, 1024) for split in (train, val, test)]
    )
    red, green, blue = pixels.reshape(-1, 3, 1024).transpose(1, 0, 2).astype(np.float64)
    share = (0.2989 * red + 0.5870 * green + 0.1140 * blue) / 255
    assert (shown == np.floor(share * 255.5)).all()
    assert np.abs(shown - (0.2989 * red + 0.5870 * green + 0.1140 * blue)).max() <= 1
    assert test.labels.tolist() == [0, 1, 2, 3]
    assert (train.info.vocab_size, train.info.classes, train.info.pads) == (256, 10, False)


def test_white_stays_white():
    assert (image.grey(np.full((1, 3, 2), 255, np.uint8)) == 255).all()


def test_a_pickle_that_wants_more_than_arrays_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/evil",)

    files = {"cifar-10-batches-py/data_batch_1": pickle.dumps(Evil())}
    archive = archives.tar(tmp_path / "cifar-10-python.tar.gz", files)
    assert "data_batch_1: not a batch of CIFAR-10" in refused(
        archive, tmp_path / "out", "cifar10", (18, 2, 4)
    )
    assert not (tmp_path / "evil").exists()


def test_digits_span_all_grey_values_and_no_example_is_lost(tmp_path):
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.integers(17, size=(30, 64)), rng.integers(10, size=(30, 1))], 1)
    archive = archives.tar(tmp_path / "s.tar.gz", archives.digits(values))
    splits = prepare(archive, tmp_path / "out", "digits", (20, 4, 6))
    rows = np.concatenate([split.towers[0].values.reshape(-1, 64) for split in splits])
    assert sorted(map(bytes, rows)) == sorted(
        map(bytes, np.round(values[:, :64] * 15.9375).astype(np.uint8))
    )
    assert {rows.min(), rows.max()} == {0, 255}


# The published ListOps and Pathfinder


def written(tokens) -> str:
    """As the published files write an expression: `]` for X, and parentheses that mean nothing."""
    return " ".join(
        {"X": "] )"}.get(word, f"( {word}" if word.startswith("[") else word)
        for word in (listops.VOCAB[token] for token in tokens)
    )


def test_published_listops_reads_as_what_we_generate(tmp_path):
    table = listops.generate(60, seed=5, min_length=4, max_length=60)
    rows = [
        f"{written(tokens)}\t{label}"
        for tokens, label in zip(
            table["tokens"].to_pylist(), table["label"].to_pylist(), strict=True
        )
    ]
    files = {}
    for split, part in (("train", rows[:40]), ("val", rows[40:50]), ("test", rows[50:])):
        name = f"lra_release/listops-1000/basic_{split}.tsv"
        files[name] = "\n".join(["Source\tTarget", *part, ""]).encode()
    archive = archives.tar(tmp_path / "lra_release.gz", files)
    splits = prepare(archive, tmp_path / "out", "lra_release", (40, 10, 10))
    found = [
        split.towers[0].values[a:b].tolist()
        for split in splits
        for a, b in zip(split.towers[0].offsets, split.towers[0].offsets[1:], strict=False)
    ]
    assert found == table["tokens"].to_pylist()
    assert np.concatenate([s.labels for s in splits]).tolist() == table["label"].to_pylist()
    assert splits[0].info.vocab == listops.VOCAB
    files["lra_release/listops-1000/basic_val.tsv"] = b"Source\tTarget\n( [AVG 1 2 ] )\t1\n"
    archive = archives.tar(tmp_path / "lra_release.gz", files)
    assert "basic_val.tsv: line 2: is not ListOps" in refused(
        archive, tmp_path / "bad", "lra_release", (40, 10, 10)
    )


@given(
    st.lists(st.lists(st.integers(1, 16), max_size=9), min_size=1, max_size=5), st.integers(1, 9)
)
def test_shortened_keeps_the_first_tokens_of_each(examples, length):
    offsets = np.cumsum([0, *map(len, examples)])
    values = np.array([token for example in examples for token in example], np.uint8)
    short, places = lra_release.shortened(values, offsets, length)
    found = [short[a:b].tolist() for a, b in zip(places, places[1:], strict=False)]
    assert found == [example[:length] for example in examples]


@pytest.mark.parametrize("is_counted", [True, False], ids=["counted", "known"])
def test_published_pathfinder_leaves_out_the_empty_image_and_reads_the_fuller_tree(
    tmp_path, capfd, is_counted
):
    rng = np.random.default_rng(0)

    def draw(batches):
        return {f"{b}/{i}": rng.integers(256, size=(32, 32), dtype=np.uint8)
                for b in range(batches) for i in range(10)}  # fmt: skip

    full, part = draw(3), draw(2)
    files = archives.pathfinder("lra_release/lra_release/pathfinder32", full)
    files |= archives.pathfinder("lra_release/pathfinder32", part)
    files |= archives.pathfinder("lra_release/pathfinder32", draw(2), "curv_baseline")
    empty = "lra_release/lra_release/pathfinder32/curv_contour_length_14/imgs/0/sample_7.png"
    files[empty] = b""
    archive = archives.tar(tmp_path / "lra_release.gz", files)
    sizes = (23, 3, 4) if is_counted else (23, 3, 3)
    splits = prepare(archive, tmp_path / "out", "lra_release", sizes, options={"size": 32})
    assert len(splits[2].labels) == 3
    assert json.loads((tmp_path / "out/dataset.json").read_text())["left_out"] == {
        empty: "an empty file"
    }
    assert f"{empty}: left out of test: an empty file" in capfd.readouterr().err
    odd = {pixels.tobytes(): int(place[-1]) % 2 for place, pixels in full.items() if place != "0/7"}
    found = {}
    for split in splits:
        rows = split.towers[0].values.reshape(-1, 1024)
        found |= {row.tobytes(): int(label) for row, label in zip(rows, split.labels, strict=True)}
    assert found == odd
