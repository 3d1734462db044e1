"""What a source needs, by its imports."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.errors import DependencyError
from stepflow_python.model.module import NeededModule
from stepflow_python.parsing.inference import inferred_dependencies, inferred_requirements, needed_modules
from stepflow_python.parsing.parser import parse_module

TABLE = Path(__file__).parents[2] / "stepflow_python" / "parsing" / "import_names.txt"


def requirements(code: str, *, python: str = "3.12", files: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What a source's imports come to."""
    return inferred_requirements(needed_modules(parse_module(code).imports, file_names=files), python=python)


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("requests", "requests"),
        ("PIL.Image", "pillow"),
        ("yaml", "pyyaml"),
        ("sklearn.linear_model", "scikit-learn"),
        ("bs4", "beautifulsoup4"),
        ("dateutil.parser", "python-dateutil"),
        ("dotenv", "python-dotenv"),
        ("jwt", "pyjwt"),
        ("cv2", "opencv-python-headless"),
        ("typing_extensions", "typing-extensions"),
    ],
)
def test_a_module_is_traced_to_its_distribution(module: str, distribution: str) -> None:
    """Also where their names differ, and where another distribution has the module's name."""
    assert requirements(f"import {module}") == (distribution,)
    assert requirements(f"from {module} import anything") == (distribution,)


def test_what_need_not_be_had_is_left_out() -> None:
    """Python's own modules, relative ones, files of the run, optional ones, and what the host may lend."""
    code = (
        "import json, os.path, http.client, llm, sqlite, helpers, package.part\n"
        "from . import sibling\n"
        "try:\n    import numpy\nexcept ImportError:\n    numpy = None\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import pandas\n"
    )
    assert requirements(code, files=("helpers.py", "package/__init__.py", "data.csv")) == ()


def test_the_standard_library_is_that_of_the_version() -> None:
    """`distutils` left in 3.12, where nobody else is trusted with its name; `tomllib` came in 3.11."""
    assert requirements("import distutils", python="3.11.4") == ()
    with pytest.raises(DependencyError, match=r"'distutils' \(line 1\)"):
        requirements("import distutils", python="3.12")
    assert requirements("import tomllib", python="3.11") == ()
    with pytest.raises(DependencyError, match="tomllib"):
        requirements("import tomllib", python="3.10")


def test_an_unknown_module_is_refused_with_its_line() -> None:
    """Every unknown one is named, the first one's line is the error's, and the message says how to declare it."""
    with pytest.raises(DependencyError) as caught:
        requirements("import json\nimport numpy\nimport reqeusts\nimport no_such_module_anywhere.part\n")
    assert caught.value.line == 3
    assert "'reqeusts' (line 3), 'no_such_module_anywhere' (line 4)" in caught.value.message
    assert "# dependencies = " in caught.value.message


def test_what_is_there_in_any_case_is_not_unknown() -> None:
    """A distribution of the operator's own registry that is in every environment."""
    needed = (NeededModule(module="our_library", line=1),)
    assert inferred_requirements(needed, python="3.12", provided={"our-library"}) == ()


def test_everything_is_reported() -> None:
    """Optional and unknown ones too, by line; a source with a script block has said itself what it needs."""
    code = "def f():\n    import pandas\nimport numpy\nimport numpy.linalg\nimport reqeusts\n"
    found = inferred_dependencies(parse_module(code), python="3.12")
    assert [(one.module, one.distribution, one.line, one.optional) for one in found] == [
        ("pandas", "pandas", 2, True),
        ("numpy", "numpy", 3, False),
        ("reqeusts", None, 5, False),
    ]
    block = "# /// script\n# dependencies = []\n# ///\n"
    assert inferred_dependencies(parse_module(block + code), python="3.12") == ()


def test_the_table_is_in_order() -> None:
    """One module a line, sorted, none that is too general to mean one distribution."""
    modules = [line.split()[0] for line in TABLE.read_text().splitlines()]
    assert modules == sorted(set(modules))
    assert not {"tests", "utils", "src", "helpers", "common"} & set(modules)


@given(name=st.text(max_size=40), python=st.sampled_from(["3.8", "3.11.7", "3.14", "3.15.0rc1", "2.7"]))
def test_any_module_is_known_or_refused(name: str, python: str) -> None:
    """Nothing else comes out than a distribution of the table or an error that names the module."""
    try:
        (found,) = inferred_requirements([NeededModule(module=name, line=1)], python=python) or ("",)
    except DependencyError as error:
        assert repr(name) in error.message
    else:
        assert not found or found in TABLE.read_text().split()
