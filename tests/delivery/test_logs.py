"""What a run prints, followed from another process."""

import pytest
from sqlalchemy import text
from support.cli import Stepflow
from support.product import PATIENCE_S, send, settings_of, sleeper, wait_for_end, wait_for_processes

from stepflow_python.jobs.watching import Transcript
from stepflow_python.messages import Piece
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.store.engines import reading_engine
from stepflow_python.store.urls import place_of


def pieces_on_record(pair: Stepflow) -> int:
    """How much output of running executions the record holds."""
    engine = reading_engine(place_of(settings_of(pair).database))
    with engine.connect() as connection:
        count: int = connection.execute(text("SELECT count(*) FROM live_output")).scalar_one()
    engine.dispose()
    return count


@pytest.mark.parametrize("pair", ["embedded+sqlite", "redis+postgresql"], indirect=True)
def test_following_a_run(pair: Stepflow, mark: str) -> None:
    """Its first line is there while it still runs, its last after it was stopped; nothing is left of the pieces."""
    with pair.worker("--concurrency", "1"):
        send(pair, sleeper("watched", mark))
        wait_for_processes(mark, there=True)
        assert pieces_on_record(pair) == 0
        following = pair.start("logs", "-f", "watched")
        assert following.stdout is not None
        assert following.stdout.readline() == "before\n"
        assert pieces_on_record(pair) == 1
        assert pair.here("logs", "watched").stdout == "before\n"
        assert pair.here("cancel", "watched").code == 0
        stdout, stderr = following.communicate(timeout=PATIENCE_S)
        wait_for_end(pair, "watched")
    assert (following.returncode, stdout, stderr) == (0, "", "")
    assert pieces_on_record(pair) == 0
    assert pair.here("logs", "watched").stdout == "before\n"


@pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
def test_following_what_waits(pair: Stepflow) -> None:
    """Who follows a queued execution sees all of it, on both streams; an unknown one is refused."""
    code = "import sys\n\nfor number in range(3):\n    print(number, flush=True)\nprint('bad ä', file=sys.stderr)\n"
    send(pair, ExecutionRequest(execution_id="later", code=code))
    following = pair.start("logs", "-f", "later")
    with pair.worker("--concurrency", "1"):
        stdout, stderr = following.communicate(timeout=PATIENCE_S)
    assert (stdout, stderr) == ("0\n1\n2\n", "bad ä\n")
    unknown = pair.here("logs", "nobody")
    assert unknown.code == 2
    assert "'nobody'" in unknown.stderr


def test_a_transcript_of_pieces() -> None:
    """A letter that was cut in two is whole; the record adds what never came in a piece, for the last attempt only."""
    transcript = Transcript()
    letter = "ä".encode()
    pieces = [
        Piece(attempt=1, stream="stdout", start=0, content=b"lost " + letter, number=4),
        Piece(attempt=2, stream="stdout", start=0, content=b"a" + letter[:1], number=5),
        Piece(attempt=2, stream="stdout", start=2, content=letter[1:] + b"b", number=6),
    ]
    assert [transcript.take(piece).text for piece in pieces] == ["lost ä", "a", "äb"]
    result = ExecutionResult(
        execution_id="x", status=Status.SUCCEEDED, attempt=2, stdout="aäb and more", stderr="all of it"
    )
    assert [(rest.stream, rest.text) for rest in transcript.rest(result)] == [
        ("stdout", " and more"),
        ("stderr", "all of it"),
    ]
