"""Conversations with a model, on pydantic-ai's direct layer, which is loaded when the first one begins."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import JsonValue

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import Model
    from pydantic_ai.settings import ModelSettings

LONGEST_S: Final = 600.0
ROLES: Final = ("system", "developer", "user", "assistant")
MAX_WORDS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is called, and how often a call that may pass later is made again."""

    url: str
    key: str = field(repr=False)
    model: str
    retries: int


class Connection:
    """Asks one model; `deadline` is on the clock `time.monotonic`."""

    def __init__(self, endpoint: Endpoint, client: "AsyncOpenAI", model: "Model", *, deadline: float) -> None:
        self._endpoint = endpoint
        self._client = client
        self._model = model
        self._deadline = deadline

    async def ask(
        self, messages: Sequence[Mapping[str, JsonValue]], *, temperature: float | None, max_tokens: int | None
    ) -> dict[str, JsonValue]:
        """The whole answer as a message, with why it ended and what it took.

        Raises:
            ValueError: a message cannot be sent.
            OSError: the endpoint cannot be reached.
            RuntimeError: the API's own error, or an answer without an end.
        """
        from pydantic_ai.direct import model_request  # noqa: PLC0415 - takes seconds

        history = to_history(messages)
        with self._told():
            response = await model_request(self._model, history, model_settings=self._settings(temperature, max_tokens))
        return {
            "role": "assistant",
            "content": response.text or "",
            "finish_reason": _finish(response),
            "model": response.model_name,
            "usage": {
                "prompt_tokens": response.usage.input_tokens,
                "completion_tokens": response.usage.output_tokens,
                "total_tokens": response.usage.input_tokens + response.usage.output_tokens,
            },
        }

    async def stream(
        self, messages: Sequence[Mapping[str, JsonValue]], *, temperature: float | None, max_tokens: int | None
    ) -> AsyncIterator[str]:
        """The answer's text as it comes; raises what `ask` does."""
        from pydantic_ai.direct import model_request_stream  # noqa: PLC0415 - takes seconds

        history = to_history(messages)
        settings = self._settings(temperature, max_tokens)
        with self._told():
            async with model_request_stream(self._model, history, model_settings=settings) as response:
                async for event in response:
                    piece = _text_in(event)
                    if piece:
                        yield piece
                _finish(response.get())

    async def close(self) -> None:
        """Close what is open to the endpoint."""
        await self._client.close()

    def _settings(self, temperature: float | None, max_tokens: int | None) -> "ModelSettings":
        settings: ModelSettings = {"timeout": max(0.1, min(LONGEST_S, self._deadline - time.monotonic()))}
        if temperature is not None:
            settings["temperature"] = temperature
        if max_tokens is not None:
            settings["max_tokens"] = max_tokens
        return settings

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the library's errors into words for a tool, without the key."""
        from pydantic_ai import exceptions  # noqa: PLC0415 - takes seconds

        where = self._endpoint.url
        try:
            yield
        except exceptions.ModelHTTPError as error:
            words = f"{where} answered {error.status_code}: {_message_of(error.body) or 'no message'}"
            raise RuntimeError(self._clean(words)) from None
        except exceptions.ModelTimeoutError:
            raise TimeoutError(f"{where} did not answer in time") from None
        except exceptions.ModelConnectionError as error:
            raise OSError(self._clean(f"{where} cannot be reached: {_causes(error)}")) from None
        except (exceptions.ModelAPIError, exceptions.UnexpectedModelBehavior) as error:
            raise RuntimeError(self._clean(f"{where} gave no usable answer: {_causes(error)}")) from None
        except RuntimeError:
            raise
        except Exception as error:  # noqa: BLE001 - a library's library: whatever it is, it is told as one kind
            # What the transport or a parser raises below the library: a connection cut short, no JSON.
            raise OSError(self._clean(f"{where} broke off its answer: {_causes(error)}")) from None

    def _clean(self, text: str) -> str:
        return text.replace(self._endpoint.key, "***")[:MAX_WORDS]


def connect(endpoint: Endpoint, deadline: float) -> Connection:
    """A connection to an OpenAI-compatible endpoint; nothing is sent yet."""
    from openai import AsyncOpenAI  # noqa: PLC0415 - takes seconds
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
    from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415

    client = AsyncOpenAI(base_url=endpoint.url, api_key=endpoint.key, max_retries=endpoint.retries)
    model = OpenAIChatModel(endpoint.model, provider=OpenAIProvider(openai_client=client))
    return Connection(endpoint, client, model, deadline=deadline)


def to_history(messages: Sequence[Mapping[str, JsonValue]]) -> "list[ModelMessage]":
    """Messages as the library has them.

    Raises:
        ValueError: there are none, or one has another role or no text.
    """
    from pydantic_ai.messages import (  # noqa: PLC0415 - takes seconds
        ModelRequest,
        ModelResponse,
        SystemPromptPart,
        TextPart,
        UserPromptPart,
    )

    if not messages:
        raise ValueError("chat() takes at least one message, as {'role': 'user', 'content': '...'}")
    history: list[ModelMessage] = []
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise ValueError(f"messages[{index}] has the role {role!r}; it must be one of {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise ValueError(f"messages[{index}] has no text as its content")  # noqa: TRY004 - a list of messages it is
        if role == "assistant":
            history.append(ModelResponse(parts=[TextPart(content)]))
        else:
            part = UserPromptPart(content) if role == "user" else SystemPromptPart(content)
            history.append(ModelRequest(parts=[part]))
    return history


def _finish(response: "ModelResponse") -> str:
    # Where the API gives no reason the library supposes that it stopped; only the API's own word is believed.
    details = response.provider_details or {}
    if response.finish_reason is None or not (details.get("finish_reason") or details.get("refusal")):
        raise RuntimeError("the answer broke off: it has no finish reason")
    return response.finish_reason


def _text_in(event: Any) -> str:  # noqa: ANN401 - one of many kinds of event
    part, delta = getattr(event, "part", None), getattr(event, "delta", None)
    if type(event).__name__ == "PartStartEvent" and type(part).__name__ == "TextPart":
        return str(getattr(part, "content", ""))
    return str(getattr(delta, "content_delta", "") or "") if type(delta).__name__ == "TextPartDelta" else ""


def _message_of(body: object) -> str:
    """The API's own words in the body of its error."""
    match body:
        case {"error": {"message": str(words)}} | {"message": str(words)} | {"error": str(words)} | str(words):
            return words
    return "" if body is None else str(body)


def _causes(error: BaseException | None) -> str:
    """An error and what caused it, each once: the innermost one knows the network."""
    words: list[str] = []
    while error is not None:
        text = str(error).strip().rstrip(".") or type(error).__name__
        if text not in words:
            words.append(text)
        error = error.__cause__ or error.__context__
    return ": ".join(words)
