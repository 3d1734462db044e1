"""What parsing finds in a tool's source. Line numbers are 1-based."""

from enum import StrEnum

from pydantic import Field, JsonValue

from stepflow_python.model.values import Value


class ParameterKind(StrEnum):
    """The five kinds of `inspect.Parameter`, by their lower-case names."""

    POSITIONAL_ONLY = "positional_only"
    POSITIONAL_OR_KEYWORD = "positional_or_keyword"
    VAR_POSITIONAL = "var_positional"
    KEYWORD_ONLY = "keyword_only"
    VAR_KEYWORD = "var_keyword"


class Parameter(Value):
    """One parameter; `annotation` and `default` are source text."""

    name: str
    kind: ParameterKind
    annotation: str | None = None
    default: str | None = None
    required: bool = True


class PythonFunction(Value):
    """A function or method.

    `input_schema` is the JSON Schema (2020-12) of the arguments object. A node whose Python type JSON does not have
    carries the key `x-python` (`datetime`, `bytes`, `set`, `dataclass:Name`, ...): the guest converts by it.
    """

    name: str
    parameters: tuple[Parameter, ...] = ()
    return_type: str | None = None
    docstring: str | None = None
    decorators: tuple[str, ...] = ()
    is_async: bool = False
    source_code: str = ""
    lineno: int = 1
    input_schema: dict[str, JsonValue] = Field(default_factory=dict)


class PythonClass(Value):
    """A class with its methods; `bases` and `decorators` are source text."""

    name: str
    bases: tuple[str, ...] = ()
    methods: tuple[PythonFunction, ...] = ()
    docstring: str | None = None
    decorators: tuple[str, ...] = ()
    source_code: str = ""
    lineno: int = 1


class ImportedName(Value):
    """One name of an import statement and what it is called here."""

    name: str
    alias: str | None = None


class Import(Value):
    """One imported module.

    `import a, b` gives two; `from m import x, y` gives one with two names. `level` counts the leading dots.
    `optional`: inside `try/except ImportError`, `if TYPE_CHECKING` or a function, or a constant
    `importlib.import_module("x")` / `__import__("x")`: reported, never required.
    """

    module: str
    names: tuple[ImportedName, ...] = ()
    level: int = 0
    lineno: int = 1
    optional: bool = False
    is_stdlib: bool = False


class NeededModule(Value):
    """A top-level module that a source imports, and the 1-based line of its first import."""

    module: str
    line: int


class InferredDependency(Value):
    """A module that is imported and not declared, and the distribution that it comes from; none: unknown, refused.

    `line` is the 1-based line of the first import. One that is `optional` is reported, not installed.
    """

    module: str
    distribution: str | None
    line: int
    optional: bool = False


class DependencySource(StrEnum):
    """Where a distribution comes from."""

    PYPI = "pypi"
    CONDA = "conda"
    GIT = "git"
    LOCAL = "local"


class Dependency(Value):
    """A distribution that the tool needs.

    `name` is normalised (PEP 503), `version` a specifier such as `>=2,<3`, `requirements` the full requirement lines.
    """

    name: str
    version: str | None = None
    source: DependencySource = DependencySource.PYPI
    requirements: tuple[str, ...] = ()


class PythonModule(Value):
    """A parsed tool.

    `source_hash` is the SHA-256 of the UTF-8 source, in hex. `declared`: it has a script block (PEP 723), so that
    `dependencies` is all that it needs, though it may be empty. `inferred` and `ast` only when asked for.
    """

    name: str
    functions: tuple[PythonFunction, ...] = ()
    classes: tuple[PythonClass, ...] = ()
    imports: tuple[Import, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    declared: bool = False
    inferred: tuple[InferredDependency, ...] = ()
    requires_python: str | None = None
    docstring: str | None = None
    source_code: str = Field(default="", repr=False)
    source_hash: str = ""
    ast: JsonValue = None

    def function(self, name: str) -> PythonFunction | None:
        """The function that a caller gets by this name: the last definition, as at run time."""
        return next((function for function in reversed(self.functions) if function.name == name), None)
