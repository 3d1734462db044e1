"""Descriptions out of docstrings in the styles of Google, NumPy and Sphinx."""

import ast
import inspect
import re

import docstring_parser
from docstring_parser import DocstringStyle

MAX_DOCSTRING = 20_000
"""Characters; a longer docstring is kept, but not searched for parameters."""
MAX_DESCRIPTION = 1_000
"""Characters of one description in a schema, where it is repeated for each function that uses it."""

# docstring_parser tries all styles and costs some 300 us for each docstring: most describe no parameter at all.
_SIGNS = (
    (
        DocstringStyle.GOOGLE,
        re.compile(r"^[ \t]*(?:Args|Arguments|Parameters|Params|Attributes|Keyword Args):", re.MULTILINE),
    ),
    (
        DocstringStyle.NUMPYDOC,
        re.compile(r"^[ \t]*(?:Other )?(?:Parameters|Params|Attributes)[ \t]*\n[ \t]*-{3}", re.MULTILINE),
    ),
    (DocstringStyle.REST, re.compile(r"^[ \t]*:(?:param|parameter|arg|argument|key|keyword)\b", re.MULTILINE)),
)
_ENTRIES = frozenset({"param", "attribute"})


def docstring_of(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    """The docstring of a definition, its indentation removed; lone surrogates, which no JSON text holds, replaced."""
    if not node.body or not isinstance(node.body[0], ast.Expr):
        return None
    value = node.body[0].value
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return None
    text = value.value if value.value.isascii() else value.value.encode("utf-8", "replace").decode()
    return inspect.cleandoc(text) if "\n" in text else text.strip()


def summary(docstring: str | None) -> str | None:
    """The first paragraph of a docstring, as one line."""
    if not docstring:
        return None
    return short(docstring.partition("\n\n")[0])


def short(text: str) -> str | None:
    """A text as a description: one line, bounded; none if empty."""
    return " ".join(text[: 2 * MAX_DESCRIPTION].split())[:MAX_DESCRIPTION] or None


def descriptions(docstring: str | None) -> dict[str, str]:
    """What a docstring says of each parameter or field, by its name without stars."""
    if not docstring or len(docstring) > MAX_DOCSTRING:
        return {}
    style = next((style for style, sign in _SIGNS if sign.search(docstring)), None)
    if style is None:
        return {}
    try:
        parsed = docstring_parser.parse(docstring, style)
    except Exception:  # noqa: BLE001 - a docstring is free text; one that its parser cannot take describes nothing
        return {}
    found: dict[str, str] = {}
    for entry in parsed.meta:
        if (
            isinstance(entry, docstring_parser.DocstringParam)
            and entry.args
            and entry.args[0]
            in _ENTRIES
            | {
                "parameter",
                "arg",
                "argument",
                "key",
                "keyword",
                "other_param",
            }
        ):
            text = short(entry.description or "")
            if text:
                found.update((name.strip(" *"), text) for name in entry.arg_name.split(","))
    return found
