"""Whoever edits an archive, and its SHA256SUMS to match, is found, and the file named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from handmade import CELL, DATA, HOME, TABLE, Handmade

import crate_profile
from forged import entries_of, forged, read
from lra.archive.descriptions import METADATA
from lra.archive.verify import verify
from lra.results.records import PredictionRow, write_rows

AGREES = "crate, records: agree with one another"
TRAIN_LOG = "results/demo/logs/train.log"


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    handmade = Handmade(tmp_path_factory.mktemp("handmade"))
    path = tmp_path_factory.mktemp("archive") / "any name.zip"
    handmade.archive(path)
    return path


def test_what_was_not_edited_agrees_though_something_private_was_replaced(archive):
    assert read(archive, TRAIN_LOG) == b"trained in <home>/lra\n"
    said = []
    verify(archive, 0, 1, said.append)  # and then wants a Snakefile that can do something
    assert AGREES in said


def test_the_name_of_the_zip_changes_no_byte(archive, tmp_path):
    assert b"lra verify demo.zip" in read(archive, "README.md")


@pytest.mark.parametrize(
    "name, old, new, line",
    [
        ("README.md", "75", "99", "README.md: is not what the other files give"),
        (TABLE, "75", "99", f"{TABLE}: is not the file that {METADATA} describes"),
        (TRAIN_LOG, "trained", "turned", f"{TRAIN_LOG}: is not the file that {METADATA} describes"),
        (METADATA, '"name": "Long Range Arena: ', '"name": "Short',
         f"{METADATA}: ./: name: 'Short.*, but other files give 'Long.*"),
        (METADATA, '"description": "lra evaluate"', '"description": "edit"',
         f"{METADATA}: #job/.*: description: 'edit', but other files give 'lra evaluate'"),
        (METADATA, r'"https://w3id.org/ro/crate/1.1"\n', '"https://w3id.org/ro/crate/9"\n',
         f"{METADATA}: {METADATA}: conformsTo: .*, but other files give .*"),
        (f"{CELL}/score.json", '"loss": 0.7', '"loss": 0.1',
         f"{CELL}/score.json: is not what `table: .*` read"),
        (f"{CELL}/config.yaml", "dropout: 0.1", "dropout: 0.2",
         f"{CELL}/config.yaml: is not what `evaluate: .*` read"),
        (f"{CELL}/score.json", '"accuracy": 75.0', '"accuracy": NaN',
         f"{CELL}/score.json: accuracy nan is not the 75 of predictions.parquet"),
        (f"{CELL}/score.json", '"n_test": 4', '"n_test": 5',
         f"{CELL}/score.json: n_test 5, 4 predictions and 4 examples differ"),
        (f"{CELL}/score.json", '"status": "ok"', '"status": "oom"',
         f"{CELL}/score.json: status oom is not the ok of train.json"),
        (f"{CELL}/train.json", '"chosen_step": 5', '"chosen_step": 6',
         f"{CELL}/train.json: history.parquet has no validation at step 6"),
        (f"{CELL}/train.json", '"val_accuracy": 61.0', '"val_accuracy": null',
         f"{CELL}/train.json: val_accuracy None is not the 61 of history.parquet"),
        (f"{CELL}/train.json", '"fingerprint": "f', '"fingerprint": "0',
         f"{CELL}/train.json: its fingerprint is not that of its job in jobs.json"),
        (f"{DATA}/dataset.json", '"rows": 4', '"rows": 5',
         f"{DATA}/dataset.json: is not what `train: .*` read"),
        ("archive.json", '"cpu: demo', '"cuda: B200',
         "archive.json: hardware: cuda: B200, .*: 2, but other files give None"),
        ("archive.json", '"licence": "test"', '"licence": "CC0"',
         "archive.json: data: listops-tiny: licence: 'CC0', but other files give 'test'"),
        ("archive.json", '"seed": 0', '"seed": 1',
         "archive.json: data: listops-tiny: seed: 1, but other files give 0"),
        ("archive.json", r'"changed": \[\]', '"changed": ["Snakefile"]',
         "README.md: is not what the other files give"),
        ("archive.json", '"protocol": "tiny"', '"protocol": "official"',
         "archive.json: protocol: 'official', but other files give 'tiny'"),
        ("archive.json", '(test.arrow": )"\\w+', '\\1"abc',
         f"archive.json: omitted: {DATA}/test.arrow: 'abc', but other files give .*"),
        ("archive.json", '(safetensors": )"\\w+"', '\\1null',
         "archive.json: omitted: .*safetensors: None, but other files give .*"),
        ("archive.json", re.escape(TABLE), f"{CELL}/score.json",
         "jobs.json: its jobs are not those that the targets of archive.json come from"),
        ("archive.json", '"commit": "\\w', '"commit": "x', "README.md: is not what the other files give"),
        ("archive.json", '"format": 2', '"format": 1',
         "archive.json: format: Input should be 2, not 1"),
        ("jobs.json", '"starttime": 1', '"starttime": 2',
         f"{METADATA}: #job/.*: startTime: '2.*', but other files give .*"),
        ("jobs.json", f'"log": \\[\n   "{TRAIN_LOG}', '"log": [\n   "/etc/cron.d/x',
         "jobs.json: /etc/cron.d/x is not below results/"),
        ("experiment.yaml", "batch_size: 1", "batch_size: 2",
         f"experiment.yaml: is not the file that {METADATA} describes"),
    ],
)  # fmt: skip
def test_an_edit_is_found_and_named(archive, tmp_path, name, old, new, line):
    text, count = re.subn(old, new, read(archive, name).decode(), count=1)
    assert count
    found = verify(forged(tmp_path / "t.zip", archive, **{name: text.encode()}), 0, 1, print)
    assert any(re.fullmatch(line, each) for each in found), found


def crate_without(archive: Path, name: str) -> bytes:
    crate = json.loads(read(archive, METADATA))
    graph = [entity for entity in crate["@graph"] if entity["@id"] != name]
    for entity in graph:
        if entity["@id"] == "./":
            entity["hasPart"] = [part for part in entity["hasPart"] if part["@id"] != name]
    return json.dumps(crate | {"@graph": graph}).encode()


@pytest.mark.parametrize("name", ["run-me.sh", f"{CELL}/more.json"])
def test_an_added_file_is_found(archive, tmp_path, name):
    bad = forged(tmp_path / "t.zip", archive, **{name: b"{}"})
    assert verify(bad, 0, 1, print) == [f"{name}: is there, and no job of jobs.json made it"]


def test_a_log_that_is_left_out_of_all_lists_is_found(archive, tmp_path):
    gone = {TRAIN_LOG: None, METADATA: crate_without(archive, TRAIN_LOG)}
    bad = forged(tmp_path / "t.zip", archive, **gone)
    line = f"{TRAIN_LOG}: is missing, and archive.json does not say why"
    assert verify(bad, 0, 1, print) == [line]


def test_a_record_cannot_be_left_out(archive, tmp_path):
    name = "results/demo/tables/accuracy.json"
    about, jobs = (json.loads(read(archive, each)) for each in ("archive.json", "jobs.json"))
    about["omitted"][name] = None
    next(job for job in jobs if TABLE in job["output"])["output"].insert(0, name)
    edits = {"archive.json": json.dumps(about).encode(), "jobs.json": json.dumps(jobs).encode()}
    found = verify(forged(tmp_path / "t.zip", archive, **edits), 0, 1, print)
    assert found == [f"{name}: no such file; run snakemake again"]


@pytest.mark.parametrize("name", ["archive.json", "jobs.json", "experiment.yaml"])
def test_a_part_that_is_missing_is_found(archive, tmp_path, name):
    bad = forged(tmp_path / "t.zip", archive, **{name: None})
    assert verify(bad, 0, 1, print) == [f"{name}: is missing"]


def test_a_file_that_the_crate_alone_misses_is_found(archive, tmp_path):
    bad = forged(tmp_path / "t.zip", archive, **{METADATA: crate_without(archive, TRAIN_LOG)})
    assert any(line.startswith(f"{METADATA}: {TRAIN_LOG}: ") for line in verify(bad, 0, 1, print))


def test_no_predictions_are_a_finding(archive, tmp_path):
    write_rows(tmp_path / "none.parquet", [], PredictionRow)
    name = f"{CELL}/predictions.parquet"
    bad = forged(tmp_path / "t.zip", archive, **{name: (tmp_path / "none.parquet").read_bytes()})
    line = f"{CELL}/score.json: n_test 4, 0 predictions and 4 examples differ"
    assert line in verify(bad, 0, 1, print)


def test_a_cell_without_a_result_has_no_predictions(archive, tmp_path):
    lost = {
        f"{CELL}/{name}": re.sub('"status": "ok"', '"status": "oom"',
                                 read(archive, f"{CELL}/{name}").decode()).encode()
        for name in ("score.json", "train.json")
    }  # fmt: skip
    found = verify(forged(tmp_path / "t.zip", archive, **lost), 0, 1, print)
    assert f"{CELL}/score.json: status oom, and there are results" in found


ODD = [
    "5",
    '{"@graph": [1]}',
    '{"@graph": ' + "[" * 100_000,
    '{"@graph": [{"@id": "./"}, {"@id": 5, "@type": "File"}]}',
    '{"@graph": [{"@id": {}}]}',
    '{"@graph": [{"@id": "ro-crate-metadata.json", "about": null}, {"@id": "./", "name": {}}]}',
]


@pytest.mark.parametrize("metadata", ODD, ids=range(len(ODD)))
def test_odd_metadata_is_a_finding(archive, tmp_path, metadata):
    found = verify(
        forged(tmp_path / "t.zip", archive, **{METADATA: metadata.encode()}), 0, 1, print
    )
    assert found and all(METADATA in line and "\n" not in line for line in found)


@pytest.mark.slow
def test_the_metadata_is_of_its_profile(archive):
    metadata = json.loads(read(archive, METADATA))
    assert crate_profile.problems(metadata) == []
    for entity in metadata["@graph"]:
        if entity["@id"] == "#step/evaluate":
            entity["@type"] = "HowToLeap"
        if entity["@id"] == METADATA:
            entity["conformsTo"] = {"@id": "https://w3id.org/ro/crate/9"}
    found = crate_profile.problems(metadata)
    assert [line[: line.rindex(": ")] for line in found] == [
        f"#control/{CELL}/predictions.parquet: instrument",
        f"{METADATA}: conformsTo",
    ]


def test_an_archive_has_not_the_home_of_its_owner(archive):
    assert [
        name for name, entry in entries_of(archive).items() if HOME.encode() in entry.content
    ] == []
