"""What a data set is made of: its download, its recipe, its entry in config/datasets.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lra.core.schema import Count, Name, Seed, Settings

HttpAddress = Annotated[str, Field(pattern=r"^https?://[^/]+")]


class Archive(Settings):
    """One file that data sets are read from, as its authors publish it"""

    # its name below results/data/downloads/ and in the data_mirror: no slash, no leading dot
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    urls: list[HttpAddress] = []  # tried in this order
    # in place of urls: NAME==VERSION of the package whose source distribution the file is
    package: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*==[A-Za-z0-9_.!+-]+$")
    # None: the download prints what it finds and compares it with nothing
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    bytes: int | None = Field(None, gt=0, lt=2**63)  # size of the file; None: what the server says

    @model_validator(mode="after")
    def has_one_origin(self) -> Self:
        if bool(self.urls) == bool(self.package):
            raise ValueError("needs either urls or a package")
        if self.package and not self.sha256:
            raise ValueError("sha256: is missing; a package's file needs one")
        return self


class Recipe(Settings):
    """All that a data set's bytes depend on, besides code."""

    source: Name  # what makes it: a generator, or a reader of the archive
    archive: Archive | None = None
    options: dict[str, Any] = {}  # the source's own options
    seed: Seed = 0
    train: Count  # examples
    val: Count
    test: Count

    @property
    def sizes(self) -> dict[str, int]:
        return {"train": self.train, "val": self.val, "test": self.test}


class Dataset(Recipe):
    """One entry of config/datasets.yaml"""

    task: Name
    max_len: Count  # longest example in tokens
    classes: int | None = Field(None, gt=1)  # where there are others than the task's
    contact_sheet: bool = False  # draw samples by label as a picture
    licence: str
    citation: str

    def recipe(self) -> Recipe:
        return Recipe(**self.model_dump(include=set(Recipe.model_fields)))
