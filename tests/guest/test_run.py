"""From source to report."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Guest


def test_a_result_that_is_too_large_is_said_to_be(guest: "Guest") -> None:
    """Neither one long text nor endlessly many parts pass the limit."""
    for body in ("'x' * 5000", "list(range(3000))", "{str(n): n for n in range(3000)}"):
        ran = guest.run(f"def f():\n    return {body}\n", "f", limits={"result_bytes": 4000})
        assert ran.report is not None
        assert ran.report["too_large"] is True
        assert "larger than 4000 bytes" in ran.message


def test_a_refused_value_is_named_with_its_place(guest: "Guest") -> None:
    """The error says where in the result, which type, and what to return."""
    source = "import socket\ndef f():\n    return {'rows': [1, {'when': socket.socket}]}\n"
    assert guest.run(source, "f").message.startswith(
        "result.rows[1].when: type is no JSON value; return str, int, float"
    )


def test_an_exception_while_converting_is_reported(guest: "Guest") -> None:
    """A property of the tool that raises is an exception of the tool, with its own line."""
    source = (
        "from dataclasses import dataclass\n@dataclass\nclass D:\n    a: int\n"
        "    def __getattribute__(self, name):\n        raise KeyError('inside')\n"
        "def f():\n    return [D.__new__(D)]\n"
    )
    ran = guest.run(source, "f")
    assert ran.report is not None
    assert "result[0]: tool.D could not be converted: KeyError: 'inside'" in ran.message
    assert ran.report["exceptions"][0]["frames"][0]["line"] == 6


def test_a_syntax_error_has_its_line(guest: "Guest") -> None:
    """Source that this version cannot read fails as a tool, not as a guest."""
    ran = guest.run("x = 1\nx = = 2\n")
    assert "SyntaxError" in ran.message
    assert "line 2" in ran.message
    assert "x = = 2" in ran.stderr


def test_a_source_does_not_inherit_the_guests_future(guest: "Guest") -> None:
    """Annotations are evaluated, as in any other file."""
    assert guest.run("def f(a: 1 + 1 = 0):\n    return f.__annotations__\n", "f").value == {"a": 2}


def test_a_function_exit_of_zero_is_no_failure(guest: "Guest") -> None:
    """`sys.exit()` inside a function ends it well, without a value; another code does not."""
    assert guest.run("import sys\ndef f():\n    sys.exit()\n", "f").value is None
    ran = guest.run("import sys\ndef f():\n    sys.exit(4)\n", "f")
    assert (ran.message, ran.status["exit"]) == ("f() ended itself with exit code 4", 4)


def test_a_missing_function_is_named(guest: "Guest") -> None:
    """A function that the source does not leave behind, or something that is none, is refused by name."""
    assert guest.run("if False:\n    def f(): pass\n", "f").message == "f is not defined once tool.py has run"
    assert "f is a int, not a function" in guest.run("f = 1\n", "f").message


def test_no_descriptors_left_loses_no_record(guest: "Guest") -> None:
    """A tool that has used up its descriptors, and fails, is still reported by name."""
    source = "import os\nkeep = []\nwhile True:\n    keep.append(os.open('/dev/null', os.O_RDONLY))\n"
    ran = guest.run(source, limits={"open_files": 40})
    assert ran.report is not None
    assert ran.report["exceptions"][0]["type"] == "OSError"
