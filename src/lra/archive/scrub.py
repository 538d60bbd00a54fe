"""Nothing private in what is archived: names of people and machines, paths of home, secrets.

Text that the pipeline wrote has them replaced. Everything else, source and tables, is searched, and
what is found is an error: to change it would make it another file than the one that ran.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Accounts and machines that are called so everywhere; two letters are a word of any text.
NOBODY = {"root", "user", "users", "admin", "runner", "ubuntu", "debian", "docker", "nobody",
          "home", "vagrant", "localhost", "slurm", "build", "work", "test"}  # fmt: skip
SHORTEST = 3
AUTHORS = {"source/CITATION.cff", "source/LICENSE"}  # name people on purpose
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,}|glpat-[\w-]{20,}"
    r"|hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{32,}|xox[abprs]-[A-Za-z0-9-]{10,}|pypi-[\w-]{50,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|(?<=://)[^\s/:@'\"{}]+:[^\s/:@'\"{}]+(?=@)"
)
HOMES = re.compile(r"(?<![\w.])/(?:home|Users)/[^\s/:'\",;)]+")
SECRET_VARIABLES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL")


@dataclass(frozen=True)
class Private:
    """What must not be seen: each pattern with its placeholder."""

    patterns: list[tuple[re.Pattern, str]] = field(default_factory=list)

    @classmethod
    def here(
        cls,
        folder: Path,
        environment: Mapping[str, str] = os.environ,
        home: Path | None = None,
        user: str | None = None,
        host: str | None = None,
    ) -> Private:
        """Of this process: its folder, home, user, host and the secrets in its environment."""
        home, user, host = home or Path.home(), user or _user(), host or socket.gethostname()
        paths = ((str(folder.resolve()), "<checkout>"), (str(home), "<home>"))
        found = [
            (re.compile(re.escape(path) + r"(?![\w.-])"), sign)
            for path, sign in paths
            if path != "/"
        ]
        secrets = sorted({v for k, v in environment.items() if SECRET_VARIABLES.search(k)})
        found += [
            (re.compile(re.escape(value)), "<secret>")
            for value in secrets
            if len(value) >= 8 and not value.isdigit() and not value.startswith("/")
        ]
        found += [(HOMES, "<home>"), (SECRETS, "<secret>")]
        names = {(host, "<host>"), (host.partition(".")[0], "<host>"), (user, "<user>")}
        for name, sign in sorted(names, key=lambda pair: (-len(pair[0]), pair)):
            if len(name) >= SHORTEST and name.lower() not in NOBODY:
                found.append((re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])"), sign))
        return cls(found)

    def scrubbed(self, text: str) -> str:
        for pattern, sign in self.patterns:
            text = pattern.sub(sign, text)
        return text

    def scrubbed_patch(self, text: str) -> str:
        """Added lines alone: with another context a patch would not apply."""
        lines = text.split("\n")
        added = [line[:1] == "+" and line[:4] != "+++ " for line in lines]
        return "\n".join(
            self.scrubbed(line) if new else line for line, new in zip(lines, added, strict=True)
        )

    def found(self, name: str, content: bytes) -> list[str]:
        """What is private in a file, one line each."""
        lines = []
        written = name.startswith("source/")  # by people, who may show /home/you in an example
        for text in _texts(name, content):
            for pattern, sign in self.patterns:
                if (written and pattern is HOMES) or (name in AUTHORS and sign == "<user>"):
                    continue
                if pattern.search(text):
                    lines.append(f"{name}: holds a {sign.strip('<>')} name or path"
                                 if sign != "<secret>" else f"{name}: holds a secret")  # fmt: skip
        return sorted(set(lines))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, in a container
        return ""


def _texts(name: str, content: bytes) -> list[str]:
    """The file as text; of compressed tables also what is in them."""
    texts = [content.decode("utf-8", errors="replace")]
    if name.endswith(".parquet"):
        table = pq.read_table(pa.BufferReader(content))
        texts.append(str(table.schema.metadata))
        for column in table.columns:
            if pa.types.is_string(column.type):
                texts += [value for value in column.unique().to_pylist() if value]
    return texts
