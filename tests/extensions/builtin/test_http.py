"""Requests to listed hosts, and the ways around the list that are closed."""

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.lending import Lender
from typing_extensions import override

from stepflow_python.extensions import ExtensionContext, Lending
from stepflow_python.extensions.builtin.addresses import is_public
from stepflow_python.extensions.builtin.http import module
from stepflow_python.extensions.description import UnusableExtensionError


class Site(ThreadingHTTPServer):
    """A server that tells what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Pages)
        self.seen: list[tuple[str, str, Mapping[str, str]]] = []

    @property
    def host(self) -> str:
        """Its address as an operator lists it."""
        return f"127.0.0.1:{self.server_port}"


class Pages(BaseHTTPRequestHandler):
    """What there is to fetch."""

    server: Site

    def do_GET(self) -> None:
        """Answer by the path."""
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        length = int(self.headers.get("content-length", 0))
        sent = self.rfile.read(length)
        path, _, query = self.path.partition("?")
        if path == "/to":
            self._answer(302, b"", {"Location": query})
        elif path == "/keep":
            self._answer(307, b"", {"Location": query})
        elif path == "/large":
            self._answer(200, b"x" * 100_000)
        elif path == "/packed":
            self._answer(200, gzip.compress(b"0" * 1_000_000), {"Content-Encoding": "gzip"})
        elif path == "/slow":
            time.sleep(3)
        elif path == "/bytes":
            self._answer(200, b"\xff\xfe\xff")
        else:
            self._answer(200, b"hello " + sent, {"Content-Type": "text/plain; charset=utf-8"})

    do_POST = do_GET  # noqa: N815 - the same

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def site() -> Iterator[Site]:
    """A running one."""
    with Site() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(config: Mapping[str, Any], *args: Any, resolve: Any = None, **kwargs: Any) -> dict[str, Any]:
    """Make a request as a tool would; `resolve` takes the place of the host's resolver."""
    lent = module(Lending(execution_id="one", config=config))

    async def run() -> dict[str, Any]:
        if resolve is not None:
            asyncio.get_running_loop().getaddrinfo = resolve  # type: ignore[method-assign]
        answer: dict[str, Any] = await lent.by_name["request"].call(*args, **kwargs)
        return answer

    return asyncio.run(run())


def test_from_a_tool(lender: Lender, site: Site) -> None:
    """A tool without a network asks; the record has the method and the address, without its query."""
    context = ExtensionContext({"http": {"private": [site.host]}})
    context.register_extension("http", module)
    code = f"from stepflow import http\ndef f():\n    return http.request('GET', 'http://{site.host}/a?key=secret')\n"
    record = lender.record(code, context)
    assert record.result is not None
    assert record.result.result["status"] == 200
    assert record.result.result["text"] == "hello "
    [call] = record.extension_calls
    assert call.arguments == {"method": "GET", "url": f"http://{site.host}/a"}


def test_methods_headers_and_bodies(site: Site) -> None:
    """What the operator allows is sent as it was said."""
    config = {"private": [site.host], "methods": ["GET", "POST"]}
    answer = ask(config, "post", f"http://{site.host}/", headers={"X-Mine": "1"}, body="wörld")
    assert answer["text"] == "hello wörld"
    assert site.seen[0][0] == "POST"
    assert site.seen[0][2]["X-Mine"] == "1"
    assert site.seen[0][2]["Host"] == site.host
    with pytest.raises(OSError, match="DELETE is not among the methods"):
        ask(config, "DELETE", f"http://{site.host}/")
    assert ask(config, "GET", f"http://{site.host}/bytes")["base64"] == "//7/"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "http://listed.example@example.org/",
        "http://example.org#listed.example",
        "http://example.org\\@listed.example/",
        "http://listed.example.example.org/",
        "http://xlisted.example/",
        "http://listed.example:8080/",
        "https://listed.example:80/",
        "file:///etc/passwd",
        "ftp://listed.example/",
        "gopher://listed.example/",
        "//listed.example/",
        "http://",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://2130706433/",
        "http://sub.sub.wild.example.evil/",
        "http://wild.example/",
    ],
)
def test_hosts_that_are_not_listed(url: str) -> None:
    """However an address is written, what is asked is the host that it names."""
    with pytest.raises((OSError, ValueError)) as refused:
        ask({"hosts": ["listed.example", "*.wild.example"], "timeout": 5}, "GET", url, resolve=never)
    assert not isinstance(refused.value, TimeoutError)


async def never(*_: Any, **__: Any) -> Any:
    """A resolver that nobody may get as far as."""
    pytest.fail("a name that is not listed was looked up")


