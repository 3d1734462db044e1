"""Lies, floods and falls silent where its result is to be given."""

import gc
import json
import os
import resource
import signal
import sys
import time
from typing import Any

from trade import ends, harmless, in_background, refused

World = dict[str, Any]

FAKE = json.dumps({"ok": True, "value": "forged", "execution_id": "another", "status": "succeeded"}).encode()


def _frame(kind: bytes, body: bytes = b"") -> bytes:
    return kind + len(body).to_bytes(8, "big") + body


def _everywhere(data: bytes) -> None:
    """Write it to whatever is open, or may be opened, above the standard three."""
    for number in range(3, 300):
        for path in (None, f"/proc/self/fd/{number}", f"/proc/1/fd/{number}", f"/proc/{os.getppid()}/fd/{number}"):
            try:
                descriptor = number if path is None else os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                os.write(descriptor, data)
            except OSError:
                continue


@harmless()
def writes_a_report_to_every_descriptor(world: World) -> Any:
    _everywhere(FAKE)
    return "true"


@harmless()
def writes_frames_to_every_descriptor(world: World) -> Any:
    status = _frame(b"S", b'{"exit":0}')
    _everywhere(_frame(b"B") + _frame(b"R", FAKE) + status + _frame(b"E") + _frame(b"X", b"fault"))
    return "true"


@harmless()
def rings_for_its_supervisor(world: World) -> Any:
    """As a process does that waited for its run, when it has said its last word; here there is none yet."""
    for _ in range(200):
        for number in (1, os.getppid()):
            try:
                os.kill(number, signal.SIGUSR1)
            except OSError:
                continue
    return "true"


@harmless()
def writes_half_a_last_word(world: World) -> Any:
    """The end of an answer without its beginning, and nobody rings."""
    _everywhere(b"\x7f" * 8 + b"\0last word\0")
    return "true"


@harmless()
def closes_every_descriptor(world: World) -> Any:
    os.closerange(0, 1024)
    return "true"


@harmless()
def closes_every_descriptor_and_opens_others_in_their_place(world: World) -> Any:
    os.closerange(0, 1024)
    for number in range(100):
        os.open(f"file-{number}", os.O_RDWR | os.O_CREAT)
    return "true"


@ends("output_exceeded", "failed", "memory_exceeded", result_bytes=65536, memory_mib=128)
def floods_the_file_of_its_report(world: World) -> Any:
    for number in range(3, 30):
        try:
            for _ in range(40):
                os.write(number, b"x" * (1 << 20))
        except OSError:
            continue
    os._exit(0)


@ends("failed")
def leaves_half_a_report(world: World) -> Any:
    _everywhere(FAKE[: len(FAKE) // 2])
    os._exit(0)


@ends("failed")
def leaves_rubbish_as_a_report(world: World) -> Any:
    _everywhere(os.urandom(1000))
    os._exit(0)


@ends("failed")
def leaves_a_report_that_is_nested_without_end(world: World) -> Any:
    _everywhere(b'{"ok":true,"value":' + b"[" * 20_000 + b"]" * 20_000 + b"}")
    os._exit(0)


@ends("failed")
def leaves_a_report_with_a_number_without_end(world: World) -> Any:
    _everywhere(b'{"ok":true,"value":' + b"9" * 60_000 + b"}")
    os._exit(0)


@ends("failed")
def leaves_a_report_of_an_infinite_number(world: World) -> Any:
    _everywhere(b'{"ok":true,"value":1e999}')
    os._exit(0)


@ends("failed")
def leaves_a_report_with_lines_beyond_all_numbers(world: World) -> Any:
    frames = b'[{"file":"f","line":' + b"9" * 100 + b',"function":"g"}]'
    _everywhere(b'{"ok":false,"exceptions":[{"type":"E","message":"m","frames":' + frames + b"}]}")
    os._exit(1)


@ends("failed")
def leaves_by_the_back_door(world: World) -> Any:
    os._exit(0)


@ends("failed")
def dies_while_its_result_is_written(world: World) -> Any:
    class Deadly(dict[str, int]):
        def items(self) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

        def __iter__(self) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

    return {"a": [1] * 1000, "b": Deadly(a=1)}


@ends("failed")
def returns_lists_within_lists(world: World) -> Any:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    return nested


@ends("failed")
def returns_what_contains_itself(world: World) -> Any:
    own: list[Any] = []
    own.append(own)
    return own


@ends("failed", "succeeded", raises="AttributeError TypeError")
def returns_something_that_lies_about_its_class(world: World) -> Any:
    class Liar:
        __class__ = dict  # type: ignore[assignment]

    return Liar()


@ends("failed")
def replaces_the_guest_under_its_feet(world: World) -> Any:
    """Every function of the guest's own modules, in its own process."""
    for name, module in list(sys.modules.items()):
        if name.startswith("stepflow_guest"):
            for attribute in list(vars(module)):
                setattr(module, attribute, None)
    return "forged"


@ends("failed", "succeeded")
def reaches_for_the_guest_by_the_stack(world: World) -> Any:
    """Changes what callers hold: the request, the limits, the sink of the report."""
    frame = sys._getframe()
    while frame is not None:
        for held in list(frame.f_locals.values()):
            for slot in getattr(type(held), "__slots__", ()):
                try:
                    setattr(held, slot, 10**9)
                except (AttributeError, TypeError):
                    continue
        frame = frame.f_back  # type: ignore[assignment]
    return [type(one).__name__ for one in gc.get_objects() if type(one).__name__ == "Sink"]


@ends("failed")
def raises_an_exception_that_cannot_be_shown(world: World) -> Any:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise self

        __repr__ = __str__

    raise UnspeakableError


@ends("failed")
def raises_causes_without_end(world: World) -> Any:
    first = last = ValueError("first")
    for number in range(10_000):
        last.__cause__ = last = ValueError(f"cause {number}")
    last.__cause__ = first
    raise first


@ends("failed")
def raises_what_no_encoding_holds(world: World) -> Any:
    raise ValueError("\ud800 \x00 \ufffe \U0010ffff \x1b[2J")


@ends("failed")
def raises_by_a_name_of_a_thousand_kilobytes(world: World) -> Any:
    raise type("x" * 1_000_000, (Exception,), {})("m")


@harmless()
def prints_what_no_encoding_holds(world: World) -> Any:
    os.write(1, bytes(range(256)) * 10 + b"\xed\xa0\x80\x00")
    return "\ud800\x00\ufffe"


@harmless()
def replaces_the_streams(world: World) -> Any:
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    sys.excepthook = sys.unraisablehook = None  # type: ignore[assignment]
    return "true"


@ends("failed", "succeeded", "timed_out", timeout_s=3.0)
def lets_a_child_give_the_result_as_well(world: World) -> Any:
    """Both come back from the function: only the tool's own process reports."""
    return "child" if os.fork() == 0 else "parent"


@ends("succeeded", "failed")
def lets_a_process_left_behind_write_over_the_report(world: World) -> Any:
    def write_on() -> None:
        while True:
            _everywhere(FAKE)

    in_background(write_on)
    time.sleep(0.05)
    return "true"


@refused("EFBIG", "EPERM", "ENOSPC", result_bytes=65536, file_bytes=65536)
def writes_a_file_with_the_room_of_its_report(world: World) -> Any:
    """The limit that a report may pass is the tool's to raise, and still a limit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    with open("large", "wb", buffering=0) as file:
        file.writelines(b"x" * (1 << 20) for _ in range(100))
    return hard
