"""Archives arrive whole and verified, resume, and otherwise leave one line and no file."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from lra.core.errors import LRAError
from lra.data import download as module
from lra.data.download import download
from lra.data.recipe import Archive
from tiny import ROOT, tmpfs

CONTENT = gzip.compress(random.Random(0).randbytes(3 * 2**20), compresslevel=1)
SIZE, HALF = len(CONTENT), len(CONTENT) // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HTML = b"\n <!DOCTYPE html><html><title>Sign in</title></html>"


class Site(ThreadingHTTPServer):
    """A server of one file that misbehaves as its fields say; `sent` lists (Range, bytes sent)."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.content = CONTENT
        self.headers = {"ETag": '"one"'}
        self.ranges = True
        self.length: int | None = None  # a Content-Length that lies
        self.statuses: deque[tuple[int, dict]] = deque()  # what the first requests are answered
        self.cuts: deque[int] = deque()  # bytes after which the first answers break off
        self.cut = SIZE  # and those that follow
        self.hold: threading.Event | None = None  # waited for where an answer would break off
        self.sent: list[tuple[str | None, int]] = []
        self.ended = threading.Semaphore(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive.tar.gz"

    def handle_error(self, request, client_address) -> None:
        """A client that was killed is no error."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site, asked = self.server, self.headers.get("Range")
        if site.statuses:
            status, headers = site.statuses.popleft()
            site.sent.append((asked, 0))
            return self.answer(status, {**headers, "Content-Length": "0"})
        start = 0
        same = self.headers.get("If-Range") in site.headers.values()
        if asked and site.ranges and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        rest = site.content[start:]
        headers = {**site.headers, "Content-Length": str(site.length or len(rest))}
        if start:
            last = len(site.content) - 1
            headers["Content-Range"] = f"bytes {start}-{last}/{last + 1}"
        self.answer(206 if start else 200, headers)
        cut = site.cuts.popleft() if site.cuts else site.cut
        site.sent.append((asked, len(rest[:cut])))
        self.wfile.write(rest[:cut])
        if site.hold and len(rest) > cut:
            site.hold.wait(60)
        return None

    def answer(self, status: int, headers: dict) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_) -> None:
        """Silent."""


class Proxy(BaseHTTPRequestHandler):
    """Hands every request for a host that does not exist to the site at `server.behind`."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        behind = HTTPConnection("127.0.0.1", self.server.behind)
        behind.request("GET", urlsplit(self.path).path, headers=dict(self.headers))
        answer = behind.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.read())
        behind.close()

    log_message = Handler.log_message


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler] = Handler):
    with Site(handler) as site:
        threading.Thread(target=partial(site.serve_forever, 0.01), daemon=True).start()
        try:
            yield site
        finally:
            site.shutdown()


@pytest.fixture
def site():
    with serving() as site:
        yield site


