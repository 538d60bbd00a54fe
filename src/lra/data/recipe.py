"""What a data set is made of: its download, its recipe, its entry in config/datasets.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lra.core.schema import Count, Name, Seed, Settings

PACKAGE = (  # as pip, npm and apt-get write a name and a version
    r"^([A-Za-z0-9][A-Za-z0-9_.-]*==[A-Za-z0-9_.!+-]+"
    r"|npm:(@[a-z0-9][a-z0-9_.-]*/)?[a-z0-9][a-z0-9_.-]*@[0-9][A-Za-z0-9.+-]*"
    r"|deb:[a-z0-9][a-z0-9+.-]+=[A-Za-z0-9.+~:-]+)$"
)
# SHA-256 of the names and bytes read of an archive, whichever file holds them; None: not compared
Content = Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")]
HttpAddress = Annotated[str, Field(pattern=r"^https?://[^/]+")]


class Archive(Settings):
    """One file that data sets are read from, as its authors or a package publish it"""

    # its name below results/data/downloads/ and in the data_mirror: no slash, no leading dot
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    urls: list[HttpAddress] = []  # tried in this order
    # after them, what the user's pip, npm or apt-get brings: the source distribution NAME==VERSION,
    # npm:NAME@VERSION or deb:NAME=VERSION
    package: str | None = Field(None, pattern=PACKAGE)
    # of the package's file, or of the URLs' where there is no package. None: the download prints
    # what it finds and compares it with nothing
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    bytes: int | None = Field(None, gt=0, lt=2**63)  # likewise; None: what the server says

    @model_validator(mode="after")
    def has_an_origin(self) -> Self:
        if not self.urls and not self.package:
            raise ValueError("needs urls or a package")
        if self.package and not self.sha256:
            raise ValueError("sha256: is missing; a package's file needs one")
        return self

    @property
    def is_one_file(self) -> bool:
        """Else URLs and package are different files with the same content."""
        return not (self.urls and self.package)


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
    vocab_size: Count | None = None  # likewise
    contact_sheet: bool = False  # draw samples by label as a picture
    licence: str
    citation: str

    def recipe(self) -> Recipe:
        return Recipe(**self.model_dump(include=set(Recipe.model_fields)))
