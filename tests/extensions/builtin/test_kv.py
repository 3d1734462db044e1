"""A store that outlives runs: whose it is, what it holds, and what cannot be done with it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.lending import Lender

from stepflow_python.extensions import ExtensionContext, Lending
from stepflow_python.extensions.builtin.kv import module
from stepflow_python.extensions.description import UnusableExtensionError

COUNT = "import kv\ndef f():\n    n = kv.get('runs', 0) + 1\n    kv.set('runs', n)\n    return n\n"


def functions(folder: Path, tool: str = "tool", **config: Any) -> dict[str, Callable[..., Any]]:
    """The module's functions by name, for a tool."""
    lent = module(Lending(execution_id="one", tool=tool, config=config, folder=folder))
    return {name: function.call for name, function in lent.by_name.items()}


def test_it_outlives_the_run_and_is_the_tool_s_own(lender: Lender) -> None:
    """Runs of one tool share it, another tool has its own."""
    context = ExtensionContext()
    context.register_extension("kv", module)
    assert [lender.value(COUNT, context, tool_id="counting") for _ in range(3)] == [1, 2, 3]
    assert lender.value(COUNT, context, tool_id="another") == 1


def test_values_are_json(tmp_path: Path) -> None:
    """What is kept comes back as it was; keys are listed in order and can be forgotten."""
    kv = functions(tmp_path)
    value = {"a": [1, 2.5, None, True, "ü\u2028\U0001f600"]}
    kv["set"]("b", value)
    kv["set"]("a/1", 1)
    kv["set"]("a/2", 2)
    assert (kv["get"]("b"), kv["get"]("none"), kv["get"]("none", 5)) == (value, None, 5)
    assert (kv["keys"](), kv["keys"]("a/")) == (["a/1", "a/2", "b"], ["a/1", "a/2"])
    assert (kv["delete"]("b"), kv["delete"]("b")) == (True, False)


@pytest.mark.parametrize("tool", ["../../etc/passwd", "/etc/passwd", "a\0b", "..", "", "x" * 10_000, "file:x?mode=rw"])
def test_no_tool_s_name_leads_out_of_the_folder(tmp_path: Path, tool: str) -> None:
    """Whatever the id says, there is one file more in the extension's own folder, and nothing beside it."""
    folder = tmp_path / "kv"
    functions(folder, tool)["set"]("key", 1)
    assert [path.parent for path in tmp_path.rglob("*") if path.is_file()] == [folder]


@pytest.mark.parametrize(
    "text",
    ["'; ATTACH DATABASE '/tmp/other.db' AS other; --", "x' OR '1'='1", "%", "a\0b", '"', "PRAGMA writable_schema"],
)
def test_sql_in_keys_and_values_is_text(tmp_path: Path, text: str) -> None:
    """No text that a tool gives is ever a statement: it is kept, found by itself alone, and opens nothing."""
    kv = functions(tmp_path)
    kv["set"]("other", "untouched")
    kv["set"](text, text)
    assert (kv["get"](text), kv["keys"](text), kv["get"]("other")) == (text, [text], "untouched")
    assert kv["delete"](text)
    assert kv["keys"]() == ["other"]
    assert len(list(tmp_path.iterdir())) == 1


def test_the_quota_holds(tmp_path: Path) -> None:
    """A full store refuses, keeps what it has, and takes more once something is deleted."""
    kv = functions(tmp_path, max_bytes=100_000)
    kv["set"]("first", "x" * 50_000)
    with pytest.raises(OSError, match="the store is full, at 100000 bytes"):
        kv["set"]("second", "x" * 80_000)
    assert len(kv["get"]("first")) == 50_000
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 100_000
    kv["delete"]("first")
    kv["set"]("second", "x" * 80_000)


@pytest.mark.parametrize("key", ["", "x" * 2000, "\ud800"])
def test_keys_that_are_none(tmp_path: Path, key: str) -> None:
    """Empty, long and broken ones are refused."""
    with pytest.raises(ValueError, match="a key"):
        functions(tmp_path)["set"](key, 1)


def test_runs_at_a_time(tmp_path: Path) -> None:
    """Writers wait for each other; none is lost."""

    async def write() -> None:
        writes = (asyncio.to_thread(functions(tmp_path)["set"], f"key {number}", number) for number in range(40))
        await asyncio.gather(*writes)

    asyncio.run(write())
    assert len(functions(tmp_path)["keys"]()) == 40


@pytest.mark.parametrize("config", [{"max_bytes": 1}, {"max_bytes": "1"}, {"max_bytes": True}, {"size": 5}])
def test_an_unusable_section(tmp_path: Path, config: dict[str, Any]) -> None:
    """The operator's mistakes show when it is registered."""
    with pytest.raises(UnusableExtensionError, match="max_bytes"):
        functions(tmp_path, **config)
