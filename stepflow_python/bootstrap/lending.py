"""Extensions for a runtime: loaded when a request first asks for one, since most runs are lent nothing."""

import asyncio
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stepflow_python.config import Settings
from stepflow_python.ports import CallLog, HostCall, SandboxRun

if TYPE_CHECKING:
    from stepflow_python.extensions.context import ExtensionContext


class LentLater:
    """Implements `ports.HostCall`, and answers what rules ask of extensions.

    Args:
        settings: bounds, and where the operator's file lies.
        environ: the variables that the file may name.
        log: the record of calls.
        context: the extensions; those that are installed if none.

    Raises:
        ConfigurationError: the operator's file cannot be used.
    """

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], log: CallLog, context: "ExtensionContext | None" = None
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._log = log
        self._context = context
        self._modules: HostCall | None = None
        self._loading = threading.Lock()
        if context is None and (settings.extension_config is not None or settings.extension_file.exists()):
            self._load()  # a mistake in the file shows at start

    async def serve(self, line: socket.socket, run: SandboxRun) -> None:
        """Answer the calls of a run; see `ports.HostCall`."""
        modules = self._modules
        if modules is None:
            from stepflow_python.bootstrap.extensions import lent_modules  # noqa: PLC0415 - see above

            context = await asyncio.to_thread(self._load)
            modules = self._modules = lent_modules(self._settings, context, self._log)
        await modules.serve(line, run)

    def unlendable(self, names: Sequence[str]) -> str | None:
        """What is wrong with a request for these; may block, and be called in a thread."""
        from stepflow_python.bootstrap.extensions import unlendable  # noqa: PLC0415 - see above

        return unlendable(names, self._settings, self._load())

    def names(self) -> frozenset[str]:
        """Names of all that are installed."""
        return self._load().names()

    def _load(self) -> "ExtensionContext":
        from stepflow_python.bootstrap.extensions import open_context  # noqa: PLC0415 - see above

        with self._loading:
            if self._context is None:
                self._context = open_context(self._settings, self._environ)
            return self._context
