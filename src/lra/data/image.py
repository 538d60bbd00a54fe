"""Image: which of ten classes is it? CIFAR-10 as grey pixels, or 8 x 8 digits for a laptop."""

from __future__ import annotations

import gzip
import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.archives import BOM, members, wrong
from lra.data.prepare import Portions, Reader, Sizes, by_lot
from lra.data.split import Info, grid_table

GREY = np.array([0.2989, 0.5870, 0.1140])  # of red, green, blue
BATCH = re.compile(r"(?:.*/)?(data_batch_[1-5]|test_batch)")


class Cifar10(Settings):
    """CIFAR-10, Krizhevsky 2009, the version for Python."""


class Digits(Settings):
    """The test part of the UCI handwritten digits, as scikit-learn bundles it."""


def cifar10(archive: Path, options: Cifar10, sizes: Sizes, seed: int) -> Portions:
    """The last of the 50,000 training images, in the archive's order, are the validation split.

    The official code takes the last tenth, too, but of TFDS's order, which is shuffled: its images
    are others.
    """
    batches = {}
    for name, file in members(archive, lambda name: BATCH.fullmatch(name) is not None):
        content = file.read()
        with wrong(f"{archive}: {name}: not a batch of CIFAR-10"):
            batch = _Arrays(io.BytesIO(content), encoding="bytes").load()
            labels, pixels = np.array(batch[b"labels"], np.int64), batch[b"data"]
            if pixels.dtype != np.uint8:
                raise TypeError(f"pixels are {pixels.dtype}")
            batches[name] = grey(pixels.reshape(len(labels), 3, 1024)), labels
    number = 0
    for name, (pixels, labels) in sorted(batches.items()):
        if name.endswith("test_batch"):
            yield "test", grid_table(pixels, labels)
            continue
        first = min(max(sizes["train"] - number, 0), len(labels))
        number += len(labels)
        for split, part in (("train", slice(first)), ("val", slice(first, None))):
            if len(labels[part]):
                yield split, grid_table(pixels[part], labels[part])


def grey(pixels: np.ndarray) -> np.ndarray:
    """(n, 3, tokens) uint8 -> (n, tokens) uint8: floor(255.5 x weighted sum of channel / 255).

    tf.image.rgb_to_grayscale, which the official code calls, gives the same.
    """
    shares = np.einsum("c,nct->nt", GREY, pixels / 255)
    return np.floor(shares * 255.5).astype(np.uint8)


class _Arrays(pickle.Unpickler):
    """Loads arrays only, since a pickle can run any code."""

    numpy = {"_reconstruct", "_frombuffer", "ndarray", "dtype"}

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self.numpy:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if (module, name) == ("_codecs", "encode"):  # bytes in Python 3's pickles for Python 2
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it wants {module}.{name}")


def digits(archive: Path, options: Digits, sizes: Sizes, seed: int) -> Portions:
    """Values 0 to 16 become 0 to 255. The order is drawn, as neighbours share their writer."""
    for name, file in members(archive, lambda name: name.endswith("datasets/data/digits.csv.gz")):
        content = file.read()
        with wrong(f"{archive}: {name}"):
            text = gzip.decompress(content).removeprefix(BOM)
            if not text.strip():
                raise ValueError("it is empty")
            rows = np.loadtxt(io.BytesIO(text), delimiter=",", ndmin=2)
            if rows.shape[1] != 65:
                raise ValueError(f"{rows.shape[1]} columns, not 65")
            if not ((rows >= 0) & (rows <= 16)).all():
                raise ValueError("a value is not from 0 to 16")
        pixels, labels = np.round(rows[:, :-1] * (255 / 16)).astype(np.uint8), rows[:, -1]
        for split, places in by_lot(len(rows), sizes, seed):
            yield split, grid_table(pixels[places], labels[places].astype(np.int64))
        return
    raise LRAError(f"{archive}: has no digits.csv.gz")


def cifar10_info(options: Cifar10) -> Info:
    return Info("image", 256, 10, 1024, False, source="CIFAR-10, Krizhevsky 2009, grey")


def digits_info(options: Digits) -> Info:
    return Info("image", 256, 10, 64, False, source="digits, Alpaydin and Kaynak 1998")


READERS = {
    "cifar10": Reader(Cifar10, cifar10_info, cifar10),
    "digits": Reader(Digits, digits_info, digits),
}
