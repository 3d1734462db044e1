"""The operator's file."""

from pathlib import Path

import pytest

from stepflow_python.errors import ConfigurationError
from stepflow_python.extensions.configuration import read_configs


def test_sections_and_variables(tmp_path: Path) -> None:
    """A section is an extension's; a key may name a variable of the worker."""
    path = tmp_path / "extensions.toml"
    path.write_text('[llm]\nmodel = "m"\napi_key = { env = "KEY" }\n[http]\nhosts = ["a"]\n')
    configs = read_configs(path, {"KEY": "secret"})
    assert configs == {"llm": {"model": "m", "api_key": "secret"}, "http": {"hosts": ["a"]}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[llm", "is no TOML file"),
        ("llm = 5", "llm: Input should be a valid dictionary; write a section"),
        ('[llm]\nkey = { env = "UNSET" }', "llm.key: the variable UNSET is not set"),
        (None, "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    """The message has the file, the place and what to do."""
    path = tmp_path / "extensions.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_configs(path, {})
