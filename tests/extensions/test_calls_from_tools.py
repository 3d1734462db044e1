"""What a tool sees of a module that it was lent, from inside a real box."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.lending import Lender
from support.lent_functions import add, block, echo, fail, numbers, tokens, unspeakable, wait

from stepflow_python.extensions import ExtensionContext, Function, Module

Lent = Callable[..., ExtensionContext]
IMPORT = "def f():\n    try:\n        import llm\n    except ImportError as error:\n        return str(error)\n"
VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")


def raised_by(call: str) -> str:
    """A tool that tells what a call raises."""
    telling = "    except Exception as error:\n        return f'{type(error).__name__}: {error}'\n"
    return f"import llm\ndef f():\n    try:\n        {call}\n{telling}"


def there(version: str) -> bool:
    """Whether this machine has the interpreter."""
    folders = [
        *os.environ["PATH"].split(os.pathsep),
        *map(str, (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin")),
    ]
    return any((Path(folder) / f"python{version}").exists() for folder in folders)


def test_nothing_lent_nothing_importable(lender: Lender) -> None:
    """Without extensions the import fails inside, with Python's own words."""
    assert lender.value(IMPORT, ExtensionContext()) == "No module named 'llm'"


def test_installed_but_not_granted(lender: Lender, lent: Lent) -> None:
    """What this request does not ask for is not importable either, beside what it asks for."""
    code = "import other\n" + IMPORT
    assert lender.value(code, lent(llm=[add], other=[add]), extensions=("other",)) == "No module named 'llm'"


def test_unknown_extensions_are_refused_before_anything_runs(lender: Lender, lent: Lent) -> None:
    """A name that nobody registered is an unusable request, which lists those there are."""
    result = lender.result("print(1)", lent(mail=[add]), extensions=("telepathy",), function_name=None)
    assert result.status == "rejected"
    assert result.error is not None
    assert "'telepathy'" in result.error.message
    assert "mail" in result.error.message


def test_the_settings_bound_what_is_lent(home: Path, lent: Lent) -> None:
    """What the worker does not lend cannot be asked for, though it is installed."""
    lender = Lender(home=home, settings={"EXTENSIONS": "mail"})
    context = lent(mail=[add], llm=[add])
    assert lender.value("import mail\ndef f():\n    return mail.add(1)\n", context, extensions=("mail",)) == 3
    refused = lender.result("import llm", context, extensions=("llm",), function_name=None)
    assert refused.status == "rejected"
    assert refused.error is not None
    assert "'llm' is not among those that this worker lends (mail)" in refused.error.message


@pytest.mark.parametrize("version", [version for version in VERSIONS if there(version)])
def test_every_python_calls(lender: Lender, lent: Lent, version: str) -> None:
    """Arguments of every kind, constants, streams and awaiting work on each supported interpreter."""
    code = (
        "import asyncio, llm\n"
        "async def later():\n"
        "    return [await llm.aio.add(1), [item async for item in llm.aio.tokens(2)]]\n"
        "def f():\n"
        "    return [llm.add(1), llm.add(1, 2, 3, scale=2.0, z=4), llm.VERSION, list(llm.tokens(2)),\n"
        "            list(llm.numbers(3)), asyncio.run(later())]\n"
    )
    module = Module(functions=[add, tokens, numbers], constants={"VERSION": [1, {"x": None}]})
    value = lender.value(code, lent(llm=module), python_version=version)
    assert value == [3, 20, [1, {"x": None}], ["t0", "t1"], [0, 1, 2], [3, ["t0", "t1"]]]


def test_without_a_sandbox_around_it(home: Path, lent: Lent) -> None:
    """Calls need nothing of a box: the weakest tier has them too."""
    lender = Lender(home=home, settings={"ENABLE_SANDBOXING": "false"})
    result = lender.result("import llm\ndef f():\n    return llm.add(1)\n", lent(llm=[add]))
    assert (result.result, result.isolation) == (3, "process")


def test_a_run_that_finds_its_process_waiting(home: Path, lent: Lent) -> None:
    """The line reaches a process that was there before: calls, streams, threads and awaiting, and nothing ungranted."""
    lender = Lender(home=home, warm=True)
    code = (
        "import asyncio, concurrent.futures, llm\n"
        "async def later():\n"
        "    return await asyncio.gather(llm.aio.add(1), llm.aio.wait(0.01))\n"
        "def f():\n"
        "    with concurrent.futures.ThreadPoolExecutor(4) as pool:\n"
        "        said = list(pool.map(llm.echo, range(20)))\n"
        "    try:\n        import other\n    except ImportError as error:\n        said.append(str(error))\n"
        "    return [llm.add(1), list(llm.tokens(2)), asyncio.run(later()), said]\n"
    )
    record = lender.record(code, lent(llm=[add, tokens, wait, echo], other=[add]), extensions=("llm",))
    assert record.result is not None
    assert record.result.warm is True, record.result
    assert record.result.result == [3, ["t0", "t1"], [3, "waited"], [*range(20), "No module named 'other'"]]
    assert record.extension_calls_total == 24
    left = lender.record(IMPORT, lent(llm=[add]), extensions=())
    assert left.result is not None
    assert (left.result.warm, left.result.result) == (True, "No module named 'llm'")


