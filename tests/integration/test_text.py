"""Text and bytes of every kind go through a whole execution: source, output, result, record."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.program import Program

SOURCES = {
    "latin-1 by its cookie": "# -*- coding: latin-1 -*-\ndef f():\n    return 'größe'\n".encode("latin-1"),
    "a mark at its beginning": b"\xef\xbb\xbf" + "def f():\n    return 'größe'\n".encode(),
    "lines of Windows": "def f():\r\n    return 'größe'\r\n".encode(),
    "lines of old Macs": "def f():\r    return 'größe'\r".encode(),
    "names beyond ASCII": "def f():\n    größe = 'größe'\n    return größe\n".encode(),
}
OUTPUTS = {
    "bytes that are no text": (r"os.write(1, b'a\xff\xfeb')", "a\ufffd\ufffdb"),
    "half a surrogate pair": (r"os.write(1, b'a\xed\xa0\x80b')", "a\ufffd\ufffd\ufffdb"),
    "a zero byte": (r"print('a\0b', end='')", "a\0b"),
    "lines of Windows": (r"print('a\r\nb', end='')", "a\r\nb"),
    "a mark at its beginning": (r"os.write(1, b'\xef\xbb\xbfa')", "\ufeffa"),
    "another encoding": (r"os.write(1, 'größe'.encode('utf-16-le'))", None),
    "beyond the first plane": (r"print('\U0001f40d', end='')", "\U0001f40d"),
}
VALUES = {
    "half a surrogate pair": (r"'a\ud800b'", "a\ufffdb"),
    "a zero byte": (r"{'k\0': 'a\0b'}", {"k\0": "a\0b"}),
    "beyond the first plane": (r"'\U0001f40d'", "\U0001f40d"),
    "a whole surrogate pair": (r"'\ud83d\udc0d'", "\U0001f40d"),
}


def run(here: Program, folder: Path, source: bytes) -> dict[str, Any]:
    """The result of `f`, which the record has as well, letter by letter."""
    tool = folder / "tool.py"
    tool.write_bytes(source)
    result: dict[str, Any] = json.loads(here("run", str(tool), "--function", "f", "--json").stdout)
    shown = json.loads(here("show", result["execution_id"], "--json").stdout)
    assert shown["result"] == result
    return result


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_sources(source: bytes, here: Program, tmp_path: Path) -> None:
    """A source is read as Python reads it."""
    assert run(here, tmp_path, source)["result"] == "größe"


@pytest.mark.parametrize(("says", "heard"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs(says: str, heard: str | None, here: Program, tmp_path: Path) -> None:
    """What is no text is kept as far as it can be, and fails nothing."""
    result = run(here, tmp_path, f"import os\ndef f():\n    {says}\n".encode())
    assert result["status"] == "succeeded"
    assert heard is None or result["stdout"] == heard


@pytest.mark.parametrize(("value", "arrives"), VALUES.values(), ids=VALUES)
def test_results(value: str, arrives: object, here: Program, tmp_path: Path) -> None:
    """A result is text that every database and every encoding can hold."""
    assert run(here, tmp_path, f"def f():\n    return {value}\n".encode())["result"] == arrives
