"""Which status may follow which. SQL guards each change with `sources_of`; nothing leaves a status that has ended."""

from stepflow_python.model.result import Status

ENDED = frozenset(status for status in Status if status.ended)

FOLLOWERS: dict[Status, frozenset[Status]] = {
    # A job that never ran is refused, cancelled, or met a fault of ours before anybody claimed it.
    Status.QUEUED: frozenset({Status.RUNNING, Status.REJECTED, Status.CANCELLED, Status.FAILED}),
    # Running again: its worker died, and another one takes the next attempt. Queued again: its worker gives it back,
    # since it may succeed later, or since the worker stops.
    Status.RUNNING: frozenset({Status.RUNNING, Status.QUEUED}) | ENDED,
    **dict.fromkeys(ENDED, frozenset()),
}


def may_follow(before: Status, after: Status) -> bool:
    """Whether an execution may go from one status to the other."""
    return after in FOLLOWERS[before]


def sources_of(after: Status) -> tuple[Status, ...]:
    """Every status that may lead to this one, in the order of `Status`."""
    return tuple(before for before in Status if may_follow(before, after))
