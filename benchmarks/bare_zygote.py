"""The least that a fork for each call can cost: a zygote without any isolation, limits, record or supervisor.

`python bare_zygote.py waiting|demand SOCKET_FD SOURCE FUNCTION`: executes what the source imports, then answers each
message, one JSON argument, from a process that is forked for it: before it comes, or then.
"""

import json
import os
import socket
import sys


def main() -> None:
    """Serve until the other end is closed."""
    mode, descriptor, source, function = sys.argv[1:]
    line = socket.socket(fileno=int(descriptor))
    code = compile(source, "tool.py", "exec")
    exec(code, {"__name__": "tool"})  # noqa: S102 - the benchmark's own
    while True:
        message = line.recv(4096) if mode == "demand" else b""
        if mode == "demand" and not message:
            return
        pid = os.fork()
        if pid == 0:
            message = message or line.recv(4096)
            if message:
                namespace = {"__name__": "tool"}
                exec(code, namespace)  # noqa: S102 - the same
                line.send(json.dumps(namespace[function](json.loads(message))).encode())
            os._exit(0 if message else 1)
        if os.waitpid(pid, 0)[1]:
            return


if __name__ == "__main__":
    main()