@pytest.fixture(autouse=True)
def no_proxy_and_no_waiting(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(module, "FIRST_WAIT", 0.001)


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "downloads/archive.tar.gz"


def archive(*urls: str, **changed) -> Archive:
    """The served file as its users know it."""
    return Archive(
        **{"file": "archive.tar.gz", "urls": urls, "sha256": SHA256, "bytes": SIZE, **changed}
    )


def beside(out: Path) -> set[str]:
    """What is there instead of, or beside, the file: {".partial", ".bad", ...}."""
    paths = [path for path in out.parent.iterdir() if path.suffix != ".lock"]
    return {path.name.removeprefix(out.name) for path in paths}


def complaint(given: Archive, out: Path, mirror: Path | None = None) -> str:
    """The one line of a download that fails, and leaves no file."""
    with pytest.raises(LRAError) as error:
        download(given, out, mirror)
    message = str(error.value)
    assert "\n" not in message
    assert not out.exists()
    return message


def test_the_whole_file_arrives_and_nothing_else_stays(site, out, capfd):
    download(archive(site.url), out)
    assert out.read_bytes() == CONTENT
    assert beside(out) == {""}
    assert out.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    said = capfd.readouterr().err
    assert str(out) in said
    assert "B/s" in said


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_that_is_there_is_verified_and_not_downloaded_again(site, out):
    out.parent.mkdir()
    out.write_bytes(CONTENT)
    download(archive(site.url), out)
    assert site.sent == []
    out.write_bytes(CONTENT[:-1])
    assert f"{SIZE - 1:,} bytes instead of {SIZE:,}" in complaint(archive(site.url), out)
    assert beside(out) == {".bad"}


@pytest.mark.parametrize(
    "version", [{"ETag": '"one"'}, {"Last-Modified": "Tue, 01 Jun 2021 00:00:00 GMT"}]
)
def test_broken_off_it_is_resumed_with_the_rest_alone(site, out, version):
    site.headers = version
    site.cuts.append(HALF)
    download(archive(site.url), out)
    assert out.read_bytes() == CONTENT
    assert site.sent == [(None, HALF), (f"bytes={HALF}-", SIZE - HALF)]


@pytest.mark.parametrize("version", [{"ETag": 'W/"one"'}, {}], ids=["weak", "none"])
def test_without_a_version_to_name_it_starts_over(site, out, version):
    site.headers = version
    site.cuts.append(HALF)
    download(archive(site.url), out)
    assert out.read_bytes() == CONTENT
    assert site.sent == [(None, HALF), (None, SIZE)]


def test_a_server_without_ranges_sends_all_again(site, out):
    site.ranges = False
    site.cuts.append(HALF)
    download(archive(site.url), out)
    assert out.read_bytes() == CONTENT
    assert site.sent == [(None, HALF), (f"bytes={HALF}-", SIZE)]


def test_a_server_that_calls_the_archive_a_gzipped_file_does_not_have_it_unpacked(site, out):
    site.headers |= {"Content-Encoding": "gzip"}
    download(archive(site.url), out)
    assert out.read_bytes() == CONTENT


def test_always_broken_off_is_one_line_and_a_later_run_resumes(site, out):
    site.ranges, site.cut = False, HALF
    message = complaint(archive(site.url), out)
    assert message == (
        f"{out}: cannot be downloaded: {site.url}: the connection broke off after {HALF:,} of "
        f"{SIZE:,} bytes, after {module.ATTEMPTS} attempts; run again to resume"
    )
    assert beside(out) == {".partial", ".partial.json"}
    assert len(site.sent) == module.ATTEMPTS
    site.ranges, site.cut = True, SIZE
    download(archive(site.url), out)
    assert site.sent[-1] == (f"bytes={HALF}-", SIZE - HALF)
    assert beside(out) == {""}


def test_attempts_that_bring_something_new_are_not_counted(site, out):
    pieces = 3 * module.ATTEMPTS
    site.cuts.extend([SIZE // pieces] * (pieces - 1))
    download(archive(site.url), out)
    assert out.read_bytes() == CONTENT
    assert sum(count for _, count in site.sent) == SIZE


def test_a_file_that_changed_meanwhile_is_downloaded_from_its_start(site, out):
    site.ranges, site.cut = False, HALF
    complaint(archive(site.url), out)
    site.ranges, site.cut, site.headers = True, SIZE, {"ETag": '"two"'}
    site.content = new = CONTENT[::-1]
    download(archive(site.url, sha256=hashlib.sha256(new).hexdigest()), out)
    assert out.read_bytes() == new
    assert site.sent[-1] == (f"bytes={HALF}-", SIZE)


def test_a_part_of_another_url_is_not_continued(site, out):
    with serving() as other:
        other.content, other.cut = CONTENT[::-1], HALF
        complaint(archive(other.url), out)
    download(archive(site.url), out)
    assert out.read_bytes() == CONTENT
    assert site.sent == [(None, SIZE)]


def test_a_server_that_cannot_go_on_sends_all_again(site, out):
    site.ranges, site.cut = False, HALF
    complaint(archive(site.url), out)
    site.cut = SIZE
    site.statuses.append((416, {}))
    download(archive(site.url), out)
    assert [asked for asked, _ in site.sent[-2:]] == [f"bytes={HALF}-", None]
    assert out.read_bytes() == CONTENT


def test_wrong_bytes_of_the_right_length_are_set_aside(site, out):
    wrong = bytearray(CONTENT)
    wrong[HALF] ^= 1
    site.content = bytes(wrong)
    message = complaint(archive(site.url), out)
    assert hashlib.sha256(wrong).hexdigest() in message
    assert f"instead of {SHA256}" in message
    assert str(out) + ".bad" in message
    assert site.url in message
    assert beside(out) == {".bad"}
    assert Path(f"{out}.bad").read_bytes() == wrong
    assert len(site.sent) == 1


@pytest.mark.parametrize("known", [{}, {"sha256": None, "bytes": None}], ids=["pinned", "unpinned"])
def test_an_html_page_with_status_200_is_refused(site, out, known):
    site.content = HTML
    assert "an HTML page in place of the archive" in complaint(archive(site.url, **known), out)
    assert beside(out) == {".bad"}


def test_a_content_length_of_too_much_is_a_connection_that_broke_off(site, out):
    site.length = SIZE + 10
    given = archive(site.url, sha256=None, bytes=None)
    assert f"broke off after {SIZE:,} of {SIZE + 10:,} bytes" in complaint(given, out)


def test_a_content_length_of_too_little_is_a_wrong_size(site, out):
    site.length = SIZE - 10
    assert f"{SIZE - 10:,} bytes instead of {SIZE:,}" in complaint(archive(site.url), out)
    assert beside(out) == {".bad"}


def test_without_a_known_sha256_the_one_found_is_said(site, out, capfd):
    download(archive(site.url, sha256=None, bytes=None), out)
    assert SHA256 in capfd.readouterr().err


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_is_asked_again_later_each_time(site, out, monkeypatch, status):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    monkeypatch.setattr(module, "FIRST_WAIT", 1.0)
    site.statuses.extend([(status, {}), (status, {}), (status, {"Retry-After": "7"})])
    download(archive(site.url), out)
    assert out.read_bytes() == CONTENT
    assert waits == [1, 2, 7]


def test_a_404_is_not_asked_again_and_the_second_url_is_tried(site, out):
    with serving() as gone:
        gone.statuses.extend([(404, {})] * 9)
        download(archive(gone.url, site.url), out)
        assert len(gone.sent) == 1
    assert out.read_bytes() == CONTENT


def test_what_every_url_gave_is_in_the_one_line(site, out):
    site.statuses.append((404, {}))
    with serving() as busy:
        busy.statuses.extend([(500, {})] * module.ATTEMPTS)
        message = complaint(archive(site.url, busy.url), out)
    assert f"{site.url}: 404 Not Found; {busy.url}: 500 Internal Server Error" in message
    assert beside(out) == set()


def test_a_port_where_nobody_listens_is_said_without_a_chain_of_exceptions(out):
    with serving() as site:
        url = site.url
    message = complaint(archive(url), out)
    assert os.strerror(errno.ECONNREFUSED) in message
    assert "Max retries" not in message


def test_the_mirror_is_copied_and_no_network_asked(site, out, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    message = complaint(archive(site.url), out, mirror)
    assert message.startswith(f"{mirror / 'archive.tar.gz'}: no such file")
    (mirror / "archive.tar.gz").write_bytes(CONTENT[:-1])
    message = complaint(archive(site.url), out, mirror)
    assert message.startswith(f"{mirror / 'archive.tar.gz'}: {SIZE - 1:,} bytes instead of")
    assert (mirror / "archive.tar.gz").exists()
    (mirror / "archive.tar.gz").write_bytes(CONTENT)
    download(archive(site.url), out, mirror)
    assert out.read_bytes() == CONTENT
    assert beside(out) == {"", ".bad"}
    assert site.sent == []


def test_a_proxy_is_honoured_and_so_are_its_exceptions(site, out, monkeypatch):
    with serving(Proxy) as proxy:
        proxy.asked, proxy.behind = [], site.server_port
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        far = "http://archives.invalid/archive.tar.gz"
        download(archive(far), out)
        assert out.read_bytes() == CONTENT
        assert proxy.asked == [far]
        out.unlink()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        download(archive(site.url), out)
        assert len(site.sent) == 2
        assert proxy.asked == [far]


def start(given: Archive, out: Path) -> subprocess.Popen:
    """`lra download` as its own process."""
    command = [sys.executable, "-m", "lra.cli", "download", "--archive", given.model_dump_json(),
               "--out", str(out)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_killed_in_the_middle_the_next_process_resumes(site, out):
    site.cuts.append(HALF)
    site.hold = threading.Event()
    process = start(archive(site.url), out)
    part = Path(f"{out}.partial")
    while process.poll() is None:
        if part.exists() and part.stat().st_size:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    site.hold.set()
    assert beside(out) == {".partial", ".partial.json"}
    have = part.stat().st_size
    assert 0 < have <= HALF
    again = start(archive(site.url), out)
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert out.read_bytes() == CONTENT
    assert site.sent[1:] == [(f"bytes={have}-", SIZE - have)]
    assert beside(out) == {""}


def test_the_verb_fails_with_its_line_alone(site, out):
    site.statuses.append((404, {}))
    process = start(archive(site.url), out)
    _, said = process.communicate()
    assert process.returncode == 1
    assert said == f"lra: {out}: cannot be downloaded: {site.url}: 404 Not Found\n"


def test_a_full_disk_is_one_line_and_the_part_goes_on_once_there_is_space(site, tmp_path):
    with tmpfs(tmp_path / "full", f"size={SIZE // 2**11}k") as full:
        out = full / "archive.tar.gz"
        assert complaint(archive(site.url), out) == f"{out}: No space left on device"
        have = Path(f"{out}.partial").stat().st_size
        assert 0 < have < SIZE
        subprocess.run(["mount", "-o", "remount,size=64m", str(full)], check=True)
        download(archive(site.url), out)
        assert out.read_bytes() == CONTENT
        assert site.sent[-1] == (f"bytes={have}-", SIZE - have)


def test_a_folder_that_cannot_be_written_is_named(site, tmp_path):
    with tmpfs(tmp_path / "readonly", "ro") as readonly:
        out = readonly / "archive.tar.gz"
        assert complaint(archive(site.url), out) == f"{out}: Read-only file system"


# A package's source distribution, through the settings of the user's pip


@pytest.fixture
def pip(monkeypatch):
    """Sets pip's settings by environment, without those of this machine."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": os.devnull, "RETRIES": "0", "NO_CACHE_DIR": "1"}

    def configure(**more: str) -> None:
        for name, value in (settings | more).items():
            monkeypatch.setenv(f"PIP_{name}", value)

    return configure


@pytest.fixture
def index(tmp_path):
    """(URL of a package index, its folder with toy-1.0.tar.gz and toy-2.0.tar.gz)."""
    folder = tmp_path / "index"
    (folder / "simple/toy").mkdir(parents=True)
    names = ["toy-1.0.tar.gz", "toy-2.0.tar.gz"]
    links = "".join(f'<a href="../../{name}">{name}</a>' for name in names)
    (folder / "simple/toy/index.html").write_text(f"<!DOCTYPE html><html>{links}</html>")
    for name in names:
        (folder / name).write_bytes(CONTENT)

    class Files(SimpleHTTPRequestHandler):
        log_message = Handler.log_message

    with serving(partial(Files, directory=str(folder))) as site:
        yield f"http://127.0.0.1:{site.server_port}/simple", folder


def packed(version: str = "1.0", name: str = "toy", **changed) -> Archive:
    return archive(file=f"{name}-{version}.tar.gz", package=f"{name}=={version}", **changed)


def test_a_package_comes_from_the_index_that_pip_is_set_to(index, out, pip):
    pip(INDEX_URL=index[0])
    download(packed(), out)
    assert out.read_bytes() == CONTENT
    assert beside(out) == {""}


def test_a_package_comes_from_a_folder_that_pip_is_set_to(index, out, pip):
    pip(NO_INDEX="1", FIND_LINKS=str(index[1]))
    download(packed("2.0"), out)
    assert out.read_bytes() == CONTENT
    assert beside(out) == {""}
    assert (index[1] / "toy-2.0.tar.gz").exists()


def test_a_package_comes_from_the_mirror_without_asking_pip(out, pip, tmp_path):
    pip(INDEX_URL="http://127.0.0.1:9/simple")
    (tmp_path / "toy-1.0.tar.gz").write_bytes(CONTENT)
    download(packed(), out, tmp_path)
    assert out.read_bytes() == CONTENT


def test_a_version_or_package_that_is_not_there_is_one_line(index, out, pip):
    pip(INDEX_URL=index[0])
    assert complaint(packed("1.1"), out) == (
        f"{out}: cannot be downloaded: toy==1.1: pip finds no source distribution of toy==1.1; "
        "did you mean '1.0'?"
    )
    message = complaint(packed(name="toi"), out)
    assert "toi==1.0: pip finds no source distribution of toi==1.0: " in message
    assert "404" in message
    pip(NO_INDEX="1", FIND_LINKS=str(index[1]))
    assert complaint(packed(name="toi"), out).endswith(
        "toi==1.0: pip finds no source distribution of toi==1.0: it has none"
    )


def test_an_index_that_does_not_answer_is_one_line(out, pip, capfd):
    with serving() as site:
        port = site.server_port
    pip(INDEX_URL=f"http://127.0.0.1:{port}/simple")
    assert os.strerror(errno.ECONNREFUSED) in complaint(packed(), out)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("folder", [True, False], ids=["folder", "index"])
def test_a_package_of_another_hash_is_one_line_and_set_aside(index, out, pip, folder):
    pip(**({"NO_INDEX": "1", "FIND_LINKS": str(index[1])} if folder else {"INDEX_URL": index[0]}))
    wrong = packed(sha256="0" * 64)
    assert f"sha256 {SHA256} instead of {'0' * 64}" in complaint(wrong, out)
    assert beside(out) == {".bad"}
    assert (index[1] / "toy-1.0.tar.gz").exists()


def test_without_pip_the_mirror_is_named(out, pip, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip._internal.commands", None)
    assert complaint(packed(), out).endswith("put the file in a folder and set data_mirror")


# npm and apt-get, and several origins


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Puts a program of a client's name before all others: it logs its arguments and does as told."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def install(name: str, script: str) -> Path:
        (tmp_path / "content").write_bytes(CONTENT)
        program = programs / name
        log = f"echo {name} $@ >> {tmp_path}/asked"
        script = script.format(content=tmp_path / "content")
        program.write_text(f"#!/bin/sh\n{log}\n{script}\n")
        program.chmod(0o755)
        return tmp_path / "asked"

    return install


FETCHED = "cp {content} ./x-1.0.tgz"
CLIENTS = {
    "npm": ("npm:@toys/x@1.0", "npm pack --ignore-scripts @toys/x@1.0"),
    "apt-get": ("deb:toys=1.0~a-1", "apt-get download toys=1.0~a-1"),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_package_comes_from_the_client_of_its_kind(client, out, name):
    asked = client(name, FETCHED)
    package, command = CLIENTS[name]
    download(archive(package=package), out)
    assert out.read_bytes() == CONTENT
    assert asked.read_text() == f"{command}\n"
    assert beside(out) == {""}


SAYS_404 = "echo 'npm error code E404' >&2; echo 'npm error 404 Not Found - GET x' >&2; exit 1"


@pytest.mark.parametrize(
    ("name", "script", "said"),
    [
        ("npm", SAYS_404, "npm: 404 Not Found - GET x"),
        ("npm", "exit 0", "npm: exit status 0, no file"),
        ("npm", "touch a b", "npm: exit status 0, no file"),
        ("apt-get", "echo 'W: x' >&2; echo 'E: Unable to locate package x' >&2; exit 100",
         "apt-get: Unable to locate package x; 'apt-get update' may help"),
    ],
    ids=["404", "nothing", "two", "apt"],
)  # fmt: skip
def test_what_a_client_complains_of_is_one_line(client, out, name, script, said):
    client(name, script)
    package, _ = CLIENTS[name]
    message = complaint(archive(package=package), out)
    assert message == f"{out}: cannot be downloaded: {package}: {said}"
    assert beside(out) == set()


def test_a_client_that_is_not_installed_is_one_line(out, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert complaint(archive(package="npm:x@1.0"), out).endswith("npm:x@1.0: npm is not installed")


def test_a_package_of_another_hash_from_a_client_is_set_aside(client, out):
    client("npm", FETCHED)
    wrong = archive(package="npm:x@1.0", sha256="0" * 64)
    assert f"sha256 {SHA256} instead of {'0' * 64}" in complaint(wrong, out)
    assert beside(out) == {".bad"}


def test_urls_come_before_the_package_and_it_is_not_asked(site, client, out):
    """Their file is another than the package's, so its checksum is not compared."""
    asked = client("npm", FETCHED)
    site.content = other = gzip.compress(b"the same content in another file")
    download(archive(site.url, package="npm:x@1.0"), out)
    assert out.read_bytes() == other
    assert not asked.exists()
    download(archive(site.url, package="npm:x@1.0"), out)
    assert len(site.sent) == 1


@pytest.mark.parametrize("fault", ["busy", "cut", "html", "404"])
def test_the_package_is_asked_where_no_url_answers(site, client, out, fault):
    """At once: a URL that sends nothing is not waited for while there is another origin."""
    client("npm", FETCHED)
    if fault == "busy":
        site.statuses.extend([(503, {})] * 9)
    if fault == "404":
        site.statuses.append((404, {}))
    if fault == "cut":
        site.cut = 0
    if fault == "html":
        site.content = HTML
    download(archive(site.url, package="npm:x@1.0"), out)
    assert out.read_bytes() == CONTENT
    assert len(site.sent) == 1
    assert beside(out) == ({"", ".bad"} if fault == "html" else {""})


def test_every_origin_that_was_tried_is_in_the_one_line(site, client, out):
    client("npm", SAYS_404)
    site.statuses.append((404, {}))
    with serving() as busy:
        busy.statuses.extend([(500, {})] * 9)
        message = complaint(archive(site.url, busy.url, package="npm:x@1.0"), out)
    assert message == (
        f"{out}: cannot be downloaded: {site.url}: 404 Not Found; {busy.url}: 500 Internal Server "
        "Error; npm:x@1.0: npm: 404 Not Found - GET x"
    )


def test_a_url_that_broke_off_is_resumed_although_there_is_a_package(site, client, out):
    asked = client("npm", FETCHED)
    site.cuts.append(HALF)
    download(archive(site.url, package="npm:x@1.0"), out)
    assert site.sent == [(None, HALF), (f"bytes={HALF}-", SIZE - HALF)]
    assert not asked.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"file": "../evil.tar.gz"},
        {"file": "/etc/passwd"},
        {"file": ".."},
        {"urls": []},
        {"urls": ["file:///etc/passwd"]},
        {"sha256": "a" * 63},
        {"bytes": 0},
        {"md5": "0" * 32},
        {"package": "a==1.0"},
        {"package": "npm:a", "sha256": "a" * 64},
        {"package": "npm:--registry=x@1.0", "sha256": "a" * 64},
        {"package": "npm:a@file:/etc/passwd", "sha256": "a" * 64},
        {"package": "deb:a", "sha256": "a" * 64},
        {"package": "deb:-o=1", "sha256": "a" * 64},
        {"package": "gem:a=1", "sha256": "a" * 64},
        {"package": "a", "urls": [], "sha256": "a" * 64},
        {"package": "a==1.0 --pre", "urls": [], "sha256": "a" * 64},
    ],
    ids=str,
)
def test_an_archive_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValidationError):
        Archive(**{"file": "a.zip", "urls": ["http://127.0.0.1/a.zip"], **wrong})
