"""From source to `PythonModule`."""

import ast
import asyncio
import hashlib
import os
import sysconfig
import tokenize
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepflow_python.errors import DependencyError, ParseError, PythonError, PythonSyntaxError
from stepflow_python.parsing.parser import AstParser, parse_module
from stepflow_python.ports import PythonParser

CODE = '''"""Doc."""
import functools

@functools.cache
def first(a, /, b: int = 1, *rest: str, c: "str | None" = None, d, **more: bool) -> dict[str, int]:
    """First.

    Indented.
    """
    def inner(): pass
    return {}

if True:
    async def second(): ...
else:
    def third(): ...
try:
    def fourth(): ...
except ValueError:
    def fifth(): ...
with open("x"):
    def sixth(): ...
for x in ():
    def looped(): ...
if TYPE_CHECKING:
    def typed(): ...

class Outer(dict, metaclass=type):
    """Outer."""
    @staticmethod
    def static(x: int): ...
    @classmethod
    def made(cls, y=1): ...
    def method(self, z): ...
    class Inner: ...
'''


def test_a_module_in_full() -> None:
    """Everything that a source says of its definitions is found."""
    module = parse_module(CODE, name="demo")
    assert (module.name, module.docstring) == ("demo", "Doc.")
    assert module.source_hash == hashlib.sha256(CODE.encode()).hexdigest()
    assert [f.name for f in module.functions] == ["first", "second", "third", "fourth", "fifth", "sixth"]
    first = module.functions[0]
    assert [(p.name, str(p.kind), p.annotation, p.default, p.required) for p in first.parameters] == [
        ("a", "positional_only", None, None, True),
        ("b", "positional_or_keyword", "int", "1", False),
        ("rest", "var_positional", "str", None, False),
        ("c", "keyword_only", '"str | None"', "None", False),
        ("d", "keyword_only", None, None, True),
        ("more", "var_keyword", "bool", None, False),
    ]
    assert (first.return_type, first.docstring) == ("dict[str, int]", "First.\n\nIndented.")
    assert (first.decorators, first.lineno, first.is_async) == (("functools.cache",), 5, False)
    assert first.source_code.startswith("@functools.cache\ndef first(")
    assert first.source_code.endswith("    return {}")
    assert module.functions[1].is_async
    (outer,) = module.classes
    assert (outer.name, outer.bases, outer.docstring, outer.lineno) == ("Outer", ("dict",), "Outer.", 28)
    assert [list(m.input_schema["properties"]) for m in outer.methods] == [["x"], ["y"], ["z"]]  # type: ignore[arg-type]  # objects by construction


def test_the_parser_is_the_port() -> None:
    """The four methods of the interface work, on small sources and on large ones that go to a thread."""
    large = "# /// script\n# dependencies = ['a>1']\n# ///\n" + "x = 1\n" * 5000

    async def use(parser: PythonParser) -> None:
        small = await parser.parse_code("def f(): ...")
        assert [f.name for f in small.functions] == ["f"]
        assert small.ast
        assert (await parser.parse_code(large)).dependencies[0].version == ">1"
        assert (await parser.analyze_dependencies(large))[0].name == "a"
        assert await parser.analyze_dependencies("import requests") == ()
        await parser.validate_syntax(large)
        for bad in ("x = ", "return", large + "x = "):
            with pytest.raises(PythonSyntaxError):
                await parser.validate_syntax(bad)

    asyncio.run(use(AstParser(with_ast=True)))


def test_files_are_decoded_and_bounded(tmp_path: Path) -> None:
    """A file is read by its cookie; one that is missing, a folder or too large is refused by name."""
    path = tmp_path / "greet.py"
    path.write_bytes("# coding: latin-1\ndef grüße(): ...".encode("latin-1"))
    module = asyncio.run(AstParser().parse_file(path))
    assert (module.name, module.functions[0].name) == ("greet", "grüße")
    for wrong, said in ((tmp_path / "no.py", "cannot be read"), (tmp_path, "cannot be read")):
        with pytest.raises(ParseError, match=said):
            asyncio.run(AstParser().parse_file(wrong))
    with pytest.raises(ParseError, match="over 10 bytes"):
        asyncio.run(AstParser(max_code_size=10).parse_file(path))


def test_a_malformed_requirement_stops_the_parse() -> None:
    """What cannot be installed is said before anything runs."""
    with pytest.raises(DependencyError, match="line 2"):
        parse_module("# /// script\n# dependencies = ['???']\n# ///\n")


def test_lone_surrogates_in_text_harm_no_record() -> None:
    """Escapes that no JSON text can hold are replaced in docstrings and left out of schemas."""
    module = parse_module("def f(x='\\ud800'):\n    '\\ud800 doc'\n")
    assert module.model_dump_json()
    assert module.functions[0].docstring == "? doc"
    assert module.functions[0].input_schema["properties"] == {"x": {}}


def test_a_byte_order_mark_is_dropped() -> None:
    """The recorded source is one that Python takes as text."""
    assert parse_module("\ufeffx = 1").source_code == "x = 1"


