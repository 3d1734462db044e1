"""The house keeps its shape: floors, doors, sizes."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "stepflow_python"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "fixtures" not in path.parts)

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_INIT_LINES = 40


def name(path: Path) -> str:
    """A module's path inside the package."""
    return path.relative_to(PACKAGE).as_posix()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions, nested ones included."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Its length without its docstring."""
    first = function.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def attributes(tree: ast.AST, module: str) -> set[str]:
    """Attributes that are taken of a module of this name."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module
    }


def imported(tree: ast.AST) -> set[str]:
    """Top-level names of all imported modules."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


def test_the_import_contract_holds() -> None:
    """Arrows between floors only go down, and siblings are strangers."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_import_cycles() -> None:
    """No module reaches itself through its imports, those inside functions included."""
    graph = grimp.build_graph("stepflow_python", cache_dir=None)
    try:
        list(
            TopologicalSorter(
                {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
            ).static_order()
        )
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_sizes(path: Path) -> None:
    """Modules and functions stay small enough to be read."""
    text = path.read_text()
    assert len(text.splitlines()) <= (MAX_INIT_LINES if path.name == "__init__.py" else MAX_MODULE_LINES)
    long = {f.name: lines_of(f) for f in functions(ast.parse(text)) if lines_of(f) > MAX_FUNCTION_LINES}
    assert not long


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_one_door_to_each_outside_world(path: Path) -> None:
    """Processes start in `process`, forks happen in `guest`, variables are read in `config`."""
    tree, where = ast.parse(path.read_text()), name(path)
    if not where.startswith(("process/", "guest/")):
        assert "subprocess" not in imported(tree)
        assert not attributes(tree, "os") & {"system", "popen", "fork", "forkpty", "posix_spawn", "execv", "execve"}
        assert not attributes(tree, "asyncio") & {"create_subprocess_exec", "create_subprocess_shell"}
    if where != "config.py" and not where.startswith("guest/"):
        assert not attributes(tree, "os") & {"environ", "environb", "getenv", "putenv"}
    assert "pickle" not in imported(tree)


def test_the_guest_is_standard_library_only() -> None:
    """What runs in the box imports the standard library and itself, nothing else."""
    for path in (PACKAGE / "guest").rglob("*.py"):
        assert imported(ast.parse(path.read_text())) <= sys.stdlib_module_names, path
