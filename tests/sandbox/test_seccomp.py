"""Programs of filters, run by a small interpreter of ours: also those of machines that this is not."""

import struct
from errno import ENOSYS, EPERM

import pytest

from stepflow_python.sandbox.rules import EVERY_RUN, NO_PROCESSES
from stepflow_python.sandbox.seccomp import (
    ALLOW,
    AUDIT_ARCH,
    ERRNO,
    KILL_PROCESS,
    Check,
    Rule,
    UnknownMachineError,
    _numbers,
    compiled,
    known_calls,
)

MACHINES = pytest.mark.parametrize("machine", AUDIT_ARCH)
REFUSED, MISSING = ERRNO | EPERM, ERRNO | ENOSYS


def verdict(program: bytes, call: int, *arguments: int, arch: int) -> int:
    """What the kernel would do: an interpreter of the few instructions that filters are made of."""
    data = struct.pack("=IIQ6Q", call, arch, 0, *(value & 2**64 - 1 for value in (*arguments, 0, 0, 0, 0, 0, 0)[:6]))
    accumulator, at = 0, 0
    while True:
        code, yes, no, constant = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, constant)
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x05:
            at += constant
        elif code in {0x15, 0x35}:
            at += yes if (accumulator == constant if code == 0x15 else accumulator >= constant) else no
        else:
            assert code == 0x06
            return int(constant)


def judge(rules: tuple[Rule, ...], machine: str, call: str, *arguments: int) -> int:
    """The verdict of some rules on a call by its name."""
    return verdict(compiled(rules, machine=machine), _numbers(machine)[call], *arguments, arch=AUDIT_ARCH[machine])


@MACHINES
@pytest.mark.parametrize(
    "rules", [EVERY_RUN, NO_PROCESSES, EVERY_RUN + NO_PROCESSES[:4]], ids=["all", "strict", "both"]
)
def test_each_call_meets_its_own_rule(machine: str, rules: tuple[Rule, ...]) -> None:
    """Every call of the table fails as its rule says, or passes where there is none, whatever its neighbours are."""
    unconditional = {rule.call: ERRNO | rule.error for rule in rules if not rule.unless}
    conditional = {rule.call for rule in rules if rule.unless}
    program = compiled(rules, machine=machine)
    for call, number in _numbers(machine).items():
        if call not in conditional:
            assert verdict(program, number, arch=AUDIT_ARCH[machine]) == unconditional.get(call, ALLOW), call


@MACHINES
@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("clone", (0x01200011,), ALLOW),
        ("clone", (0x3D0F00,), ALLOW),
        ("clone", (0x10000011,), REFUSED),
        ("clone", (0x00020011,), REFUSED),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x0040000,), REFUSED),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), REFUSED),
        ("ioctl", (0, 0x5412 | 1 << 32), REFUSED),
        ("ioctl", (0, 0x541C), REFUSED),
        ("socket", (1, 1, 0), ALLOW),
        ("socket", (1 | 1 << 40, 5, 0), ALLOW),
        ("socket", (2, 1 | 0o2000000, 6), ALLOW),
        ("socket", (10, 2, 17), ALLOW),
        ("socket", (2, 2, 1), ALLOW),
        ("socket", (2, 3, 1), REFUSED),
        ("socket", (2, 1, 132), REFUSED),
        ("socket", (16, 3, 0), ALLOW),
        ("socket", (16, 3, 12), REFUSED),
        ("socket", (17, 3, 0), REFUSED),
        ("socket", (38, 5, 0), REFUSED),
        ("socket", (40, 1, 0), REFUSED),
    ],
)
def test_arguments_decide(machine: str, call: str, arguments: tuple[int, ...], expected: int) -> None:
    """Calls that honest programs need too are judged by the low half of their arguments."""
    assert judge(EVERY_RUN, machine, call, *arguments) == expected


@MACHINES
def test_threads_are_no_processes(machine: str) -> None:
    """Without processes, clone makes threads only."""
    assert judge(NO_PROCESSES, machine, "clone", 0x003D0F00) == ALLOW
    assert judge(NO_PROCESSES, machine, "clone", 0x01200011) == REFUSED
    assert judge(NO_PROCESSES, machine, "clone", 0x4111) == REFUSED


@MACHINES
def test_other_numberings_are_closed(machine: str) -> None:
    """A program of another architecture is killed; x32 calls and calls to come do not exist."""
    program = compiled(EVERY_RUN, machine=machine)
    assert verdict(program, 0, arch=0x40000003) == KILL_PROCESS
    for call in (0x40000000, 0x40000000 + 101, max(_numbers(machine).values()) + 1, 0xFFFFFFFF):
        assert verdict(program, call, arch=AUDIT_ARCH[machine]) == MISSING


@MACHINES
def test_alternatives_and_long_branches(machine: str) -> None:
    """All tests of one alternative must hold; branches too long for a short jump are reached by a long one."""
    values = tuple(range(1, 120))
    either = ((Check(0, values), Check(1, (7,), among=False)), (Check(2, (9,)),))
    calls = ("close", "dup", "fchdir", "flock", "fsync", "getpid", "getppid", "getuid", "umask", "uname")
    rules = tuple(Rule(call, "test", unless=either) for call in calls)
    for call in calls:
        assert judge(rules, machine, call, 119, 6) == ALLOW
        assert judge(rules, machine, call, 119, 7) == REFUSED
        assert judge(rules, machine, call, 120, 6) == REFUSED
        assert judge(rules, machine, call, 0, 0, 9) == ALLOW
    assert judge(rules, machine, "read", 0) == ALLOW


def test_rules_name_calls_that_there_are() -> None:
    """No rule is without effect for a misspelt name, and each has a reason."""
    rules = (*EVERY_RUN, *NO_PROCESSES)
    assert {rule.call for rule in rules} <= known_calls()
    assert all(rule.reason for rule in rules)
    for table in (EVERY_RUN, NO_PROCESSES):
        assert len({rule.call for rule in table}) == len(table)


def test_a_machine_without_a_table_is_told() -> None:
    """Nothing is compiled with numbers that mean something else there."""
    with pytest.raises(UnknownMachineError, match="mips64"):
        compiled(EVERY_RUN, machine="mips64")
