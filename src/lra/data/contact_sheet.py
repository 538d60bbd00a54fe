"""A picture of some examples of each label of an image task, to judge a data set by eye."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lra.core.errors import LRAError
from lra.core.files import write_beside
from lra.data.split import read_split

SNAKES = ["label 0: markers on different snakes", "label 1: markers on one snake"]
TILE = 256  # pixels a side of an example on the sheet; enlarged by whole factors, so it stays crisp
MANY = 96  # the same where there are more than two labels
GAP = 8  # pixels between examples
TITLE_HEIGHT = 28  # pixels


def contact_sheet(split: Path, png: Path, per_label: int = 8) -> None:
    """Draw the first `per_label` examples of each label of a split as a PNG."""
    data = read_split(split)
    tower, size = data.towers[0], math.isqrt(data.info.max_length)
    if data.info.task not in ("pathfinder", "pathx", "image"):
        raise LRAError(f"{split}: a contact sheet shows images, not {data.info.task}")
    several = data.info.classes > 2
    titles = [f"label {label}" for label in range(data.info.classes)] if several else SNAKES
    scale = max((MANY if several else TILE) // size, 1)
    pitch = size * scale + GAP
    columns = min(per_label, 8 if several else 4)
    rows = -(-per_label // columns)
    block = TITLE_HEIGHT + rows * pitch
    sheet = Image.new("L", (columns * pitch + GAP, len(titles) * block + GAP), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for label, title in enumerate(titles):
        pen.text((GAP, label * block + 6), title, fill=0, font=font)
        for place, example in enumerate(np.flatnonzero(data.labels == label)[:per_label]):
            start = tower.offsets[example]
            pixels = tower.values[start : start + size * size].reshape(size, size)
            image = Image.fromarray(pixels).resize((size * scale,) * 2, Image.Resampling.NEAREST)
            row, column = divmod(place, columns)
            at = GAP + column * pitch, label * block + TITLE_HEIGHT + row * pitch
            sheet.paste(image, at)
    content = io.BytesIO()
    sheet.save(content, format="PNG")
    write_beside(png, content.getvalue())
