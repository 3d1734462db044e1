"""What a source declares about itself."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepflow_python.errors import DependencyError, ParseError, PythonError
from stepflow_python.model.module import DependencySource
from stepflow_python.parsing.script_block import read_script_block

BLOCK = """#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "Requests[socks]>=2,<3 ; python_version > '3.8'",
#   "my.Pkg @ git+https://example.org/x.git@v1",
#   "local_one @ file:///srv/one",
#   "numpy>=1; python_version<'3.12'",
#   "numpy>=2; python_version>='3.12'",
# ]
# [tool.other]
# x = 1
# ///
import requests
"""


def test_a_block_is_read() -> None:
    """Names are normalised, whole lines kept, addresses told apart."""
    block = read_script_block(BLOCK.split("\n"))
    assert block.requires_python == ">=3.11"
    assert [(d.name, d.version, d.source, len(d.requirements)) for d in block.dependencies] == [
        ("requests", "<3,>=2", DependencySource.PYPI, 1),
        ("my-pkg", None, DependencySource.GIT, 1),
        ("local-one", None, DependencySource.LOCAL, 1),
        ("numpy", None, DependencySource.PYPI, 2),
    ]
    assert block.dependencies[0].requirements == ("Requests[socks]>=2,<3 ; python_version > '3.8'",)


@pytest.mark.parametrize(
    "code", ["", "x = 1", "# /// other\n# x\n# ///", "## /// script\n# ///", " # /// script\n # ///"]
)
def test_no_block_declares_nothing(code: str) -> None:
    """A source without a block needs nothing."""
    assert read_script_block(code.split("\n")).dependencies == ()


def test_the_last_end_mark_of_the_comment_ends_the_block() -> None:
    """An end mark inside the comment's run is content, as PEP 723 has it."""
    lines = ["# /// script", "# dependencies = [", '#   "a",', "# ]", "#", "# # note", "# ///", ""]
    assert [d.name for d in read_script_block(lines).dependencies] == ["a"]


@pytest.mark.parametrize(
    ("code", "kind", "line", "said"),
    [
        ("# /// script\n# dependencies = []\nx = 1", ParseError, 1, "no end"),
        ("# /// script\n# ///\n\n# /// script\n# ///", ParseError, 4, "second script block"),
        ("\n# /// script\n# x = \n# ///", ParseError, 3, "not TOML"),
        ("# /// script\n# x = " + "[" * 5000 + "\n# ///", ParseError, 1, "not TOML"),
        ('# /// script\n# dependencies = "a"\n# ///', DependencyError, 2, "must be a list"),
        ("# /// script\n# dependencies = [\n#  1]\n# ///", DependencyError, 2, "no requirement string"),
        (
            '# /// script\n# dependencies = [\n#  "a",\n#  "a b c"]\n# ///',
            DependencyError,
            4,
            '"a b c" is no requirement',
        ),
        ('# /// script\n# dependencies = ["./x"]\n# ///', DependencyError, 2, "name @ URL"),
        ('# /// script\n# requires-python = "three"\n# ///', DependencyError, 2, "no version specifier"),
        ("# /// script\n# requires-python = 3\n# ///", DependencyError, 2, "must be a string"),
    ],
)
def test_malformed_blocks_say_where(code: str, kind: type[PythonError], line: int, said: str) -> None:
    """Each mistake is an error with its line and the remedy."""
    with pytest.raises(kind, match=said) as caught:
        read_script_block(code.split("\n"))
    assert caught.value.line == line


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(alphabet="#/ scriptdepn=[]\"'x>,1\\@")))
def test_any_block_is_read_or_refused(content: list[str]) -> None:
    """Nothing but our own errors comes out of a block."""
    lines = ["# /// script", *(f"# {line}" for line in content), "# ///"]
    try:
        read_script_block(lines)
    except PythonError as error:
        assert error.line is not None