def test_the_standard_library_comes_first(lender: Lender, lent: Lent) -> None:
    """A lent module named like one of Python's own does not shadow it, and is there under `stepflow`."""
    code = (
        "import http\nfrom stepflow import http as lent_http\nimport stepflow.http\n"
        "def f():\n    return [hasattr(http, 'HTTPStatus'), lent_http.add(1), stepflow.http is lent_http]\n"
    )
    assert lender.value(code, lent(http=[add])) == [True, 3, True]


def test_both_names_are_one_module(lender: Lender, lent: Lent) -> None:
    """`llm` and `stepflow.llm` are the same object, whichever is imported first."""
    code = "from stepflow import llm as one\nimport llm\ndef f():\n    return one is llm\n"
    assert lender.value(code, lent(llm=[add])) is True


def test_a_lent_module_comes_before_installed_packages_and_after_what_is_imported(lender: Lender, lent: Lent) -> None:
    """The order: imported already, the standard library, lent, installed."""
    code = (
        "import sys, types\n"
        "sys.modules['made'] = types.ModuleType('made')\n"
        "import made, beside\n"
        "def f():\n    return [hasattr(made, 'add'), beside.add(1)]\n"
    )
    files = {"beside.py": b"raise RuntimeError('the file of the request')\n"}
    assert lender.value(code, lent(made=[add], beside=[add]), files=files) == [False, 3]


def test_help_and_signatures_are_right(lender: Lender, lent: Lent) -> None:
    """Inside the tool, a function shows its author's signature and docstring."""
    code = (
        "import contextlib, inspect, io, llm\n"
        "def f():\n"
        "    shown = io.StringIO()\n"
        "    with contextlib.redirect_stdout(shown):\n        help(llm)\n"
        "    return [str(inspect.signature(llm.add)), inspect.getdoc(llm.add), shown.getvalue()]\n"
    )
    signature, doc, shown = lender.value(code, lent(llm=Module(functions=[add], doc="For tests.")))
    assert signature == "(a: int, b: int = 2, *more: int, scale: float = 1.0, **others: int) -> float"
    assert doc == "Add numbers, scaled."
    assert "llm - For tests." in shown
    assert "add(a: int, b: int = 2, *more: int, scale: float = 1.0, **others: int) -> float" in shown


@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        ("key", "KeyError: 'endpoint'"),
        ("type", "TypeError: two words"),
        ("value", "ValueError: no such value"),
        ("system", "OSError: [Errno 111] refused"),
        ("time", "TimeoutError: too late"),
        ("runtime", "RuntimeError: broken"),
        ("index", "RuntimeError: IndexError: out of range"),
    ],
)
def test_exceptions_come_back_as_built_in_types(lender: Lender, lent: Lent, kind: str, raised: str) -> None:
    """The same type where tools can name it, else RuntimeError, with the same message."""
    assert lender.value(raised_by(f"llm.fail({kind!r})"), lent(llm=[fail])) == raised


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("llm.add()", "TypeError: add() missing 1 required positional argument: 'a'"),
        ("llm.add('x')", "TypeError: add() argument a: Input should be a valid integer, not str"),
        ("llm.add(1, 2, 'x')", "TypeError: add() argument more[0]: Input should be a valid integer, not str"),
        ("llm.add(1, z='x')", "TypeError: add() argument z: Input should be a valid integer, not str"),
        ("llm.add(object())", "TypeError: Object of type object is not JSON serializable"),
        ("llm.unspeakable()", "RuntimeError: the extension gave what is no JSON value"),
    ],
)
def test_arguments_are_checked(lender: Lender, lent: Lent, call: str, words: str) -> None:
    """A wrong argument is a TypeError that names it; what cannot be said at all is an error too."""
    assert lender.value(raised_by(call), lent(llm=[add, unspeakable])).startswith(words)


def test_threads_and_tasks_call_side_by_side(lender: Lender, lent: Lent) -> None:
    """Eight threads and eight tasks wait at the same time, together with each other."""
    code = (
        "import asyncio, threading, llm\n"
        "def f():\n"
        "    done = []\n"
        "    threads = [threading.Thread(target=lambda: done.append(llm.block(0.5))) for _ in range(8)]\n"
        "    for thread in threads:\n        thread.start()\n"
        "    async def many():\n        return await asyncio.gather(*(llm.aio.wait(0.5) for _ in range(8)))\n"
        "    done += asyncio.run(many())\n"
        "    for thread in threads:\n        thread.join()\n"
        "    return sorted(set(done)) + [len(done)]\n"
    )
    record = lender.record(code, lent(llm=[block, wait]))
    assert record.result is not None
    assert record.result.result == ["blocked", "waited", 16]
    assert record.result.execution_time_ms < 16 * 500


