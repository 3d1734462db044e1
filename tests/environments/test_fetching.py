"""Source archives over HTTP, from a server on this machine."""

import asyncio
import base64
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typing_extensions import override

from stepflow_python.environments import fetching
from stepflow_python.environments.fetching import Fetcher
from stepflow_python.environments.sources import Source, SourceKind, source_of
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError

CONTENT = b"an archive"
ALLOWED = f"Basic {base64.b64encode(b'user:pass word').decode()}"


class _Registry(BaseHTTPRequestHandler):
    """Gives an archive to those who say their name; `/elsewhere` sends them to another host, which notes what came."""

    told: str | None = None

    def do_GET(self) -> None:
        """Answer."""
        if self.path.startswith("/open"):
            type(self).told = self.headers["Authorization"]
            self._answer(200, CONTENT)
        elif self.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/open.zip")  # type: ignore[attr-defined] # typed as its base
            self.end_headers()
        elif self.headers["Authorization"] == ALLOWED:
            self._answer(200, CONTENT)
        else:
            self._answer(401, b"")

    def _answer(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server on the loopback."""
    _Registry.told = None
    with ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def fetched(url: str, *, index: str = "", sha256: str | None = None) -> bytes:
    """What comes of an address, with a registry that the installer is told of."""
    fetcher = Fetcher(env={"UV_INDEX": index, "NO_PROXY": "*"}, timeout_s=10)
    return asyncio.run(fetcher.fetch(Source(kind=SourceKind.ARCHIVE, url=url, sha256=sha256))).archive


def test_the_registry_is_told_who_asks(port: int) -> None:
    """With the credentials of its own index; nobody else hears them, wherever it sends us."""
    index = f"mine=http://user:pass%20word@127.0.0.1:{port}/simple"
    assert fetched(f"http://127.0.0.1:{port}/a.zip", index=index) == CONTENT
    assert fetched(f"http://127.0.0.1:{port}/elsewhere.zip", index=index) == CONTENT
    assert _Registry.told is None
    assert fetched(f"http://localhost:{port}/open.zip", index=index) == CONTENT
    assert _Registry.told is None
    with pytest.raises(DependencyError, match="401"):
        fetched(f"http://127.0.0.1:{port}/a.zip")


def test_a_hash_holds(port: int) -> None:
    """What comes is what was locked, or nothing."""
    url = f"http://127.0.0.1:{port}/open.zip"
    assert fetched(url, sha256=hashlib.sha256(CONTENT).hexdigest()) == CONTENT
    with pytest.raises(DependencyError, match="it was changed"):
        fetched(url, sha256="0" * 64)


def test_a_source_has_a_bound(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that goes on for ever does not fill the memory."""
    monkeypatch.setattr(fetching, "MOST_BYTES", 5)
    with pytest.raises(DependencyError, match="over 5 bytes"):
        fetched(f"http://127.0.0.1:{port}/open.zip")


def test_a_server_that_is_away() -> None:
    """It may be back."""
    with pytest.raises(EnvironmentUnavailableError, match="try again later"):
        fetched("http://127.0.0.1:9/a.zip")


@pytest.mark.parametrize(
    "text",
    [
        "git+https://host/name@v1.0#subdirectory=inner/part",
        "git+file:///folder/name",
        "https://host/a/name-1.0.tar.gz#sha256=" + "0" * 64 + "&subdirectory=x",
        "sdist#sha256=" + "0" * 64,
    ],
)
def test_a_source_is_written_as_it_is_read(text: str) -> None:
    """So a lock says what was asked for."""
    assert str(source_of(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "git+ssh://host/name",
        "git+https://user:secret@host/name",
        "git+https://host/name@-oops",
        "git+https://host/name@--upload-pack=x",
        "git+https://host/name#subdirectory=../up",
        "git+https://host/name#subdirectory=/etc",
        "git+https://host/name#egg=other",
        "git+ext::sh -c id",
        "https://host/name-1.0.tar.gz?token=x",
        "https://host/name-1.0.exe",
        "https://[::1/name.zip",
        "ftp://host/name.zip",
        "sdist",
        "sdist#subdirectory=x",
    ],
)
def test_what_is_no_source(text: str) -> None:
    """Options in disguise, secrets, and what leads out of the archive."""
    assert source_of(text) is None
