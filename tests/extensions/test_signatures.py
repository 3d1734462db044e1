"""Stubs: what editors and type checkers read of a lent module."""

import subprocess
import sys
from pathlib import Path
from typing import Literal, Optional

from pydantic import BaseModel, JsonValue
from support.lent_functions import add, numbers, tokens, wait

from stepflow_python.extensions import Module
from stepflow_python.extensions.signatures import stub


class Mail(BaseModel):
    """A class of the extension."""

    to: str


def keep(values: dict[str, JsonValue]) -> list[JsonValue]:
    """Keep values."""
    return list(values.values())


def send(mail: Mail, /, kind: Literal["now", "later"] = "now", *, copy: Optional[list[str]] = None) -> Mail:  # noqa: UP045 - as many still write it
    """Send "it"."""
    return mail if kind == "now" or copy else Mail(to="")


def test_a_stub_is_valid_and_says_what_may_be_called(tmp_path: Path) -> None:
    """A strict type checker accepts the stub, right calls of it, and none of the wrong ones."""
    module = Module(functions=[add, wait, tokens, numbers, send, keep], constants={"VERSION": 3}, doc="For tests.")
    (tmp_path / "llm.pyi").write_text(stub(module))
    (tmp_path / "tool.py").write_text(
        "import llm\n"
        "reveal_type(llm.add(1, 2, 3, scale=2.0, z=4))\n"
        "reveal_type(llm.tokens(3))\n"
        "reveal_type(llm.VERSION)\n"
        "async def f() -> None:\n"
        "    reveal_type(await llm.aio.wait(1.0))\n"
        "    async for token in llm.aio.tokens(2):\n        reveal_type(token)\n"
        "llm.send({}, 'later', copy=None)\n"
        "llm.keep({'a': [1]})\n"
        "llm.add('x')\n"
        "llm.send({}, 'never')\n"
    )
    argv = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file", "/dev/null", "tool.py"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    for words in (
        'tool.py:2: note: Revealed type is "float"',
        'tool.py:3: note: Revealed type is "typing.Iterator[str]"',
        'tool.py:4: note: Revealed type is "int"',
        'tool.py:6: note: Revealed type is "str"',
        'tool.py:8: note: Revealed type is "str"',
        'tool.py:11: error: Argument 1 to "add" has incompatible type "str"',
        'tool.py:12: error: Argument 2 to "send" has incompatible type',
        "Found 2 errors",
    ):
        assert words.replace("typing.", "") in done.stdout.replace("typing.", "").replace("builtins.", ""), done.stdout
