"""Small archives in the true layouts of the published data sets."""

from __future__ import annotations

import csv
import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def imdb(reviews: int = 10) -> dict[str, bytes]:
    """`reviews` of each part and side, and what else the archive has."""
    files = {"aclImdb/README": b"readme", "aclImdb/train/unsup/0_0.txt": b"not rated"}
    for part in ("test", "train"):
        for side, stars in (("neg", 2), ("pos", 9)):
            files[f"aclImdb/{part}/urls_{side}.txt"] = b"http://x"
            for number in range(reviews):
                text = f"{part} {side} review {number}<br />très " + "long " * number
                files[f"aclImdb/{part}/{side}/{number}_{stars}.txt"] = text.encode()
    return files


def vader(path: Path, files: dict[str, list[tuple[str, float, str]]]) -> Path:
    """A zip that holds a tar.gz that holds the ratings; CRLF, as there."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        for name, rows in files.items():
            content = "".join(f"{i}\t{rating}\t{text}\r\n" for i, rating, text in rows).encode()
            entry = tarfile.TarInfo(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("vaderSentiment-0.5/README.txt", "readme")
        outer.writestr(
            "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz", inner.getvalue()
        )
    return path


def aan(rows: dict[str, int], text: str = "a paper") -> dict[str, bytes]:
    files = {"lra_release/README": b"readme"}
    for part, count in rows.items():
        lines = (f'{i % 2}.0\tP{i}\tQ{i}\t{text} "{i}\t{part} of {i}\n' for i in range(count))
        files[f"lra_release/tsv_data/new_aan_pairs.{part}.tsv"] = "".join(lines).encode()
    return files


def cifar10(images: int, rng: np.random.Generator) -> tuple[dict[str, bytes], np.ndarray]:
    """Six batches of as many images, and all pixels (6, images, 3072), the test batch's last."""
    pixels = rng.integers(256, size=(6, images, 3072), dtype=np.uint8)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    files = {}
    for name, batch in zip(names, pixels, strict=True):
        labels = [i % 10 for i in range(images)]
        content = {b"batch_label": name.encode(), b"labels": labels, b"data": batch}
        files[f"cifar-10-batches-py/{name}"] = pickle.dumps(content, protocol=2)
    return files, pixels


def digits(values: np.ndarray) -> dict[str, bytes]:
    """values (n, 65): 64 pixels of 0 to 16, the digit."""
    text = io.StringIO()
    csv.writer(text).writerows(values.tolist())
    name = "scikit_learn-1.8.0/sklearn/datasets/data/digits.csv.gz"
    return {"scikit_learn-1.8.0/README.rst": b"x", name: gzip.compress(text.getvalue().encode())}


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()


def pathfinder(
    tree: str, images: dict[str, np.ndarray], variant: str = "curv_contour_length_14"
) -> dict[str, bytes]:
    """ "<batch>/<i>" -> pixels; the label is whether i is odd. Metadata is text named .npy."""
    files, lines = {}, {}
    for place, pixels in images.items():
        batch, number = place.split("/")
        files[f"{tree}/{variant}/imgs/{batch}/sample_{number}.png"] = png(pixels)
        line = f"imgs/{batch} sample_{number}.png {number} {int(number) % 2} 1.0 14 4 2 0.5 1 0.75"
        lines.setdefault(batch, []).append(line)
    for batch, text in lines.items():
        files[f"{tree}/{variant}/metadata/{batch}.npy"] = "\n".join(text).encode()
    return files
