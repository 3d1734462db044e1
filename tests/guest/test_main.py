"""The protocol, on every interpreter of the machine."""

import marshal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Guest

CHAIN = """
class Refused(Exception):
    pass

def inner():
    raise ValueError("bad")

def f():
    try:
        inner()
    except ValueError as error:
        raise Refused("no") from error
"""
ASYNC = """
import asyncio

async def numbers(n):
    for number in range(n):
        await asyncio.sleep(0)
        yield number

async def double(n):
    await asyncio.sleep(0)
    return 2 * n
"""
TIMES = """
import datetime

def f(when, span, data, kinds):
    return [when.isoformat(), span.total_seconds(), data, sorted(kinds), type(kinds).__name__]
"""
TIMES_SCHEMA = {
    "type": "object",
    "properties": {
        "when": {"type": "string", "x-python": "datetime"},
        "span": {"type": ["number", "string"], "x-python": "timedelta"},
        "data": {"type": "string", "x-python": "bytes"},
        "kinds": {"type": "array", "x-python": "frozenset", "items": {"type": "string"}},
    },
}


def test_a_function_gives_its_result(each_guest: "Guest") -> None:
    """Arguments go in, the value, the print-outs and the frames come out in their order."""
    source = "def f(a, /, b, *rest, c=3, **more):\n    print('said')\n    return [a, b, rest, c, more]\n"
    ran = each_guest.run(
        source,
        "f",
        parameters=[
            ["a", "positional_only"],
            ["b", "positional_or_keyword"],
            ["rest", "var_positional"],
            ["c", "keyword_only"],
            ["more", "var_keyword"],
        ],
        arguments={"a": 1, "b": "ü", "rest": [True, None], "x": 1.5},
    )
    assert ran.value == [1, "ü", [True, None], 3, {"x": 1.5}]
    assert (ran.code, ran.stdout, ran.stderr) == (0, "said\n", "")
    assert [kind for kind, _ in ran.frames] == [b"B", b"R", b"S", b"E"]
    assert (ran.status["exit"], ran.status["signal"], ran.status["flooded"]) == (0, None, False)
    assert ran.status["cpu_ms"] > 0
    assert ran.status["maxrss_kb"] > 1000


def test_a_script_runs_as_main(each_guest: "Guest") -> None:
    """A script sees its name, its input, its files, its variables and nothing of the guest's path."""
    source = (
        "import os, sys\nfrom helper.part import answer\n"
        "assert __name__ == '__main__' and sys.modules['__main__'].answer == 42 and exit and quit and help\n"
        "assert sys.argv == [__file__] and sys.path[0] == os.getcwd() == os.path.dirname(__file__)\n"
        "assert sys.prefix == sys.exec_prefix == '/environment' and dict(os.environ) == {'NAME': 'ü'}\n"
        "assert not any(os.path.isdir(os.path.join(entry, 'stepflow_guest')) for entry in sys.path)\n"
        "print(sys.stdin.read())\nopen('output/left.txt', 'w').write('left')\n"
        "kept = open('output/kept.txt', 'w')\nkept.write('unflushed')\n"
    )
    files = {"helper/part.py": b"answer = 42\n"}
    ran = each_guest.run(source, stdin="wört".encode(), files=files, env={"NAME": "ü"})
    assert (ran.value, ran.stdout, ran.stderr) == (None, "wört\n", "")
    assert ran.files == {"left.txt": b"left", "kept.txt": b"unflushed"}


def test_an_exception_is_printed_and_reported(each_guest: "Guest") -> None:
    """What was raised comes first, its cause second, with the tool's own frames only; stderr reads as Python's."""
    ran = each_guest.run(CHAIN, "f")
    assert ran.report is not None
    first, second = ran.report["exceptions"]
    assert (first["type"], first["message"], second["type"]) == ("tool.Refused", "no", "ValueError")
    assert [(frame["function"], frame["line"], frame["code"]) for frame in second["frames"]] == [
        ("f", 10, "inner()"),
        ("inner", 6, 'raise ValueError("bad")'),
    ]
    assert ran.report["error"] == {"kind": "execution_error", "message": "tool.Refused: no (tool.py, line 12)"}
    assert "direct cause of the following" in ran.stderr
    assert ran.stderr.endswith("Refused: no\n")
    assert "stepflow_guest" not in ran.stderr
    assert ran.status["exit"] == 1


def test_awaitables_and_generators_are_settled(each_guest: "Guest") -> None:
    """A coroutine is awaited; what generators of both kinds yield becomes a list."""
    number = {"parameters": [["n", "positional_or_keyword"]], "arguments": {"n": 3}}
    assert each_guest.run(ASYNC, "double", **number).value == 6
    assert each_guest.run(ASYNC, "numbers", **number).value == [0, 1, 2]
    assert each_guest.run("def f(n):\n    yield from range(n)\n", "f", **number).value == [0, 1, 2]


def test_arguments_are_converted(each_guest: "Guest") -> None:
    """Text becomes the types that JSON lacks, in the forms that only later versions of Python read themselves."""
    arguments = {"when": "2024-02-29T12:30:00.5Z", "span": "PT1.5S", "data": "AAE=", "kinds": ["b", "a", "b"]}
    ran = each_guest.run(TIMES, "f", arguments=arguments, input_schema=TIMES_SCHEMA)
    assert ran.value == ["2024-02-29T12:30:00.500000+00:00", 1.5, "AAE=", ["a", "b"], "frozenset"]


def test_a_missing_module_is_an_import_error(each_guest: "Guest") -> None:
    """An import that fails has its own kind, and says what to do."""
    ran = each_guest.run("import no_such_module\n")
    assert ran.report is not None
    assert ran.report["error"]["kind"] == "import_error"
    assert "No module named 'no_such_module'" in ran.message
    assert "declare the package" in ran.message


def test_exit_codes_are_pythons(each_guest: "Guest") -> None:
    """`sys.exit` ends with the code that a bare interpreter gives."""
    for argument, code in (("3", 3), ("", 0), ("None", 0), ("-1", 255), ("2**70", 255), ("'words'", 1), ("True", 1)):
        ran = each_guest.run(f"import sys\nsys.exit({argument})\n")
        assert ran.report is not None
        assert (ran.status["exit"], ran.report["ok"]) == (code, code == 0), argument
        assert ran.stderr == ("words\n" if argument == "'words'" else "")


def test_threads_and_exit_handlers_end_first(each_guest: "Guest") -> None:
    """A thread is waited for and exit handlers run, as when Python ends by itself."""
    source = (
        "import atexit, threading\nstart = threading.Event()\natexit.register(print, 'handler')\n"
        "def work():\n    start.wait()\n    print('thread')\n"
        "threading.Thread(target=work).start()\nthreading.Timer(0.05, start.set).start()\nprint('main')\n"
    )
    assert each_guest.run(source).stdout == "main\nthread\nhandler\n"


def test_an_unusable_request_is_named(guest: "Guest", tmp_path: Path) -> None:
    """A request that is none, or lacks a field, ends in one frame that says so."""
    for request, words in (
        (b"rubbish", "the request cannot be read"),
        (b"", "the request cannot be read"),
        (marshal.dumps([1], 2), "request is a list"),
        (marshal.dumps({"source": 1}, 2), "request.source must be str, is int"),
        (marshal.dumps({"source": ""}, 2), "request.module_name must be str, is missing"),
    ):
        ran = guest.send(request, tmp_path)
        assert ran.code == 70
        assert [kind for kind, _ in ran.frames] == [b"X"]
        assert words in ran.frames[0][1].decode()
