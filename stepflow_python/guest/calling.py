"""Call the tool's function: arguments by their parameters' kinds, and what it gives awaited or collected."""

from __future__ import annotations

from .request import ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Tuple

    from .request import Request

GENERATOR = type(_ for _ in ())


def call_function(request: Request, namespace: Dict[str, Any]) -> Any:
    """The function's result: an awaitable is awaited, a generator is the list of what it yields.

    Raises:
        ToolError: there is no such function, or an argument cannot be converted.
    """
    function = namespace.get(request.function or "")
    if not callable(function):
        found = "is not defined" if function is None else f"is a {type(function).__name__}, not a function"
        raise ToolError(f"{request.function} {found} once {request.module_name}.py has run")
    arguments = request.arguments
    if "x-python" in repr(request.input_schema):
        from .convert import converted_arguments

        arguments = converted_arguments(arguments, request.input_schema, namespace)
    positional, named = arrange(request.parameters, arguments, function)
    return _settled(function(*positional, **named))


def arrange(
    parameters: List[Tuple[str, str]], arguments: Dict[str, Any], function: Callable[..., Any]
) -> Tuple[List[Any], Dict[str, Any]]:
    """Positional and named arguments. What is missing is left to the function's defaults, or to its own TypeError."""
    named = dict(arguments)
    rest: List[Any] = []
    leading = []
    for name, kind in parameters:
        if kind == "var_positional":
            rest = list(named.pop(name, ()))
        elif kind in {"positional_only", "positional_or_keyword"}:
            leading.append((name, kind))
    if not rest:
        leading = [(name, kind) for name, kind in leading if kind == "positional_only"]
    given = [index for index, (name, _) in enumerate(leading) if name in named]
    needed = leading if rest else leading[: given[-1] + 1] if given else []
    positional = []
    for name, _ in needed:
        positional.append(named.pop(name) if name in named else _default(function, name))
    return positional + rest, named


def _default(function: Callable[..., Any], name: str) -> Any:
    """The default of a parameter that cannot be left out because a later one is given by position."""
    import inspect

    parameter = inspect.signature(function).parameters.get(name)
    if parameter is None or parameter.default is inspect.Parameter.empty:
        raise ToolError(f"parameter `{name}` is missing; give it a value")
    return parameter.default


def _settled(result: Any) -> Any:
    """The value of what a call gave: only this outermost one is awaited or collected."""
    kind = type(result)
    if hasattr(kind, "__await__"):
        import asyncio

        async def awaited() -> Any:
            return await result

        result = asyncio.run(awaited())
        kind = type(result)
    if kind is GENERATOR:
        return list(result)
    if kind.__name__ == "async_generator" and kind.__module__ == "builtins":
        import asyncio

        async def collected() -> List[Any]:
            return [item async for item in result]

        return asyncio.run(collected())
    return result
