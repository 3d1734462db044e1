"""What a pydantic model's configuration means for the objects it takes."""

import ast
from collections.abc import Iterator

from stepflow_python.parsing.class_kinds import LocalClass, class_body, has_early_validators
from stepflow_python.parsing.names import Names

_BOTH = frozenset({"populate_by_name", "validate_by_name", "allow_population_by_field_name"})


def is_opaque(model: LocalClass, names: Names) -> bool:
    """Whether only the model itself can say what it takes: made aliases, or validators that see the raw input."""
    options = dict(_options(model))
    return not model.complete or "alias_generator" in options or has_early_validators(model, names) or _odd_alias(model)


def extra_properties(model: LocalClass) -> bool:
    """Whether unknown fields are taken, or silently dropped, as pydantic does unless told otherwise."""
    value = dict(_options(model)).get("extra")
    forbidden = isinstance(value, ast.Constant) and value.value == "forbid"
    return not (forbidden or (isinstance(value, ast.Attribute) and value.attr == "forbid"))


def takes_names(model: LocalClass) -> bool:
    """Whether a field with an alias is also taken by its own name."""
    options = dict(_options(model))
    return any(isinstance(options.get(name), ast.Constant) for name in _BOTH)


def _options(model: LocalClass) -> Iterator[tuple[str, ast.expr]]:
    """The configuration's settings, those of ancestors first."""
    for node in model.lineage:
        yield from _given(node.keywords)
        for statement in class_body(node):
            if isinstance(statement, ast.ClassDef) and statement.name == "Config":
                for inner in statement.body:
                    if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
                        yield inner.targets[0].id, inner.value
            elif isinstance(statement, ast.Assign | ast.AnnAssign) and _assigns(statement, "model_config"):
                yield from _settings(statement.value)


def _assigns(statement: ast.Assign | ast.AnnAssign, name: str) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _settings(value: ast.expr | None) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(value, ast.Call):
        yield from _given(value.keywords)
    elif isinstance(value, ast.Dict):
        for key, item in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, item


def _given(keywords: list[ast.keyword]) -> Iterator[tuple[str, ast.expr]]:
    return ((keyword.arg, keyword.value) for keyword in keywords if keyword.arg)


def _odd_alias(model: LocalClass) -> bool:
    """Whether a field has an alias that is no plain text: choices, or a path into the input."""
    for node in model.lineage:
        for statement in class_body(node):
            call = statement.value if isinstance(statement, ast.AnnAssign) else None
            for keyword in call.keywords if isinstance(call, ast.Call) else ():
                if keyword.arg in {"alias", "validation_alias"} and not isinstance(keyword.value, ast.Constant):
                    return True
    return False
