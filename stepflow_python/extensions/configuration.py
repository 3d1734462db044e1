"""What the operator tells extensions: one file, a section for each, so that no key stands in a request or a tool."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from stepflow_python.errors import ConfigurationError

Configs = Mapping[str, Mapping[str, JsonValue]]

_sections: TypeAdapter[dict[str, dict[str, JsonValue]]] = TypeAdapter(dict[str, dict[str, JsonValue]])


def read_configs(path: Path, environ: Mapping[str, str]) -> Configs:
    """Sections by extension; a value `{ env = "NAME" }` is that variable of the worker.

    Raises:
        ConfigurationError: the file cannot be read or is not TOML of sections, or a variable is not set.
    """
    try:
        sections = _sections.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"extensions are configured in {path}, which cannot be read: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML file: {error}") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ConfigurationError(
            f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; write a section for each extension, as [llm]"
        ) from error
    return {
        extension: {key: _value(value, environ, place=f"{path}: {extension}.{key}") for key, value in section.items()}
        for extension, section in sections.items()
    }


def _value(value: JsonValue, environ: Mapping[str, str], *, place: str) -> JsonValue:
    match value:
        case {"env": str(variable), **others} if not others:
            found = environ.get(variable)
            if found is None:
                raise ConfigurationError(f"{place}: the variable {variable} is not set; set it for the worker")
            return found
    return value
