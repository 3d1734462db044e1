"""`http`: requests to hosts that the operator lists, for tools without a network.

The worker's section `[http]` holds `hosts` (as `api.example.org`, `*.example.org` or `host:8443`), `private` for those
that may lie at private addresses, `methods`, `max_bytes` of an answer, and `timeout` in seconds.
"""

import asyncio
import base64
import importlib.util
import ssl
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue, PositiveFloat, PositiveInt, ValidationError

from stepflow_python.extensions.builtin.addresses import DEFAULT_PORTS, Allowed, NotAllowedError
from stepflow_python.extensions.description import Function, Module, UnusableExtensionError
from stepflow_python.extensions.lending import Lending
from stepflow_python.model.values import Value

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = (301, 302, 303, 307, 308)
SAME_METHOD: Final = (307, 308)
# Whom a connection is for, and where a message ends, is ours to say: else a proxy might see other requests than we do.
OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)
SECRET: Final = ("authorization", "cookie", "proxy-authorization")


class Config(Value):
    """The operator's section."""

    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("GET", "HEAD")
    max_bytes: PositiveInt = 8 * 1024 * 1024
    timeout: PositiveFloat = 30.0


def module(lending: Lending) -> Module:
    """Requests of one run."""
    if importlib.util.find_spec("httpx") is None:
        raise UnusableExtensionError("its library is not installed; pip install 'stepflow-python[http]'")
    try:
        config = Config.model_validate(dict(lending.config))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise UnusableExtensionError(f"[http] {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    requests = Requests(config, lending)
    audited = {"method": lambda method: method, "url": _without_query}
    return Module(
        functions=[
            Function(requests.request, audited=audited),
            Function(requests.get, audited={"url": _without_query}),
        ],
        constants={"HOSTS": list(config.hosts), "METHODS": list(config.methods)},
        doc="Requests to hosts that the worker's operator lists.",
    )


class Requests:
    """Asks, with every hop checked."""

    def __init__(self, config: Config, lending: Lending) -> None:
        self._config = config
        self._allowed = Allowed(hosts=config.hosts, private=config.private)
        self._lending = lending

    async def get(self, url: str, *, headers: dict[str, str] | None = None) -> dict[str, JsonValue]:
        """Fetch a URL; see `request`."""
        return await self.request("GET", url, headers=headers)

    async def request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: str | None = None
    ) -> dict[str, JsonValue]:
        """Send a request and return the answer, redirects followed.

        Args:
            method: one of METHODS.
            url: http or https, at one of HOSTS.
            headers: further ones; `Host` and what frames a message are not for tools.
            body: text, sent as UTF-8.

        Returns:
            `status`, `url` (the last one), `headers`, `text`, and where the answer is no text, `base64` in its place.

        Raises:
            OSError: this may not be asked here, or the host cannot be reached, or answers too much.
            TimeoutError: it takes too long.
            ValueError: the URL or a header is none.
        """
        seconds = min(self._config.timeout, self._lending.remaining_s)
        try:
            async with asyncio.timeout(seconds):
                return await self._followed(method.upper(), url, headers or {}, (body or "").encode())
        except TimeoutError as error:
            raise TimeoutError(f"{_without_query(url)} took longer than {seconds:g} s") from error

    async def _followed(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, JsonValue]:
        import httpx  # noqa: PLC0415 - an extra

        for name in headers:
            if name.lower() in OURS or name.lower().startswith("proxy-"):
                raise ValueError(f"the header {name} is not for tools to set")
        target = _parsed(url)
        sent = dict(headers)
        for _ in range(MAX_REDIRECTS + 1):
            if method not in self._config.methods:
                raise NotAllowedError(f"{method} is not among the methods that tools may use: {self._config.methods}")
            status, answered, content = await self._hop(method, target, sent, body)
            location = answered.get("location")
            if status not in REDIRECTS or location is None:
                return _answer(status, target, answered, content)
            following = _parsed(str(target.join(httpx.URL(location))))
            if (following.scheme, following.host, following.port) != (target.scheme, target.host, target.port):
                sent = {name: value for name, value in sent.items() if name.lower() not in SECRET}
            if status not in SAME_METHOD and method != "HEAD":
                method, body = "GET", b""
            target = following
        raise OSError(f"{_without_query(url)} redirects more than {MAX_REDIRECTS} times")

    async def _hop(
        self, method: str, url: "httpx.URL", headers: Mapping[str, str], body: bytes
    ) -> tuple[int, "httpx.Headers", bytes]:
        """One request, to an address that was checked."""
        import httpx  # noqa: PLC0415 - an extra

        host, port = url.raw_host.decode("ascii").lower().rstrip("."), url.port or DEFAULT_PORTS.get(url.scheme, 0)
        self._allowed.check(url.scheme, host, port)
        address = await self._allowed.address(url.scheme, host, port)
        own = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "Connection": "close"}
        try:
            request = httpx.Request(
                method,
                url.copy_with(host=address, userinfo=b"", fragment=None),
                headers={**headers, **own},
                content=body or None,
                # Certificates are checked against the name, and the server is told it, though an address is called.
                extensions={"sni_hostname": host},
            )
        except (ValueError, TypeError, httpx.InvalidURL) as error:
            raise ValueError(f"this cannot be sent: {error}") from error
        try:
            # A connection of its own for each request: one at the same address may have been made for another name.
            async with httpx.AsyncHTTPTransport(trust_env=False, verify=_certificates()) as transport:
                response = await transport.handle_async_request(request)
                return response.status_code, response.headers, await self._content(response)
        except httpx.HTTPError as error:
            raise OSError(f"{host}:{port} cannot be asked: {str(error) or type(error).__name__}") from error

    async def _content(self, response: "httpx.Response") -> bytes:
        content = bytearray()
        # Raw: what is packed small could unpack to anything.
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > self._config.max_bytes:
                raise OSError(f"the answer has more than {self._config.max_bytes} bytes")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise OSError("the answer is packed, though that was not asked for")
        return bytes(content)


@cache
def _certificates() -> ssl.SSLContext:
    """Who is trusted; reading it takes as long as a request."""
    import httpx  # noqa: PLC0415 - an extra

    return httpx.create_ssl_context(trust_env=False)


def _parsed(url: str) -> "httpx.URL":
    import httpx  # noqa: PLC0415 - an extra

    try:
        parsed = httpx.URL(url)
        _ = parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise ValueError(f"{_without_query(url)!r} is no URL: {error}") from error
    if parsed.userinfo:
        raise ValueError(f"{_without_query(url)} has a user in it; send an Authorization header")
    return parsed


def _answer(status: int, url: "httpx.URL", headers: "httpx.Headers", content: bytes) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {"status": status, "url": str(url), "headers": dict(headers)}
    charset = headers.get("content-type", "").partition("charset=")[2].partition(";")[0].strip('" ') or "utf-8"
    try:
        found["text"] = content.decode(charset)
    except (UnicodeDecodeError, LookupError):
        found["base64"] = base64.b64encode(content).decode("ascii")
    return found


def _without_query(url: JsonValue) -> str:
    """An address as it may be recorded: without what follows `?`, and without a password."""
    scheme, there, rest = str(url).partition("#")[0].partition("?")[0].partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{scheme}{there}{netloc.rpartition('@')[2]}{slash}{path}"
