"""Source files decoded, and pieces by place."""

import ast
from pathlib import Path

import pytest

from stepflow_python.errors import ParseError
from stepflow_python.parsing.source import SourceLines, decode_source


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("x = 'é'".encode(), "x = 'é'"),
        (b"\xef\xbb\xbfx = 1", "x = 1"),
        ("# -*- coding: latin-1 -*-\nx = 'é'".encode("latin-1"), "# -*- coding: latin-1 -*-\nx = 'é'"),
        (
            "#!/bin/sh\n# vim: set fileencoding=cp1251 :\nя = 1".encode("cp1251"),
            "#!/bin/sh\n# vim: set fileencoding=cp1251 :\nя = 1",
        ),
        (b"", ""),
    ],
)
def test_decodes_by_mark_and_cookie(data: bytes, text: str) -> None:
    """A source says its own encoding."""
    assert decode_source(data) == text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x = 1\ny = '\xff'", "line 2, byte 6: byte 0xff is not utf-8"),
        (b"# gr\xf6\xdfer\n", "line 1, byte 5: byte 0xf6 is not utf-8"),
        (b"# coding: klingon\n", "unknown encoding"),
        (b"# coding: rot13\nx", "rot13 is no text encoding"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "encoding problem"),
    ],
)
def test_undecodable_is_a_parse_error(data: bytes, said: str) -> None:
    """What cannot be decoded is refused, with the place or the name of the encoding."""
    with pytest.raises(ParseError, match=said):
        decode_source(data)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_pieces_are_what_the_parser_saw(newline: str) -> None:
    """A node's text is cut right, with any newline, after other letters than ASCII, over lines and form feeds."""
    code = newline.join(["s = 'é\f'; t = f(ä, [1,", "  'ü'])", "x = 2", ""])
    tree, lines = ast.parse(code), SourceLines(code)
    call, last = tree.body[1], tree.body[2]
    assert isinstance(call, ast.Assign)
    assert isinstance(last, ast.Assign)
    assert lines.text(call.value) == "f(ä, [1,\n  'ü'])"
    assert lines.text(last.value) == "2"


def test_pieces_equal_those_of_the_standard_library() -> None:
    """The quick cut gives what `ast.get_source_segment` gives, for this whole file."""
    code = Path(__file__).read_text(encoding="utf-8")
    lines = SourceLines(code)
    expressions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.expr)][:200]
    assert [lines.text(node) for node in expressions] == [ast.get_source_segment(code, node) for node in expressions]
