"""The filters of this machine: what holds every run, and what further holds some."""

import os
from dataclasses import dataclass
from typing import Self

from stepflow_python.model.security import SecuritySettings
from stepflow_python.sandbox.landlock import SCOPE_ABI, TRUNCATE_ABI
from stepflow_python.sandbox.rules import (
    EVERY_RUN,
    NETWORK,
    NO_NETWORK,
    UNHANDLED_TRUNCATE,
    UNSCOPED_SIGNALS,
    WITHOUT_NAMESPACES,
    no_processes,
    program,
)
from stepflow_python.sandbox.seccomp import Rule, UnknownMachineError

MAKING_NAMESPACES = {"unshare", "clone", "mount"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Compiled once for all runs; none with a `problem` that says why. Where several hold, the strictest decides."""

    machine: str = ""
    every_run: bytes | None = None
    problem: str | None = None

    @classmethod
    def of(cls, machine: str | None = None) -> Self:
        """The filters of a machine; of this one by default."""
        machine = machine or os.uname().machine
        try:
            return cls(machine=machine, every_run=program(EVERY_RUN, machine))
        except UnknownMachineError as error:
            return cls(problem=f"{error}; run the worker on one of those")

    @property
    def zygote(self) -> bytes | None:
        """For a process that makes namespaces for runs: as `every_run`, but for the calls which that takes."""
        [made] = self._programs(tuple(rule for rule in EVERY_RUN if rule.call not in MAKING_NAMESPACES)) or (None,)
        return made

    def before_the_tool(self, security: SecuritySettings) -> tuple[bytes, ...]:
        """What the guest adds in the tool's own process, which no launcher could do: it must itself fork that one."""
        if security.enable_system_calls or self.every_run is None:
            return ()
        return (no_processes(self.machine),)

    def without_namespaces(self, security: SecuritySettings, *, landlock_abi: int) -> tuple[bytes, ...]:
        """All that the guest puts on the tool's process where no launcher does, and Landlock stands for namespaces."""
        alone = WITHOUT_NAMESPACES + (NETWORK if security.enable_network_access else NO_NETWORK)
        alone += () if landlock_abi >= SCOPE_ABI else UNSCOPED_SIGNALS
        alone += () if landlock_abi >= TRUNCATE_ABI else UNHANDLED_TRUNCATE
        return self._programs(EVERY_RUN) + self._programs(alone) + self.before_the_tool(security)

    def _programs(self, rules: tuple[Rule, ...]) -> tuple[bytes, ...]:
        return () if self.every_run is None else (program(rules, self.machine),)
