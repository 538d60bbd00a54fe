"""Private text in an archive: names of people and machines, paths of home, secrets.

It is replaced in text that the pipeline wrote, and in source that was not committed. Other source
and binary files are only searched: what is found there is an error. A user or host may be called by
a common word (`node`, `gpu`). So a name counts anywhere in a log; elsewhere it counts in a path,
beside an @, or with its domain.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Names of accounts and machines that say nothing of their owner.
COMMON = {"root", "user", "users", "admin", "runner", "ubuntu", "debian", "docker", "nobody",
          "home", "vagrant", "localhost", "slurm", "build", "work", "test"}  # fmt: skip
SHORTEST = 3  # letters: fewer are a word of any text
AUTHORS = {"source/CITATION.cff", "source/LICENSE"}  # which name people on purpose
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,}|glpat-[\w-]{20,}"
    r"|hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{32,}|xox[abprs]-[A-Za-z0-9-]{10,}|pypi-[\w-]{50,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----"
    r"|(?<=://)[^\s/:@'\"{}]+:[^\s/:@'\"{}]+(?=@)"
)
HOMES = re.compile(  # also below other folders; not in a web address
    r"(?:(?<![\w.:/])(?:/[\w.-]+)+|(?<![\w.]))/(?:home|Users)/[^\s/:'\",;)]+"
    r"|(?<![\w.:/-])/(?:var/)?root(?![\w.-])"
)
NODE = re.compile(r"(?im)^(host: +)(?!<)\S+")  # of Snakemake and schedulers
SECRET_VARIABLES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL")


class Private:
    """Patterns of private text, each with its replacement."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] = os.environ,
        home: Path | None = None,
        user: str | None = None,
        host: str | None = None,
    ) -> None:
        """Of this process: folder, home, user, host and the secrets in the environment."""
        home, user, host = home or Path.home(), user or _user(), host or socket.gethostname()
        paths = [(str(folder.resolve()), "<checkout>")]
        # the home of a common account (/home/ubuntu) may be an example in the source
        if _is_telling(home.name) or not HOMES.fullmatch(str(home)):
            paths.append((str(home), "<home>"))
        paths = [(path, sign) for path, sign in paths if path != "/"]
        found = [(re.compile(re.escape(path) + r"(?![\w.-])"), sign) for path, sign in paths]
        values = sorted({v for k, v in environment.items() if SECRET_VARIABLES.search(k)})
        found += [(re.compile(re.escape(v)), "<secret>") for v in values if _is_secret(v)]
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
        self.anywhere, self.in_logs = found, words

    def redacted(self, text: str, name: str = "") -> str:
        """The text of a file of this name."""
        for pattern, sign in self._patterns(name):
            text = pattern.sub(sign, text)
        return text

    def found(self, name: str, content: bytes) -> list[str]:
        """A line for each kind of private text in a file."""
        texts = _texts(name, content)
        signs = {sign for pattern, sign in self._patterns(name) if any(map(pattern.search, texts))}
        kinds = {sign[sign.index("<") + 1 : -1] for sign in signs}
        return [
            f"{name}: holds a {kind}{'' if kind == 'secret' else ' name or path'}"
            for kind in sorted(kinds)
        ]

    def _patterns(self, name: str) -> Iterator[tuple[re.Pattern, str]]:
        """Those that count in a file of this name."""
        by_people = name.startswith("source/")  # they may write /home/you in an example
        for pattern, sign in self.anywhere + self.in_logs * name.endswith(".log"):
            named = name in AUTHORS and sign.endswith("<user>")
            if not named and not (by_people and pattern is HOMES):
                yield pattern, sign


def _is_telling(name: str) -> bool:
    return len(name) >= SHORTEST and name.lower() not in COMMON


def _word(name: str, before: str = "", after: str = "") -> re.Pattern:
    """A name as a word of its own, `alice_1` and `Alice` included."""
    edge = "[a-z0-9-]"
    before = before or f"(?<!{edge})"
    return re.compile(f"{before}{re.escape(name)}(?!{edge}){after}", re.IGNORECASE)


def _is_secret(value: str) -> bool:
    """Not where it is short, a number, or the path of a secret's file."""
    is_path = value.startswith("/") and (os.access(value, os.F_OK) or value.count("/") > 2)
    return len(value) >= 8 and not value.isdigit() and not is_path


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, in a container
        return ""


def _texts(name: str, content: bytes) -> list[str]:
    """The file as text, and the strings of a compressed table."""
    texts = [content.decode("utf-8", errors="replace")]
    if name.endswith(".parquet"):
        table = pq.read_table(pa.BufferReader(content))
        texts.append(str(table.schema.metadata))
        for column in table.columns:
            if pa.types.is_string(column.type):
                texts += [value for value in column.unique().to_pylist() if value]
    return texts