def test_answers_find_their_askers(lender: Lender, lent: Lent) -> None:
    """However many threads and tasks ask at a time, each gets its own answer."""
    code = (
        "import asyncio, concurrent.futures, llm\n"
        "def f():\n"
        "    with concurrent.futures.ThreadPoolExecutor(8) as pool:\n"
        "        said = list(pool.map(llm.echo, range(200)))\n"
        "    async def many():\n        return list(await asyncio.gather(*(llm.aio.echo(n) for n in range(200))))\n"
        "    return said == list(range(200)) and asyncio.run(many()) == list(range(200))\n"
    )
    assert lender.value(code, lent(llm=[echo])) is True


def test_a_stream_may_be_left(lender: Lender, lent: Lent) -> None:
    """Who stops reading a stream can go on calling, and the record says how much was read."""
    code = "import llm\ndef f():\n    return [next(llm.tokens(10**9)), llm.add(1)]\n"
    record = lender.record(code, lent(llm=[tokens, add]))
    assert record.result is not None
    assert record.result.result == ["t0", 3]
    assert {call.function: call.outcome for call in record.extension_calls} == {"tokens": "dropped", "add": "ok"}


def test_the_deadline_of_the_run_ends_its_calls(lender: Lender, lent: Lent) -> None:
    """A call that lasts ends with the run, and the worker does not wait for it."""
    started = time.monotonic()
    code = "import llm\ndef f():\n    llm.wait(60)\n"
    record = lender.record(code, lent(llm=[wait]), timeout=1)
    assert record.status == "timed_out"
    assert time.monotonic() - started < 30
    assert [call.outcome for call in record.extension_calls] == ["cancelled"]


def test_a_process_that_the_tool_starts_cannot_call(lender: Lender, lent: Lent) -> None:
    """A fork of the tool gets an error instead of another one's answers, and the tool goes on."""
    code = (
        "import os, llm\n"
        "def f():\n"
        "    read, write = os.pipe()\n"
        "    if os.fork() == 0:\n"
        "        try:\n            llm.add(1)\n"
        "        except RuntimeError as error:\n            os.write(write, str(error).encode())\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "    return [os.read(read, 1000).decode(), llm.add(1)]\n"
    )
    said, sum_ = lender.value(code, lent(llm=[add]), security_level="standard")
    assert said == "extensions can only be called from the process that they were lent to"
    assert sum_ == 3


def test_every_call_is_on_record(lender: Lender, lent: Lent) -> None:
    """Who was called, how it ended, how long it took and how much was moved; arguments only where that is safe."""
    module = Module(functions=[Function(add, audited=frozenset({"a"})), fail])
    code = (
        "import llm\ndef f():\n    llm.add(5, b=7)\n"
        "    try:\n        llm.fail('key')\n    except KeyError:\n        pass\n"
    )
    record = lender.record(code, lent(llm=module))
    first, second = record.extension_calls
    assert (first.extension, first.function, first.outcome, first.arguments) == ("llm", "add", "ok", {"a": 5})
    assert first.duration_ms > 0
    assert first.request_bytes > 20
    assert first.response_bytes > 10
    assert (second.function, second.outcome, second.arguments) == ("fail", "KeyError", {})
    assert record.extension_calls_total == 2


def test_quotas_of_calls_and_bytes(home: Path, lent: Lent) -> None:
    """Past its calls each further one is an error; past its bytes the line is closed, and both say so."""
    code = (
        "import llm\ndef f(size):\n    done = 0\n    try:\n        while True:\n            llm.echo('x' * size)\n"
        "            done += 1\n    except RuntimeError as error:\n        return [done, str(error)]\n"
    )
    lender = Lender(home=home, settings={"MAX_EXTENSION_CALLS": "5", "MAX_EXTENSION_BYTES": "100000"})
    calls, why = lender.value(code, lent(llm=[echo]), parameters={"size": 1})
    assert (calls, why) == (5, "this run has made its 5 calls of extensions; make fewer")
    calls, why = lender.value(code, lent(llm=[echo]), parameters={"size": 30_000})
    assert calls == 1
    assert "have moved the 100000 bytes that a run may move" in why


def test_a_run_that_lies_hurts_only_itself(lender: Lender, lent: Lent) -> None:
    """Garbage on the socket ends that run's line with a reason; the next run of the same worker calls on."""
    code = (
        "import os, stat, llm\n"
        "def f(garbage):\n"
        "    for line in range(3, 512):\n"
        "        try:\n            kind = os.fstat(line).st_mode\n"
        "        except OSError:\n            continue\n"
        "        if stat.S_ISSOCK(kind):\n            os.write(line, bytes(garbage))\n"
        "    try:\n        return llm.add(1)\n    except RuntimeError as error:\n        return str(error)\n"
    )
    garbage = (
        [255] * 64,
        [0, 0, 0, 2, 91, 93],
        [0, 0, 0, 9, *b'{"id":"x"'],
        [0, 0, 0, 3, 91, 91, 91],
        [0, 0, 0, 2, 123, 125],
    )
    for one in garbage:
        assert isinstance(lender.value(code, lent(llm=[add]), parameters={"garbage": one}), str)
    assert lender.value("import llm\ndef f():\n    return llm.add(1)\n", lent(llm=[add])) == 3
