"""Nothing private in what is archived: names of people and machines, paths of home, secrets.

Text that the pipeline wrote has them replaced. Everything else, source and tables, is searched, and
what is found is an error: to change it would make it another file than the one that ran. A name by
itself may be a word of any text (a user `node`, a host `gpu`), and counts in logs alone; elsewhere
it does in a path, beside an @, or with its domain.
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
LOG = ".log"
AUTHORS = {"source/CITATION.cff", "source/LICENSE"}  # name people on purpose
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,}|glpat-[\w-]{20,}"
    r"|hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{32,}|xox[abprs]-[A-Za-z0-9-]{10,}|pypi-[\w-]{50,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----"
    r"|(?<=://)[^\s/:@'\"{}]+:[^\s/:@'\"{}]+(?=@)"
)
HOMES = re.compile(  # also below other folders, but not in the address of a page
    r"(?:(?<![\w.:/])(?:/[\w.-]+)+|(?<![\w.]))/(?:home|Users)/[^\s/:'\",;)]+"
    r"|(?<![\w.:/-])/(?:var/)?root(?![\w.-])"
)
NODE = re.compile(r"(?im)^(host: +)(?!<)\S+")  # as schedulers and Snakemake say where a job runs
SECRET_VARIABLES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL")


@dataclass(frozen=True)
class Private:
    """What must not be seen: each pattern with what stands for it."""

    anywhere: list[tuple[re.Pattern, str]] = field(default_factory=list)
    in_logs: list[tuple[re.Pattern, str]] = field(default_factory=list)

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
        paths = [(str(folder.resolve()), "<checkout>")]
        # the home of an account that is called so everywhere is as good as one in an example
        if _is_telling(home.name) or not HOMES.fullmatch(str(home)):
            paths.append((str(home), "<home>"))
        found = [
            (re.compile(re.escape(path) + r"(?![\w.-])"), sign)
            for path, sign in paths
            if path != "/"
        ]
        secrets = sorted({v for k, v in environment.items() if SECRET_VARIABLES.search(k)})
        found += [
            (re.compile(re.escape(value)), "<secret>")
            for value in secrets
            if len(value) >= 8 and not value.isdigit() and not _is_path(value)
        ]
        found += [(HOMES, "<home>"), (SECRETS, "<secret>")]
        words: list[tuple[re.Pattern, str]] = [(NODE, r"\1<host>")]
        machine, _, domain = host.partition(".")
        if domain:
            found.append((_word(host), "<host>"))
        if _is_telling(user):
            found.append((_word(user, after=r"(?=@\w)"), "<user>"))
            found.append((_word(user, before=r"(?<![\w.:/-])((?:/[\w.-]+)+/)"), r"\1<user>"))
            words.append((_word(user), "<user>"))
        if _is_telling(machine):
            found.append((_word(machine, before=r"(?<=[\w>]@)", after=r"(?!\.\w)"), "<host>"))
            words.append((_word(machine), "<host>"))
        return cls(found, words)

    def scrubbed(self, text: str, is_log: bool = False) -> str:
        for pattern, sign in self.anywhere + self.in_logs * is_log:
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
        # by people, who may show /home/you in an example; the patch has the lines beside its own
        written = name.startswith("source")
        for text in _texts(name, content):
            for pattern, sign in self.anywhere + self.in_logs * name.endswith(LOG):
                what = sign[sign.index("<") + 1 : -1]
                if (written and pattern is HOMES) or (name in AUTHORS and what == "user"):
                    continue
                if pattern.search(text):
                    lines.append(f"{name}: holds a secret" if what == "secret" else
                                 f"{name}: holds a {what} name or path")  # fmt: skip
        return sorted(set(lines))


def _is_telling(name: str) -> bool:
    return len(name) >= SHORTEST and name.lower() not in NOBODY


def _word(name: str, before: str = "", after: str = "") -> re.Pattern:
    """A name as a word of its own, `alice_1` and `Alice` included."""
    edge = "[a-z0-9-]"
    before = before or f"(?<!{edge})"
    return re.compile(f"{before}{re.escape(name)}(?!{edge}){after}", re.IGNORECASE)


def _is_path(value: str) -> bool:
    """A file that holds the secret, which is no secret."""
    return value.startswith("/") and (os.access(value, os.F_OK) or value.count("/") > 2)


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
