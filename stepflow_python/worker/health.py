"""Liveness and readiness over HTTP, for whoever supervises containers."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import override

from stepflow_python.errors import ConfigurationError

Check = Callable[[], bool]
Page = Callable[[], tuple[str, bytes]]
"""Content type and content."""
PATIENCE_S = 5.0


@contextmanager
def health_server(
    port: int, checks: Mapping[str, Mapping[str, Check]], pages: Mapping[str, Page] | None = None
) -> Iterator[int]:
    """Answer `GET /live` and the like: 200 where every check of that name holds, else 503, with each check's word.

    Args:
        port: on all interfaces; 0 takes a free one.
        checks: by path, without its slash, the checks by their names. One that raises does not hold.
        pages: by path likewise, what is shown there.

    Yields:
        The port.

    Raises:
        ConfigurationError: the port is taken, or not for this user.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE_S

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].strip("/")
            page = (pages or {}).get(path)
            if page is not None:
                self._answer(200, *page())
                return
            found = checks.get(path)
            held = {name: holds(check) for name, check in (found or {}).items()}
            code = 404 if found is None else 200 if all(held.values()) else 503
            self._answer(code, "application/json", json.dumps(held).encode())

        def _answer(self, code: int, content_type: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds: nothing to log."""

    try:
        server = ThreadingHTTPServer(("", port), Handler)
    except OSError as error:
        raise ConfigurationError(f"--health-port {port}: {error.strerror}; name another port") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="stepflow-health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def holds(check: Check) -> bool:
    """Whether a check holds; one that raises does not."""
    try:
        return check()
    except Exception:  # noqa: BLE001 - whatever is wrong, it does not hold
        return False
