"""How much of the host one run may use through its extensions."""

from dataclasses import dataclass


class QuotaError(RuntimeError):
    """The run has used up what it may; the message says of what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Bounds of one run: `calls` of functions, `bytes` in both directions together, `at_once` calls under way."""

    calls: int = 10_000
    bytes: int = 64 * 1024 * 1024
    at_once: int = 16


class Quota:
    """Counts down."""

    def __init__(self, limits: CallLimits) -> None:
        self._limits = limits
        self._calls = 0
        self._bytes = 0

    def call(self) -> None:
        """One more call.

        Raises:
            QuotaError: it is one too many.
        """
        self._calls += 1
        if self._calls > self._limits.calls:
            raise QuotaError(f"this run has made its {self._limits.calls} calls of extensions; make fewer")

    def pass_on(self, size: int) -> None:
        """So many more bytes.

        Raises:
            QuotaError: they are too many.
        """
        self._bytes += size
        if self._bytes > self._limits.bytes:
            raise QuotaError(
                f"calls of extensions have moved the {self._limits.bytes} bytes that a run may move; send less"
            )
