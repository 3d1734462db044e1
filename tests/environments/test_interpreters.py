"""The choice among interpreters."""

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from stepflow_python.environments.interpreters import (
    Interpreter,
    Interpreters,
    _specifier,
    running_interpreter,
)
from stepflow_python.errors import PythonEnvironmentError

RUNNING = running_interpreter().resolve()


@pytest.fixture
def interpreters(tmp_path: Path, variables: Mapping[str, str]) -> Interpreters:
    """Those of this machine."""
    return Interpreters(record=tmp_path / "interpreters.json", environ=variables)


def _running(interpreters: Interpreters) -> Interpreter:
    return next(one for one in asyncio.run(interpreters.all()) if one.executable == RUNNING)


def test_each_is_what_it_says(interpreters: Interpreters) -> None:
    """Version and installation are those that the program itself reports."""
    for found in asyncio.run(interpreters.all()):
        said = subprocess.run(
            [found.executable, "-I", "-c", "import sys; print(sys.version.split()[0], sys.prefix)"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        assert said == [found.version, str(found.base_prefix)]


def test_the_running_one_comes_first(interpreters: Interpreters) -> None:
    """Whoever asks for no version, or for one that it fits, gets the interpreter that the worker runs on."""
    running = _running(interpreters)
    for wanted in (None, running.version, ".".join(running.version.split(".")[:2]), ">=3.8", "3"):
        assert asyncio.run(interpreters.select(wanted)) == running


def test_else_the_newest_that_fits(interpreters: Interpreters) -> None:
    """A specifier that excludes the running one gets the newest of the others."""
    running = _running(interpreters)
    others = [one for one in asyncio.run(interpreters.all()) if one.version != running.version]
    if not others:
        pytest.skip("one interpreter only")
    chosen = asyncio.run(interpreters.select(f"!={running.version}"))
    assert Version(chosen.version) == max(Version(one.version) for one in others)


def test_none_fits(interpreters: Interpreters) -> None:
    """The message names what was asked for and every interpreter there is."""
    with pytest.raises(PythonEnvironmentError, match=r"no interpreter for Python 3\.99") as caught:
        asyncio.run(interpreters.select("3.99"))
    for there in asyncio.run(interpreters.all()):
        assert f"{there.version} ({there.executable})" in caught.value.message


@pytest.mark.parametrize("wanted", ["", "three", ">=", "3.12 or so", "../python"])
def test_what_is_no_version_is_refused(interpreters: Interpreters, wanted: str) -> None:
    """A malformed version is refused with an example of a right one."""
    with pytest.raises(PythonEnvironmentError, match=r"write it such as 3\.12"):
        asyncio.run(interpreters.select(wanted))


@given(st.text())
def test_any_text_is_a_specifier_or_refused(text: str) -> None:
    """No text brings out another error."""
    try:
        assert isinstance(_specifier(text), SpecifierSet)
    except PythonEnvironmentError as error:
        assert len(error.message) < 600


def test_each_is_asked_once(tmp_path: Path, variables: Mapping[str, str], interpreters: Interpreters) -> None:
    """A later search believes the record of answers, as long as the file is the same by time and size."""
    running = _running(interpreters)
    record = tmp_path / "interpreters.json"
    record.write_text(record.read_text().replace(f'"{running.abi}"', '"recorded"'))
    again = _running(Interpreters(record=record, environ=variables))
    assert again.abi == "recorded"


def test_a_damaged_record_is_made_anew(tmp_path: Path, interpreters: Interpreters) -> None:
    """The record of answers is a convenience, never a reason to fail."""
    (tmp_path / "interpreters.json").write_text("{]")
    assert asyncio.run(interpreters.all())


def test_the_preferred_one_is_taken_when_it_fits(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """An interpreter that was named wins over the running one, for its own versions."""
    record = tmp_path / "record.json"
    others = [
        one for one in asyncio.run(Interpreters(record=record, environ=variables).all()) if one.executable != RUNNING
    ]
    if not others:
        pytest.skip("one interpreter only")
    chosen = Interpreters(record=record, environ=variables, preferred=others[0].executable, default="3.99")
    assert asyncio.run(chosen.select(None)) == others[0]
    assert asyncio.run(chosen.select(others[0].version)) == others[0]


def test_a_preferred_one_that_is_none_is_named(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """A setting that points at something else is an error that shows it."""
    for wrong in (Path("/bin/true"), tmp_path / "missing"):
        chosen = Interpreters(record=tmp_path / "record.json", environ=variables, preferred=wrong)
        with pytest.raises(PythonEnvironmentError, match=str(wrong)):
            asyncio.run(chosen.select(None))


def test_the_default_version_is_for_those_who_ask_for_none(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """A default that is not there is an error that names it."""
    chosen = Interpreters(record=tmp_path / "record.json", environ=variables, default="3.99")
    with pytest.raises(PythonEnvironmentError, match=r"3\.99"):
        asyncio.run(chosen.select(None))
    assert asyncio.run(chosen.select(">=3.8")).executable == RUNNING