def resolving(*answers: str) -> Any:
    """A resolver that says something else each time."""
    left = list(answers)

    async def resolve(_host: str, port: int, **_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in left.pop(0).split()]

    return resolve


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - what is tested
        "::1",
        "::ffff:127.0.0.1",
        "93.184.216.34 127.0.0.1",
    ],
)
def test_listed_names_that_lead_inside(address: str) -> None:
    """A public name with a private address, alone or among others, is refused before anything is sent."""
    with pytest.raises(OSError, match="which is not a public address"):
        ask({"hosts": ["listed.example"]}, "GET", "http://listed.example/", resolve=resolving(address))


def test_a_name_that_changes_its_address(site: Site) -> None:
    """What was checked is what is connected to: the second answer of the name is never asked for."""
    config = {"hosts": [f"rebinding.example:{site.server_port}"], "timeout": 1}
    with pytest.raises(OSError, match="rebinding"):
        ask(
            config,
            "GET",
            f"http://rebinding.example:{site.server_port}/",
            resolve=resolving("93.184.216.34", "127.0.0.1"),
        )
    assert site.seen == []
    inside = {"private": [f"rebinding.example:{site.server_port}"], "timeout": 5}
    answer = ask(inside, "GET", f"http://rebinding.example:{site.server_port}/", resolve=resolving("127.0.0.1"))
    assert answer["status"] == 200


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/", "http://localhost/", "file:///etc/passwd", "//evil.example/"]
)
def test_redirects_are_checked_like_requests(site: Site, target: str) -> None:
    """A listed host cannot send a tool elsewhere."""
    with pytest.raises(OSError, match=r"is not among the hosts|only http and https"):
        ask({"private": [site.host]}, "GET", f"http://{site.host}/to?{target}")


def test_redirects_are_followed_within_the_list(site: Site) -> None:
    """Relative ones too, a form becomes a GET or stays what it was, and a loop ends."""
    config = {"private": [site.host], "methods": ["GET", "POST"]}
    assert ask(config, "GET", f"http://{site.host}/to?/b")["url"] == f"http://{site.host}/b"
    assert ask(config, "POST", f"http://{site.host}/to?/b", body="x")["text"] == "hello "
    assert ask(config, "POST", f"http://{site.host}/keep?/b", body="x")["text"] == "hello x"
    with pytest.raises(OSError, match="redirects more than 5 times"):
        ask(config, "GET", f"http://{site.host}/to?to?to?to?to?to?to?to")


def test_secrets_stay_with_their_host(site: Site) -> None:
    """A redirect to another host takes neither authorization nor cookies along."""
    with Site() as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        config = {"private": [site.host, other.host]}
        ask(config, "GET", f"http://{site.host}/to?http://{other.host}/", headers={"Authorization": "s", "X-Mine": "1"})
        other.shutdown()
    assert "Authorization" in site.seen[0][2]
    assert "Authorization" not in other.seen[0][2]
    assert other.seen[0][2]["X-Mine"] == "1"


@pytest.mark.parametrize(
    ("path", "words"), [("large", "more than 50000 bytes"), ("packed", "is packed"), ("slow", "took longer than 1 s")]
)
def test_answers_have_bounds(site: Site, path: str, words: str) -> None:
    """Large, packed and slow ones end as errors."""
    with pytest.raises(OSError, match=words):
        ask({"private": [site.host], "max_bytes": 50_000, "timeout": 1}, "GET", f"http://{site.host}/{path}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "other.example"},
        {"host": "other.example"},
        {"Transfer-Encoding": "chunked"},
        {"Content-Length": "5"},
        {"Connection": "upgrade"},
        {"Proxy-Authorization": "x"},
        {"X-Mine": "a\r\nHost: other.example"},
        {"X-Mi\r\nne": "a"},
    ],
)
def test_headers_that_are_not_for_tools(site: Site, headers: dict[str, str]) -> None:
    """Neither whom a request is for nor where it ends can be said otherwise."""
    with pytest.raises((ValueError, OSError)):
        ask({"private": [site.host], "timeout": 5}, "GET", f"http://{site.host}/", headers=headers)
    assert site.seen == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("no address", False),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:  # noqa: FBT001 - a table
    """Addresses that carry another one are what they carry."""
    assert is_public(address) is public


@pytest.mark.parametrize("config", [{"host": ["a"]}, {"hosts": "a"}, {"timeout": 0}, {"max_bytes": -1}])
def test_an_unusable_section(config: dict[str, Any]) -> None:
    """The operator's mistakes show when it is registered."""
    with pytest.raises(UnusableExtensionError, match=r"\[http\]"):
        module(Lending(config=config))
