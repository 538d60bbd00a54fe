"""Image: which of ten classes is it? CIFAR-10 in grey, Fashion-MNIST, or 8 x 8 digits."""

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
from lra.data.archives import BOM, check_contents, contents, members, wrong
from lra.data.prepare import Portions, Reader, Sizes, by_lot
from lra.data.recipe import Content
from lra.data.split import Info, grid_table

GREY = np.array([0.2989, 0.5870, 0.1140])  # of red, green, blue
IDX = re.compile(r"(?:.*/)?((?:train|t10k)-(?:images-idx3|labels-idx1)-ubyte)(?:\.gz)?")
BATCH = re.compile(r"(?:.*/)?(data_batch_[1-5]|test_batch)")


class Cifar10(Settings):
    """CIFAR-10, Krizhevsky 2009, the version for Python."""


class Fashion(Settings):
    """Fashion-MNIST, Xiao et al. 2017, its 28 x 28 pixels in the middle of 32 x 32."""

    content: Content = None


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


def fashion(archive: Path, options: Fashion, sizes: Sizes, seed: int) -> Portions:
    """Validation images are drawn from the 60,000 for training, as these have no order."""
    found = contents(archive, IDX)
    check_contents(archive, found, options.content)
    for part in ("train", "t10k"):
        where = f"{archive}: {part}"
        pixels, labels = (
            _idx(found.get(name), f"{archive}: {name}", shape)
            for name, shape in ((f"{part}-images-idx3-ubyte", (28, 28)),
                                (f"{part}-labels-idx1-ubyte", ()))
        )  # fmt: skip
        if len(pixels) != len(labels):
            raise LRAError(f"{where}: {len(pixels):,} images, but {len(labels):,} labels")
        pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2))).reshape(-1, 1024)
        labels = labels.astype(np.int64)
        if part == "t10k":
            yield "test", grid_table(pixels, labels)
            continue
        for split, places in by_lot(len(labels), sizes | {"test": 0}, seed):
            if len(places):
                yield split, grid_table(pixels[places], labels[places])


def _idx(content: bytes | None, where: str, shape: tuple[int, ...]) -> np.ndarray:
    """(n, *shape) uint8 of a file of MNIST's format: a magic number, the sizes, the values."""
    if content is None:
        raise LRAError(f"{where}: is missing")
    with wrong(f"{where}: not in MNIST's format"):
        header = np.frombuffer(content, ">u4", 2 + len(shape))
        if header[0] != 0x801 + len(shape) or tuple(header[2:]) != shape:
            raise ValueError(f"its header is {' '.join(map(str, header))}")
        values = np.frombuffer(content, np.uint8, offset=header.nbytes)
        return values.reshape(header[1], *shape)


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


def fashion_info(options: Fashion) -> Info:
    return Info("image", 256, 10, 1024, False, source="Fashion-MNIST, Xiao et al. 2017")


def digits_info(options: Digits) -> Info:
    return Info("image", 256, 10, 64, False, source="digits, Alpaydin and Kaynak 1998")


READERS = {
    "cifar10": Reader(Cifar10, cifar10_info, cifar10),
    "fashion": Reader(Fashion, fashion_info, fashion),
    "digits": Reader(Digits, digits_info, digits),
}