class Independent(ast.NodeVisitor):
    """Counts by the standard library's visitor what a caller can reach, and all imports."""

    def __init__(self) -> None:
        self.functions = self.classes = self.imports = 0
        self.inside = 0

    def _definition(self, node: ast.AST, counted: str) -> None:
        if not self.inside:
            setattr(self, counted, getattr(self, counted) + 1)
        self._unlisted(node)

    def _unlisted(self, node: ast.AST) -> None:
        self.inside += 1
        self.generic_visit(node)
        self.inside -= 1

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:  # noqa: D102 - the visitor's naming
        self._definition(node, "functions")

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:  # noqa: D102 - as above
        self._definition(node, "functions")

    def visit_ClassDef(self, node: ast.ClassDef) -> None:  # noqa: D102 - as above
        self._definition(node, "classes")

    def visit_For(self, node: ast.For) -> None:  # noqa: D102 - as above
        self._unlisted(node)

    def visit_While(self, node: ast.While) -> None:  # noqa: D102 - as above
        self._unlisted(node)

    def visit_If(self, node: ast.If) -> None:  # noqa: D102 - as above
        typing_only = (
            ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
            if len(ast.dump(node.test)) < 200
            else False
        )
        for statement in node.body:
            (self._unlisted_statement if typing_only else self.visit)(statement)
        for statement in node.orelse:
            self.visit(statement)

    def _unlisted_statement(self, node: ast.stmt) -> None:
        self.inside += 1
        self.visit(node)
        self.inside -= 1

    def visit_Import(self, node: ast.Import) -> None:  # noqa: D102 - as above
        self.imports += len(node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:  # noqa: ARG002, D102 - as above
        self.imports += 1


def stdlib_sources() -> list[tuple[Path, str]]:
    """All sources of this interpreter's standard library that have a readable encoding.

    Of its own tests, two thirds of the whole, every eighth: with `STEPFLOW_TESTS_WHOLE` all of them.
    """
    root = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.parts]
    own_tests = [path for path in paths if {"test", "tests"} & set(path.parts)]
    left_out = set() if os.environ.get("STEPFLOW_TESTS_WHOLE") else set(own_tests) - set(own_tests[::8])
    found = []
    for path in paths:
        if path not in left_out:
            try:
                with tokenize.open(path) as file:
                    found.append((path, file.read()))
            except (SyntaxError, UnicodeDecodeError):
                continue
    return found


def is_refused_by_python(code: str) -> bool:
    """Whether the compiler itself takes it for no Python."""
    try:
        compile(code, "tool", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return True
    return False


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_the_whole_standard_library() -> None:
    """Each file that Python takes is parsed, with as many functions, classes and imports as counted another way."""
    sources = stdlib_sources()
    assert len(sources) > 500
    for path, code in sources:
        try:
            module = parse_module(code, name=path.stem, max_code_size=10_000_000)
        except PythonSyntaxError:
            assert is_refused_by_python(code), path
            continue
        counted = Independent()
        counted.visit(ast.parse(code))
        assert (len(module.functions), len(module.classes)) == (counted.functions, counted.classes), path
        static = len(module.imports) if "import_module" not in code and "__import__" not in code else None
        assert static in {counted.imports, None}, path


PIECES = st.sampled_from(
    [
        "def f(x: int = 1):",
        " return x",
        "class A(Enum):",
        " B = 1",
        "import x",
        "from . import",
        "x: 'list[x]' = (",
        ")",
        "\t",
        "\\",
        "# /// script",
        "# ///",
        "@dataclass",
        "async ",
        "type X = int",
        "\x0c",
        "if TYPE_CHECKING:",
        "'''",
        "\r",
    ]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | st.lists(PIECES | st.text(max_size=3)).map("\n".join))
def test_any_text_is_parsed_or_refused(code: str) -> None:
    """No text brings anything but a module or an error of our own, and a module can always be written down."""
    try:
        module = parse_module(code)
    except PythonError:
        return
    assert module.model_dump_json()


@pytest.mark.parametrize(
    "code",
    [
        "".join(f"class A{i + 1}(A{i}): pass\n" for i in range(3000)) + "def f(x: A2999): ...",
        "".join(f"A{i} = list[A{i + 1}]\n" for i in range(3000)) + "def f(x: A0): ...",
        "".join(f"A{i} = A{i + 1}\n" for i in range(3000)) + "A3000 = int\ndef f(x: A0): ...",
        "".join(f"A{i + 1} = tuple[A{i}, A{i}]\n" for i in range(60)) + "A0 = int\ndef f(x: A60): ...",
        "A = 'A'\nB = 'C'\nC = B | C\ndef f(x: A, y: B, z: C): ...",
        "class A(B): pass\nclass B(A): pass\ndef f(x: A): ...",
        "def f(x: " + "list[" * 150 + "int" + "]" * 150 + "): ...",
        "def f(x: " + "|".join(["int"] * 800) + "): ...",
        "x = " + "[" * 150 + "]" * 150 + "\ndef f(x=" + "[" * 150 + "]" * 150 + "): ...",
    ],
)
def test_types_that_run_in_circles_or_explode(code: str) -> None:
    """Hostile types cost neither the stack nor the memory of this process."""
    assert len(parse_module(code).model_dump_json()) < 10 * len(code) + 50_000


def test_schemas_have_a_budget() -> None:
    """A source whose definitions would be repeated without end is refused."""
    fields = "".join(f" f{i}: int\n" for i in range(2000))
    functions = "".join(f"def g{i}(x: A): ...\n" for i in range(2000))
    with pytest.raises(ParseError, match="too large together"):
        parse_module(f"from dataclasses import dataclass\n@dataclass\nclass A:\n{fields}{functions}")
