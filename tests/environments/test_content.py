"""What names an environment."""

from pathlib import Path

import pytest

from stepflow_python.environments.content import environment_id, is_environment_id, key_text
from stepflow_python.environments.interpreters import Interpreter

PYTHON = Interpreter(
    executable=Path("/p/bin/python3.11"),
    version="3.11.7",
    tag="cp311",
    abi="cpython-311",
    platform="linux-x86_64",
    base_prefix=Path("/p"),
)
KEY = key_text(PYTHON, ["a==1", "b==2"], package_sources=["i"], tools=["uv 1"])


def test_order_does_not_matter() -> None:
    """The same lines in another order are the same content."""
    assert key_text(PYTHON, ["b==2", "a==1"], package_sources=["i"], tools=["uv 1"]) == KEY


@pytest.mark.parametrize(
    "other",
    [
        key_text(PYTHON, ["a==1"], package_sources=["i"], tools=["uv 1"]),
        key_text(PYTHON, ["a==1", "b==2"], package_sources=["j"], tools=["uv 1"]),
        key_text(PYTHON, ["a==1", "b==2"], package_sources=["i"], tools=["uv 2"]),
        *(
            key_text(PYTHON.model_copy(update={name: "other"}), ["a==1", "b==2"], package_sources=["i"], tools=["uv 1"])
            for name in ("executable", "version", "abi", "platform")
        ),
    ],
)
def test_every_part_counts(other: str) -> None:
    """Another lock, source, tool or interpreter is another environment."""
    assert environment_id("cp311", other) != environment_id("cp311", KEY)


def test_an_id_is_safe_as_the_name_of_a_folder() -> None:
    """Only the form that we make passes."""
    assert is_environment_id(environment_id("cp311", KEY))
    for text in ("", "..", "cp311-../../etc", "cp311-0123456789abcdef/", "cp311-0123456789abcdef\n", ".cache"):
        assert not is_environment_id(text)
