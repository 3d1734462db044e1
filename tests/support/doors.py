"""Ways to a server that a test can shut and open again."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

CHUNK = 65536


class Door:
    """Passes connections on to a port of this host; `shut` ends all of them and refuses new ones, until `open`."""

    def __init__(self, port: int) -> None:
        self._to = port
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._lines: set[socket.socket] = set()

    def open(self) -> None:
        """Let connections through."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        """End and refuse them."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            for line in self._lines:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _address = listener.accept()
                threading.Thread(target=self._pass_on, args=(caller,), daemon=True).start()

    def _pass_on(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as server:
            with self._lock:
                self._lines |= {caller, server}
            if self._listener is None:  # shut meanwhile
                return
            back = threading.Thread(target=_pump, args=(server, caller), daemon=True)
            back.start()
            _pump(caller, server)
            back.join()
            with self._lock:
                self._lines -= {caller, server}


@contextlib.contextmanager
def door(url: str) -> Iterator[tuple[Door, str]]:
    """A shut door to the server of a URL, and the URL through it."""
    port = urlsplit(url).port
    assert port is not None
    made = Door(port)
    try:
        yield made, url.replace(f":{port}", f":{made.port}", 1)
    finally:
        made.shut()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
