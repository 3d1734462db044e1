"""The answer of a guest is data of a stranger: whatever arrives, the host keeps what is whole and says what is not."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.model.limits import Limits
from stepflow_python.sandbox.channel import MAX_DEPTH, Answer, AnswerReader

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


LAST_WORD = b"\0last word\0"
SAID = b'{"exit": 0, "signal": null, "cpu_ms": 1.5, "maxrss_kb": 9000}'


def left(content: bytes) -> Answer:
    """What a reader makes of an answer that the tool's process left in its file."""
    file = os.memfd_create("report")
    try:
        os.write(file, content)
        reader = AnswerReader(LIMITS, report=file)
        reader.feed(frame(b"B") + frame(b"D", b"2"))
        return reader.answer
    finally:
        os.close(file)


def test_an_answer_may_be_left() -> None:
    """Report, status, the status's length, the last word; the time of orphans is added."""
    answer = left(b'{"ok": true, "value": 7}' + SAID + len(SAID).to_bytes(8, "big") + LAST_WORD)
    assert answer.complete
    assert answer.report is not None
    assert answer.report.value == 7
    assert answer.status is not None
    assert answer.status.cpu_ms == 3.5


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda data: data + LAST_WORD)))
def test_what_is_left_is_believed_only_as_far_as_it_goes(content: bytes) -> None:
    """A stranger wrote it: an answer that cannot be used is a fault, never an exception."""
    answer = left(content)
    assert answer.complete is (answer.fault is None)


def test_nothing_can_be_left_where_there_is_no_file() -> None:
    """Such a run's answer comes in frames."""
    assert read(frame(b"D", b"0")).answer.fault is not None


def test_a_message_is_whole() -> None:
    """Of a process that speaks for itself: half a frame is none."""
    reader = AnswerReader(LIMITS)
    reader.take(frame(b"B"))
    assert reader.answer.fault is None
    reader.take(frame(b"X", b"why")[:-1])
    assert reader.answer.fault is not None


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


@pytest.mark.parametrize("number", ["1e999", "-1e400"])
def test_numbers_beyond_all_floats_are_refused(number: str) -> None:
    """Python would read them as infinity, which no JSON, and no database that takes JSON, has a word for."""
    assert number in str(read(frame(b"R", f'{{"ok": true, "value": [{number}]}}'.encode())).answer.fault)


@pytest.mark.parametrize(
    "status",
    ['{"exit": 99999999999999999999}', '{"exit": -1}', '{"signal": 1000}', '{"maxrss_kb": 1e300}', '{"cpu_ms": -5}'],
)
def test_a_status_that_no_process_has_is_refused(status: str) -> None:
    """What goes into the record's columns fits them, whoever forged it."""
    answer = read(frame(b"S", status.encode())).answer
    assert answer.status is None
    assert answer.fault is not None
    assert answer.fault.startswith("frame S: ")


numbers = st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5) | st.none() | st.booleans()
status_fields = st.sampled_from(["exit", "signal", "cpu_ms", "maxrss_kb", "flooded", "files_error", "other"])


@given(st.dictionaries(status_fields, numbers))
def test_whatever_a_status_claims_fits_the_record(fields: dict[str, object]) -> None:
    """Of a forged status, nothing but plausible figures gets through."""
    status = read(frame(b"S", json.dumps(fields).encode())).answer.status
    if status is not None:
        assert status.exit is None or 0 <= status.exit <= 255
        assert status.signal is None or 1 <= status.signal <= 127
        assert 0 <= status.cpu_ms <= 2**53
        assert 0 <= status.maxrss_kb <= 2**53


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_any_value_of_a_tool_arrives_as_it_was(value: object) -> None:
    """What the channel refuses is never honest."""
    answer = read(report(value) + STATUS + frame(b"E")).answer
    assert answer.fault is None
    assert answer.report is not None
    assert answer.report.value == value


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    """Text that no UTF-8 can hold does not reach the record."""
    answer = read(frame(b"R", rb'{"ok": true, "value": {"k\ud800": ["a\udfff"]}}')).answer
    assert answer.report is not None
    assert answer.report.value == {"k\ufffd": ["a\ufffd"]}


def test_nothing_after_the_end_counts() -> None:
    """A second answer behind the end changes nothing."""
    assert read(WHOLE + report("forged") + frame(b"X", b"late")).answer == read(WHOLE).answer
