"""Rules about system calls, and the program that the kernel holds a process to them with.

The program is classic BPF as seccomp(2) takes it, made here, purely, from a table: no compiler and no library has a
part in it. Calls are found by a tree of comparisons; what no rule names is allowed.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from errno import ENOSYS, EPERM
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

# linux/audit.h: what seccomp_data.arch holds in a 64-bit program of the machine.
AUDIT_ARCH: Final[Mapping[str, int]] = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}

# linux/seccomp.h and linux/bpf_common.h.
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
LOAD, AND, RETURN = 0x20, 0x54, 0x06
JUMP, JUMP_EQUAL, JUMP_ABOVE_OR_EQUAL = 0x05, 0x15, 0x35
NUMBER_AT, ARCH_AT, ARGUMENTS_AT = 0, 4, 16
LONGEST_JUMP = 255
WORD = 0xFFFF_FFFF
LEAF = 4
"""Rules that are compared one after the other at the end of a branch."""

Instruction: TypeAlias = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant."""


@dataclass(frozen=True, slots=True)
class Check:
    """Whether the low 32 bits of an argument, masked, are among some values (or, with `among` false, none of them).

    The kernel ignores what is above them in every argument that is tested here; so must a filter.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = WORD
    among: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that is refused, and why.

    It fails with `error`: ENOSYS where programs then go another way, EPERM where they should be told. With `unless`, it
    is allowed where all checks of one of the alternatives hold.
    """

    call: str
    reason: str
    error: int = EPERM
    unless: tuple[tuple[Check, ...], ...] = ()


class UnknownMachineError(Exception):
    """There is no table of system calls for this machine."""


def compiled(rules: Iterable[Rule], *, machine: str) -> bytes:
    """The program of these rules, `struct sock_filter` after `struct sock_filter`.

    Programs of another architecture, which would number their calls otherwise, are killed; calls that are newer than
    our table, and those of the x32 numbering, do not exist.

    Args:
        rules: at most one for each call; calls that the machine has not are left out.
        machine: as `os.uname` names it.

    Raises:
        UnknownMachineError: filters are not made for it.
    """
    numbers = _numbers(machine)
    program = [
        (LOAD, 0, 0, ARCH_AT),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER_AT),
        (JUMP_ABOVE_OR_EQUAL, 0, 1, max(numbers.values()) + 1),
        (RETURN, 0, 0, ERRNO | ENOSYS),
    ]
    known = sorted((numbers[rule.call], rule) for rule in rules if rule.call in numbers)
    program += _branch(known)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def known_calls() -> frozenset[str]:
    """All calls that a rule may name."""
    return frozenset(name for machine in AUDIT_ARCH for name in _numbers(machine))


def _branch(rules: Sequence[tuple[int, Rule]]) -> list[Instruction]:
    """Comparisons of the number, which is loaded; each way through ends in a verdict, so branches can be joined."""
    if len(rules) <= LEAF:
        return [step for number, rule in rules for step in _leaf(number, rule)] + [(RETURN, 0, 0, ALLOW)]
    middle = len(rules) // 2
    below, above = _branch(rules[:middle]), _branch(rules[middle:])
    if len(below) <= LONGEST_JUMP:
        return [(JUMP_ABOVE_OR_EQUAL, len(below), 0, rules[middle][0]), *below, *above]
    return [(JUMP_ABOVE_OR_EQUAL, 0, 1, rules[middle][0]), (JUMP, 0, 0, len(below)), *below, *above]


def _leaf(number: int, rule: Rule) -> list[Instruction]:
    body = [step for checks in rule.unless for step in _alternative(checks)] + [(RETURN, 0, 0, ERRNO | rule.error)]
    return [(JUMP_EQUAL, 0, len(body), number), *body]


def _alternative(checks: Sequence[Check]) -> list[Instruction]:
    """Allow where all checks hold, else go on behind."""
    steps: list[Instruction] = [(RETURN, 0, 0, ALLOW)]
    for check in reversed(checks):
        steps = [*_check(check, otherwise=len(steps)), *steps]
    return steps


def _check(check: Check, *, otherwise: int) -> list[Instruction]:
    """Go on where it holds, else skip `otherwise` instructions."""
    load = [(LOAD, 0, 0, ARGUMENTS_AT + 8 * check.argument)]  # little-endian: the low half comes first
    if check.mask != WORD:
        load.append((AND, 0, 0, check.mask))
    compare: list[Instruction] = []
    for left, value in enumerate(reversed(check.values)):
        if check.among:
            compare.insert(0, (JUMP_EQUAL, left, 0 if left else otherwise, value))
        else:
            compare.insert(0, (JUMP_EQUAL, left + otherwise, 0, value))
    return load + compare


@cache
def _numbers(machine: str) -> Mapping[str, int]:
    """The numbers of a machine's calls, by their names."""
    if machine not in AUDIT_ARCH:
        raise UnknownMachineError(f"no filter of system calls is made for {machine}, only for {', '.join(AUDIT_ARCH)}")
    column = 1 + list(AUDIT_ARCH).index(machine)
    lines = Path(__file__).with_name("syscalls.txt").read_text(encoding="ascii").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}
