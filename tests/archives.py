"""Small archives in the true layouts of the published data sets."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

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


def deb(path: Path, files: dict[str, bytes]) -> Path:
    """A Debian package, as ar packs it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./usr/share/datasets/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    packed = b"!<arch>\n"
    for name, content in parts.items():
        packed += f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        packed += content + b"\n" * (len(content) % 2)
    path.write_bytes(packed)
    return path


def fashion(train: int, test: int, rng: np.random.Generator) -> tuple[dict[str, bytes], np.ndarray]:
    """The four files of as many images, and the pixels (train + test, 28, 28); labels are i % 10."""
    pixels = rng.integers(256, size=(train + test, 28, 28), dtype=np.uint8)
    files, labels = {}, np.arange(train + test, dtype=np.uint8) % 10
    for part, own in (("train", slice(train)), ("t10k", slice(train, None))):
        count = len(pixels[own])
        images = struct.pack(">4I", 0x803, count, 28, 28) + pixels[own].tobytes()
        answers = struct.pack(">2I", 0x801, count) + labels[own].tobytes()
        files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(images)
        files[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(answers)
    return {f"fashion-mnist-master/data/fashion/{name}": files[name] for name in files}, pixels


def mails(texts: list[tuple[str, bytes]]) -> dict[str, bytes]:
    """(group, whole mail) -> files of the npm package, which has each as JSON, too."""
    files = {"package/package.json": b"{}"}
    for number, (group, content) in enumerate(texts):
        name = f"package/data/{group}/{number:05}.{hashlib.md5(content).hexdigest()}"
        files |= {f"{name}.txt": content, f"{name}.json": b"{}"}
    return files


def enwik8(articles: dict[str, str]) -> bytes:
    """Title -> wiki text as the dump has it; its end is cut, as there."""
    pages = (
        f"  <page>\n    <title>{escape(title)}</title>\n    <id>1</id>\n    <revision>\n"
        f'      <text xml:space="preserve">{escape(text, {chr(34): "&quot;"})}</text>\n'
        "    </revision>\n  </page>\n"
        for title, text in articles.items()
    )
    cut = '  <page>\n    <title>Cut</title>\n      <text xml:space="preserve">is cut ' + "x" * 9999
    return f"<mediawiki>\n{''.join(pages)}{cut}".encode()


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


def gzipped(articles: dict[str, str]) -> bytes:
    return gzip.compress(enwik8(articles))
