"""The answer of a guest is data of a stranger: whatever arrives, the host keeps what is whole and says what is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.model.limits import Limits
from stepflow_python.sandbox.channel import MAX_DEPTH, AnswerReader

LIMITS = Limits(result_bytes=10_000, output_files=3, output_files_bytes=1000)


def frame(kind: bytes, body: bytes = b"") -> bytes:
    """One frame, as the guest sends it."""
    return kind + len(body).to_bytes(8, "big") + body


def report(value: object) -> bytes:
    """A report of success."""
    return frame(b"R", json.dumps({"ok": True, "value": value}).encode())


def output(name: str, content: bytes) -> bytes:
    """One output file."""
    return frame(b"F", len(name.encode()).to_bytes(4, "big") + name.encode() + content)


def read(data: bytes) -> AnswerReader:
    """A reader that was fed all of it."""
    reader = AnswerReader(LIMITS)
    reader.feed(data)
    return reader


STATUS = frame(b"S", b'{"exit": 0, "signal": null, "cpu_ms": 1.5, "maxrss_kb": 9000}')
WHOLE = frame(b"B") + report({"a": [1, "é"]}) + STATUS + output("a/b.txt", b"hi") + frame(b"E")


@given(st.lists(st.integers(1, 40), max_size=40))
def test_frames_may_arrive_in_any_pieces(sizes: list[int]) -> None:
    """However the bytes are cut, the same answer comes out."""
    reader, rest = AnswerReader(LIMITS), WHOLE
    for size in sizes:
        reader.feed(rest[:size])
        rest = rest[size:]
    reader.feed(rest)
    answer = reader.answer
    assert answer.began
    assert answer.complete
    assert answer.fault is None
    assert answer.report is not None
    assert answer.report.value == {"a": [1, "é"]}
    assert answer.status is not None
    assert answer.status.cpu_ms == 1.5
    assert answer.files == {"a/b.txt": b"hi"}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    """Rubbish gives an incomplete answer or a fault, never an exception."""
    answer = read(data).answer
    assert not answer.complete or data.endswith(frame(b"E")) or frame(b"E") in data


@given(st.binary(max_size=200), st.sampled_from([b"R", b"S", b"F"]))
def test_any_body_is_read_without_an_exception(body: bytes, kind: bytes) -> None:
    """A well-framed frame of rubbish is a fault that names the frame, or data."""
    answer = read(frame(kind, body)).answer
    assert answer.fault is None or answer.fault.startswith(f"frame {kind.decode()}")


def test_a_flood_is_cut_off() -> None:
    """Once the answer is unusable the reader keeps nothing more."""
    reader = AnswerReader(LIMITS)
    for _ in range(1000):
        reader.feed(b"x" * 4096)
    assert reader.answer.fault is not None
    assert len(reader._buffer) <= 4096


def test_a_frame_that_claims_too_much_is_refused_at_once() -> None:
    """The claimed length alone never makes the host wait or allocate."""
    assert "claims" in str(read(b"R" + (1 << 60).to_bytes(8, "big")).answer.fault)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "", "a//b", "./a", "a\0b"])
def test_output_names_stay_inside_the_folder(name: str) -> None:
    """A name that leads elsewhere is a fault, and nothing is kept under it."""
    answer = read(output(name, b"x")).answer
    assert answer.fault is not None
    assert answer.files == {}


def test_output_files_are_bounded_in_number_and_size() -> None:
    """The guest's own counting is not trusted."""
    assert "3 output files" in str(read(b"".join(output(f"f{n}", b"") for n in range(4))).answer.fault)
    assert "1000 bytes" in str(read(output("a", b"x" * 600) + output("b", b"x" * 600)).answer.fault)


def test_deep_nesting_is_refused() -> None:
    """What no JSON library downstream can carry is refused here."""
    deep = b"[" * (MAX_DEPTH + 10) + b"]" * (MAX_DEPTH + 10)
    very_deep = b"[" * 4000 + b"]" * 4000
    for body in (deep, very_deep):
        assert "deep" in str(read(frame(b"R", b'{"ok": true, "value": %s}' % body)).answer.fault)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_json_that_is_none_is_refused(constant: str) -> None:
    """NaN and infinity are no JSON, whoever writes them."""
    assert constant in str(read(frame(b"R", f'{{"ok": true, "value": {constant}}}'.encode())).answer.fault)


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    """Text that no UTF-8 can hold does not reach the record."""
    answer = read(frame(b"R", rb'{"ok": true, "value": {"k\ud800": ["a\udfff"]}}')).answer
    assert answer.report is not None
    assert answer.report.value == {"k\ufffd": ["a\ufffd"]}


def test_nothing_after_the_end_counts() -> None:
    """A second answer behind the end changes nothing."""
    assert read(WHOLE + report("forged") + frame(b"X", b"late")).answer == read(WHOLE).answer
