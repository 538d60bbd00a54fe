"""The one reader of YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lra.core.errors import LRAError


def read_yaml(path: Path, where: str | None = None) -> Any:
    """The content of a YAML file; an empty one is {}.

    where: how messages name the file. Raises LRAError where it is missing, not UTF-8 or not YAML.
    """
    where = where or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LRAError(f"{where}: {error.strerror.lower()}") from None
    except UnicodeDecodeError as error:
        raise LRAError(f"{where}: not UTF-8 text (byte {error.start})") from None
    return parse_yaml(text, where)


def parse_yaml(text: str, where: str) -> Any:
    """Raises LRAError where the text is not YAML."""
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise LRAError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
