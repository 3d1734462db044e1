"""`llm`: language models, for tools that have neither a network nor a key.

The worker's section `[llm]` may hold `endpoint`, `api_key` and `model` for all tools, `hosts` that a tool's own
configuration may name besides, and `retries`. A key of the worker is sent to the worker's endpoint only.
"""

import asyncio
import importlib.util
import ipaddress
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import JsonValue

from stepflow_python.extensions.builtin.chat import Connection, Endpoint, connect
from stepflow_python.extensions.description import Function, Module, UnusableExtensionError
from stepflow_python.extensions.lending import Lending

FIELDS: Final = ("endpoint", "api_key", "model")
DEFAULT_RETRIES: Final = 2


def module(lending: Lending) -> Module:
    """The module of one run: what it configures is its own."""
    if importlib.util.find_spec("pydantic_ai") is None:
        raise UnusableExtensionError("its libraries are not installed; pip install 'stepflow-python[llm]'")
    session = Session(lending)
    if not lending.execution_id:
        session.check()
    return Module(
        functions=[
            session.configure,
            Function(session.chat, audited=("temperature", "max_tokens")),
            Function(session.chat_stream, audited=("temperature", "max_tokens")),
        ],
        doc="Language models, called by the host: the tool needs no network and no key.",
    )


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What the operator configured."""

    fields: Mapping[str, str]
    hosts: tuple[str, ...]
    retries: int

    @classmethod
    def of(cls, config: Mapping[str, JsonValue]) -> "WorkerConfig":
        """Read the section.

        Raises:
            UnusableExtensionError: a field is unknown or malformed.
        """
        unknown = sorted(config.keys() - {*FIELDS, "hosts", "retries"})
        if unknown:
            raise UnusableExtensionError(f"[llm] has no {', '.join(unknown)}; it takes endpoint, api_key, model, ...")
        fields = {name: config[name] for name in FIELDS if name in config}
        hosts, retries = config.get("hosts", []), config.get("retries", DEFAULT_RETRIES)
        if not all(isinstance(value, str) and value for value in fields.values()):
            raise UnusableExtensionError("[llm] endpoint, api_key and model are texts")
        if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
            raise UnusableExtensionError("[llm] hosts is a list of host names")
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise UnusableExtensionError("[llm] retries is a number from 0 up")
        return cls({name: str(value) for name, value in fields.items()}, tuple(map(str, hosts)), retries)


class Session:
    """The configuration of one run, and the connection that is made of it."""

    def __init__(self, lending: Lending) -> None:
        self._lending = lending
        self._worker: WorkerConfig | None = None
        self._own: dict[str, str] = {}
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        lending.at_end(self._close)

    def check(self) -> None:
        """Whether the worker's section can be used; see `WorkerConfig.of`."""
        self._worker = self._worker or WorkerConfig.of(self._lending.config)

    async def configure(self, config: dict[str, JsonValue]) -> None:
        """Choose the endpoint, key and model of this run.

        Args:
            config: `endpoint` (the API's address up to and with its version, as https://api.openai.com/v1), `api_key`
                and `model`, all texts. What the worker is configured with may be left out.

        Raises:
            KeyError: a field is missing; it is the field's name.
            ValueError: a field is unknown or no text, or the endpoint is none that may be called.
        """
        own = _texts(config)
        self._merged(own)
        await self._close()
        self._own = own

    async def chat(
        self, messages: list[dict[str, JsonValue]], *, temperature: float | None = None, max_tokens: int | None = None
    ) -> str:
        """Send a conversation and return the answer as JSON text.

        Args:
            messages: the whole history, each `{"role": "system" | "user" | "assistant", "content": text}`.
            temperature: how freely the model chooses; the model's own default if none.
            max_tokens: the longest answer.

        Returns:
            A JSON object with `role` ("assistant"), `content`, `finish_reason`, `model` and `usage`.

        Raises:
            TypeError: messages is missing or no list of objects.
            ValueError: a message has another role, or no text.
            OSError: the endpoint cannot be reached.
            RuntimeError: nothing is configured, or the API answered with an error: its status and message.
        """
        connection = await self._connected()
        answer = await connection.ask(messages, temperature=temperature, max_tokens=max_tokens)
        return json.dumps(answer, ensure_ascii=False)

    async def chat_stream(
        self, messages: list[dict[str, JsonValue]], *, temperature: float | None = None, max_tokens: int | None = None
    ) -> AsyncIterator[str]:
        """Send a conversation and give the answer's text piece by piece, as it comes.

        Takes and raises what `chat` does; an answer that breaks off is an error after its last piece.
        """
        connection = await self._connected()
        async for piece in connection.stream(messages, temperature=temperature, max_tokens=max_tokens):
            yield piece

    def _merged(self, own: Mapping[str, str]) -> Endpoint:
        """What is called: the tool's own configuration over the worker's."""
        self.check()
        worker = self._worker or WorkerConfig({}, (), DEFAULT_RETRIES)
        theirs = dict(worker.fields)
        endpoint = own.get("endpoint") or theirs.get("endpoint")
        if endpoint != theirs.get("endpoint"):
            # The worker's key is for the worker's endpoint: elsewhere it would be anybody's who asks for it.
            theirs.pop("api_key", None)
            _check_endpoint(str(endpoint), worker)
        fields = theirs | dict(own)
        for name in FIELDS:
            if name not in fields:
                raise KeyError(name)
        return Endpoint(url=fields["endpoint"], key=fields["api_key"], model=fields["model"], retries=worker.retries)

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None:
                try:
                    endpoint = self._merged(self._own)
                except KeyError as error:
                    raise RuntimeError(
                        f"llm is not configured, {error} is missing: "
                        "call llm.configure with endpoint, api_key and model"
                    ) from None
                # The library takes seconds to load; other runs go on meanwhile.
                self._connection = await asyncio.to_thread(connect, endpoint, self._lending.deadline)
            return self._connection

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _texts(config: Mapping[str, Any]) -> dict[str, str]:
    unknown = sorted(config.keys() - set(FIELDS))
    if unknown:
        raise ValueError(f"configure() takes endpoint, api_key and model, not {', '.join(unknown)}")
    for name, value in config.items():
        if not isinstance(value, str) or not value:
            raise ValueError(f"configure() takes {name} as a text that is not empty")
    return dict(config)


def _check_endpoint(endpoint: str, worker: WorkerConfig) -> None:
    """Refuse what a tool may not have the host call.

    A worker that has an endpoint of its own lends that one, and those of `hosts`; any other lends whatever a tool
    names, but for the addresses at which clouds keep the machine's own keys.
    """
    try:
        parts = urlsplit(endpoint)
        host, usable = parts.hostname or "", parts.scheme in {"http", "https"}
        _ = parts.port
    except ValueError:
        host, usable = "", False
    if not host or not usable:
        raise ValueError("configure() takes endpoint as an address such as https://api.openai.com/v1")
    bounded = bool(worker.hosts) or "endpoint" in worker.fields
    if (bounded and host not in worker.hosts) or (not bounded and _is_link_local(host)):
        raise ValueError(
            f"configure(): this worker lends no endpoint at {host}; the operator may list it in [llm] hosts"
        )


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return host in {"metadata", "metadata.google.internal"}
