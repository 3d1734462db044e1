"""Registering: instances apart, names, clashes, what fails."""

from collections.abc import Callable

import pytest
from support.lent_functions import add

from stepflow_python.extensions import ExtensionContext, Function, Lending, Module
from stepflow_python.extensions.description import UnusableExtensionError


def module() -> Module:
    """A factory that takes nothing."""
    return Module(functions=[add])


def broken() -> Module:
    """A factory that fails."""
    raise OSError("no such file")


class Point:
    """An entry point whose object is at hand."""

    dist = None

    def __init__(self, name: str, loaded: Callable[..., object] | Exception, value: str = "a:b") -> None:
        self.name = name
        self.value = value
        self._loaded = loaded

    def load(self) -> Callable[..., object]:
        """What the entry point names."""
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


def test_two_contexts_know_nothing_of_each_other() -> None:
    """What one instance registers the other has not."""
    one, other = ExtensionContext(), ExtensionContext()
    one.register_extension("llm", module)
    assert one.available == {"llm"}
    assert other.available == frozenset()


@pytest.mark.parametrize("name", ["", "two words", "class", "_hidden", "stepflow", "a.b", "1st"])
def test_names_that_no_tool_could_import_are_refused(name: str) -> None:
    """A name must be an identifier, and not the door's own."""
    with pytest.raises(ValueError, match="is no name for an extension"):
        ExtensionContext().register_extension(name, module)


def test_a_name_is_given_once() -> None:
    """Who registers second is told who was first."""
    context = ExtensionContext()
    context.register_extension("llm", module, origin="first 1.0")
    with pytest.raises(ValueError, match=r"'llm' is taken by first 1\.0"):
        context.register_extension("llm", module)


def test_what_fails_to_load_is_listed_with_its_reason() -> None:
    """One that cannot be imported or described disables itself alone."""
    context = ExtensionContext()
    points = [
        Point("absent", ModuleNotFoundError("No module named 'acme'")),
        Point("broken", broken),
        Point("number", lambda: 5),
        Point("works", module),
        Point("bad name", module),
    ]
    context.discover(points)  # type: ignore[arg-type]  # points that need no installed distribution
    reasons = {one.name: one.reason for one in context.all()}
    assert context.available == {"works"}
    assert reasons["absent"] == "ModuleNotFoundError: No module named 'acme'"
    assert reasons["broken"] == "its factory fails: OSError: no such file"
    assert reasons["number"] == "the factory of 'number' gives a int, not a Module"
    assert "is no name for an extension" in reasons["bad name"]


def test_of_two_of_one_name_the_first_stays_and_both_are_listed() -> None:
    """What the program registers goes before what is discovered; then by the distribution."""
    context = ExtensionContext()
    context.register_extension("llm", module)
    context.discover([Point("llm", broken), Point("mail", module, "a"), Point("mail", module, "b")])  # type: ignore[list-item]
    assert context.available == {"llm", "mail"}
    assert [one.name for one in context.all()] == ["llm", "llm", "mail", "mail"]
    assert [one.available for one in context.all()] == [True, False, True, False]
    assert "taken by registered" in context.all()[1].reason


def test_discovery_waits_until_somebody_asks() -> None:
    """Most runs are lent nothing and load no stranger's package."""
    context = ExtensionContext()
    context.discover_later()
    assert context.get("no such extension") is None


def test_a_factory_is_told_its_configuration() -> None:
    """Each gets its own section, and no other's."""
    seen: list[dict[str, object]] = []

    def factory(lending: Lending) -> Module:
        seen.append(dict(lending.config))
        return module()

    context = ExtensionContext({"llm": {"model": "m"}, "mail": {"host": "h"}})
    context.register_extension("llm", factory)
    assert seen == [{"model": "m"}]


def undocumented(a: int) -> int:  # noqa: D103 - what is tested
    return a


def unhinted(a, b: int) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001 - what is tested
    """Do something."""
    return int(a + b)


def unknown_hint(a: "NoSuchType") -> int:  # type: ignore[name-defined]  # noqa: F821 - what is tested
    """Do something."""
    return int(a)


class Opaque:
    """No JSON value is one of these."""


def opaque(a: Opaque) -> int:
    """Do something."""
    return int(bool(a))


def aio() -> int:
    """Do something under the name of the door to what is awaited."""
    return 1


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ([undocumented], "undocumented has no docstring"),
        ([unhinted], "unhinted has no type hint for a"),
        ([unknown_hint], "unknown_hint: its type hints cannot be read: name 'NoSuchType' is not defined"),
        ([opaque], "opaque, parameter a: Unable to generate"),
        ([aio], "'aio' is no name for a function"),
        ([lambda: 1], "'<lambda>' is no name for a function"),
        ([add, add], "there twice: add"),
    ],
)
def test_functions_must_be_described(functions: list[Callable[..., object]], words: str) -> None:
    """Hints and docstrings are what tools see, so they must be there and be usable."""
    with pytest.raises(UnusableExtensionError, match=words):
        ExtensionContext().register_extension("llm", lambda: Module(functions=functions))


def test_constants_are_json_and_audits_name_parameters() -> None:
    """What cannot travel, and what is not there, is refused at once."""
    with pytest.raises(UnusableExtensionError, match="a constant is no JSON value"):
        Module(constants={"A": float("nan")})
    with pytest.raises(UnusableExtensionError, match="is no name for a constant"):
        Module(constants={"two words": 1})
    with pytest.raises(UnusableExtensionError, match="audits what is no parameter: z"):
        Function(add, audited=frozenset({"z"}))
