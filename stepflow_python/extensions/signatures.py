"""Functions as source: the same facts define them inside a run and in a stub for editors."""

import ast
import builtins
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, get_args, get_type_hints

from stepflow_python.extensions.description import Function, Module

# What a run of any Python version can evaluate; every other annotation travels as text.
_PLAIN: Final = re.compile(r"None|bool|int|float|str|list|dict|object")
_QUALIFIED: Final = re.compile(r"\b([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\.[A-Za-z_]\w*")
_STARS: Final = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}

Annotate = Callable[[str], str]
"""From a parameter's name, or `return`, to the annotation."""


def guest_source(function: Function, *, awaited: bool) -> str:
    """The definition that a run is given: it hands its arguments over by their names.

    `__lent_...` are put into its namespace by the guest. Streams are generators, so those are not awaited themselves.
    """
    streams = function.kind == "stream"
    way = ("stream" if streams else "call") + ("_later" if awaited else "")
    body = f"return {'await ' if awaited and not streams else ''}__lent_{way}({function.name!r}, locals())"

    def annotate(name: str) -> str:
        text = _text_of(function, name, awaited=awaited)
        return text if _PLAIN.fullmatch(text) else repr(text)

    return f"{_head(function, annotate, awaited=awaited)}:\n    {function.doc!r}\n    {body}\n"


def stub(module: Module) -> str:
    """The module as a `.pyi` file: its functions, the same below `aio` to be awaited, its constants."""
    functions = module.by_name.values()
    lines = [f"{name}: {_constant_type(value)}" for name, value in module.constants.items()]
    lines += [_stub_of(function, awaited=False) for function in functions]
    if functions:
        lines += ["class aio:"]
        for function in functions:
            lines += ["    @staticmethod", *(f"    {line}" for line in _stub_of(function, awaited=True).splitlines())]
    text = "\n".join(lines) + "\n"
    imports = sorted({match[1] for match in _QUALIFIED.finditer(_without_texts(text)) if _is_standard(match[1])})
    head = [repr(module.doc)] if module.doc else []
    return "\n".join([*head, *(f"import {name}" for name in imports), *([""] if imports or head else []), text])


def _stub_of(function: Function, *, awaited: bool) -> str:
    def annotate(name: str) -> str:
        return _for_editors(_resolved(function, name, awaited=awaited))

    return f"{_head(function, annotate, awaited=awaited)}:\n    {function.doc!r}\n    ..."


def _for_editors(annotation: str) -> str:
    """Without classes and aliases of others, which are not there where tools are written: they are JSON to a tool."""
    try:
        nodes = list(ast.walk(ast.parse(annotation, mode="eval")))
    except SyntaxError:
        return "typing.Any"
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    qualified = {match[1].partition(".")[0] for match in _QUALIFIED.finditer(annotation)}
    for name in names - qualified - set(dir(builtins)):
        annotation = re.sub(rf"\b{name}\b", "typing.Any", annotation)
    return annotation if all(map(_is_standard, qualified)) else "typing.Any"


def _head(function: Function, annotate: Annotate, *, awaited: bool) -> str:
    word = "async def" if awaited and function.kind == "call" else "def"
    return f"{word} {function.name}({', '.join(_parameters(function, annotate))}) -> {annotate('return')}"


def _parameters(function: Function, annotate: Annotate) -> Iterator[str]:
    parameters = list(function.signature.parameters.values())
    kinds = [None, *(parameter.kind for parameter in parameters), None]
    for index, parameter in enumerate(parameters, start=1):
        kind = parameter.kind
        starred = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL}
        if kind is inspect.Parameter.KEYWORD_ONLY and kinds[index - 1] not in starred:
            yield "*"
        text = f"{_STARS.get(kind.name, '')}{parameter.name}: {annotate(parameter.name)}"
        yield text if parameter.default is inspect.Parameter.empty else f"{text} = {_default(parameter.default)}"
        if kind is inspect.Parameter.POSITIONAL_ONLY and kinds[index + 1] is not kind:
            yield "/"


def _default(value: object) -> str:
    """Its text where that is a literal; else dots, which are never sent: the host has the default."""
    try:
        return repr(value) if ast.literal_eval(repr(value)) == value else "..."
    except (SyntaxError, TypeError, ValueError):
        return "..."


def _text_of(function: Function, name: str, *, awaited: bool) -> str:
    """An annotation as its author wrote it, where they wrote text."""
    written = function.call.__annotations__.get(name)
    if isinstance(written, str) and (name != "return" or function.kind == "call"):
        return " ".join(written.split())
    return _resolved(function, name, awaited=awaited).replace("collections.abc.", "").replace("typing.", "")


def _resolved(function: Function, name: str, *, awaited: bool) -> str:
    """An annotation by the full names of its types."""
    hint = get_type_hints(function.call)[name]
    if name != "return" or function.kind == "call":
        return _written(hint)
    item = _written(next(iter(get_args(hint)), Any))
    return f"collections.abc.{'AsyncIterator' if awaited else 'Iterator'}[{item}]"


def _written(hint: object) -> str:
    if hint is type(None):
        return "None"
    if isinstance(hint, type) and not get_args(hint):
        return hint.__qualname__ if hint.__module__ == "builtins" else f"{hint.__module__}.{hint.__qualname__}"
    return repr(hint).replace("NoneType", "None")


def _constant_type(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _without_texts(source: str) -> str:
    return re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "", source)


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names
