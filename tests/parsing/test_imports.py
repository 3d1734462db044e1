"""Imports: every one, wherever it stands, and whether it may be missing."""

import pytest

from stepflow_python.errors import PythonSyntaxError
from stepflow_python.model.module import Import
from stepflow_python.parsing.parser import parse_module


def imports(code: str) -> tuple[Import, ...]:
    """The imports of a source."""
    return parse_module(code).imports


def test_forms_of_imports() -> None:
    """Modules, names, aliases and dots are kept."""
    found = imports("import a, b.c as d\nfrom e import f as g, h\nfrom ..i import j\nfrom . import k\nimport os.path\n")
    assert [(i.module, [(n.name, n.alias) for n in i.names], i.level, i.lineno, i.is_stdlib) for i in found] == [
        ("a", [], 0, 1, False),
        ("b.c", [("b.c", "d")], 0, 1, False),
        ("e", [("f", "g"), ("h", None)], 0, 2, False),
        ("i", [("j", None)], 2, 3, False),
        ("", [("k", None)], 1, 4, False),
        ("os.path", [], 0, 5, True),
    ]
    assert not any(i.optional for i in found)


@pytest.mark.parametrize(
    "code",
    [
        "try:\n  import x\nexcept ImportError:\n  pass",
        "try:\n  pass\nexcept (KeyError, ModuleNotFoundError):\n  import x",
        "try:\n  import x\nexcept Exception:\n  x = None",
        "try:\n  import x\nexcept:\n  x = None",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  import x",
        "import typing\nif typing.TYPE_CHECKING:\n  import x",
        "if not TYPE_CHECKING:\n  pass\nelse:\n  import x",
        "def f():\n  import x",
        "async def f():\n  if 1:\n    import x",
        "class A:\n  def f(self):\n    import x",
        "import contextlib\nwith contextlib.suppress(ImportError):\n  import x",
        "import importlib\nimportlib.import_module('x')",
        "from importlib import import_module as im\ny = [im('x')]",
        "import importlib as il\nil.import_module('x')",
        "__import__('x')",
    ],
)
def test_optional_imports(code: str) -> None:
    """What a tool can do without is reported as optional."""
    assert [i.optional for i in imports(code) if i.module == "x"] == [True]


@pytest.mark.parametrize(
    "code",
    [
        "import x",
        "if 1:\n  import x",
        "try:\n  import x\nexcept ValueError:\n  pass",
        "try:\n  pass\nexcept ImportError:\n  pass\nfinally:\n  import x",
        "if TYPE_CHECKING:\n  pass\nelse:\n  import x",
        "if not TYPE_CHECKING:\n  import x",
        "class A:\n  import x",
        "for i in y:\n  import x",
        "match y:\n  case 1:\n    import x",
        "with open(f):\n  import x",
    ],
)
def test_required_imports(code: str) -> None:
    """What runs whenever the module is loaded is required."""
    assert [i.optional for i in imports(code) if i.module == "x"] == [False]


def test_computed_names_are_no_imports() -> None:
    """Only constants are reported."""
    code = "import importlib\nimportlib.import_module(x)\n__import__(f'{x}')\nobj.import_module('x')\n__import__('a b')"
    assert imports(code)[1:] == ()


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("x = 1\nreturn 1", 2),
        ("class A:\n  return 1", 2),
        ("break", 1),
        ("if 1:\n  continue", 2),
        ("for x in y:\n  def f():\n    break", 3),
        ("for x in y: pass\nelse:\n  break", 3),
        ("await x", 1),
        ("yield", 1),
        ("def f():\n  async with x: pass", 2),
        ("async for x in y: pass", 1),
    ],
)
def test_misplaced_statements_are_syntax_errors(code: str, line: int) -> None:
    """What the compiler would refuse when the tool starts is refused before."""
    with pytest.raises(PythonSyntaxError, match=r"outside|not properly") as caught:
        parse_module(code)
    assert caught.value.line == line
    with pytest.raises(SyntaxError):
        compile(code, "tool", "exec")


@pytest.mark.parametrize(
    "code",
    [
        "while 1:\n  try:\n    break\n  finally:\n    continue",
        "async def f():\n  async with x:\n    async for y in z:\n      return await y",
        "def f():\n  yield\n  class A: pass\n  return",
        "f = lambda: (yield)",
    ],
)
def test_well_placed_statements_are_taken(code: str) -> None:
    """What the compiler takes is taken."""
    compile(code, "tool", "exec")
    assert parse_module(code)
