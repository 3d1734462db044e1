"""What this host can do for boxes: found out once, by trying."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.errors import InternalError, IsolationUnavailableError
from stepflow_python.model.result import MemoryEnforcement
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import IsolationReport
from stepflow_python.process.credentials import can_become_others
from stepflow_python.process.spawn import Spawner
from stepflow_python.sandbox.bell import Bells
from stepflow_python.sandbox.bubblewrap import Bubblewrap, find_bubblewrap
from stepflow_python.sandbox.cgroup import ControlGroups, find_control_groups
from stepflow_python.sandbox.command import unprivileged_command
from stepflow_python.sandbox.etc import make_etc
from stepflow_python.sandbox.landlock import LEAST_ABI
from stepflow_python.sandbox.means import Means
from stepflow_python.sandbox.memory_file import memory_file
from stepflow_python.sandbox.remedies import NEXT_BEST, NO_BUBBLEWRAP, NO_LANDLOCK, Place, not_linux
from stepflow_python.sandbox.staging import Staging, reachable
from stepflow_python.sandbox.warm.options import WarmOptions

PROBE_S = 10.0
CLOSED = (
    "put HOME and the interpreter where others may read, run the worker as that user, or give it the capability "
    "SYS_ADMIN"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """What the sandbox is told.

    `folder` is its own, `environments` where the tools' environments lie, `search_path` the PATH to find programs on,
    `uid` the user that a root worker's boxes run as, `cgroup` a group to use in place of the process's own; without
    `measured`, results keep memory and CPU time to themselves. Without `warm`, each run starts a process of its own.
    """

    folder: Path
    environments: Path
    min_isolation: IsolationTier
    enabled: bool
    uid: int
    cgroup: str
    search_path: str | None
    measured: bool = True
    warm: WarmOptions | None = None


class Host:
    """This host as boxes need it."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.is_root = os.geteuid() == 0
        self.bubblewrap: Bubblewrap | None = None
        self.groups: ControlGroups | None = None
        self.etc = config.folder
        self.means = Means()
        self.bells = Bells()
        self._place = Place.here()
        self._staging = Staging(avoid=(config.folder, config.environments))
        self.spawner = Spawner(self._staging.prepare if self.is_root else None)

    async def show(self, *paths: Path) -> list[Path]:
        """Where a box's launcher finds these folders of ours.

        Raises:
            InternalError: it cannot reach one, and this worker has no right to show it.
        """
        if not self.is_root:
            return list(paths)
        known = self._staging.shown(paths)
        shown = known if known is not None else await self.spawner.call(self._staging.show, paths)
        if self._staging.problem is not None:
            closed = next((path for path in shown if not reachable(path)), None)
            if closed is not None:
                raise InternalError(f"user {self.config.uid}, as whom runs start, cannot reach {closed}: {CLOSED}")
        return shown

    @property
    def starts_as(self) -> int | None:
        """The user that the spawning thread can be itself, for a launcher that gains no privileges; none if it cannot.

        Where a program of root's must first enter a control group, or nothing else gives privileges up for good, that
        is for `unprivileged`.
        """
        return self.config.uid if self.is_root and can_become_others() else None

    @property
    def counts_processes(self) -> bool:
        """Whether each run's processes are counted apart, whatever user namespace it shares with others."""
        return self.groups is not None and self.groups.counts_processes

    def unprivileged(self, argv: list[str]) -> list[str]:
        """The argv of a program that must not run as root."""
        return unprivileged_command(self.config.uid, argv) if self.is_root else argv

    async def probe(self) -> IsolationReport:
        """Try what can be had; each reason is one line that says what is missing and how to get it.

        Raises:
            IsolationUnavailableError: this is not Linux.
        """
        problem = not_linux()
        if problem is not None:
            raise IsolationUnavailableError(problem)
        self.etc = await asyncio.to_thread(make_etc, self.config.folder)
        self.groups = find_control_groups(below=self.config.cgroup)
        reasons = [] if self.groups is not None else [self._place.groups()]
        reasons += [] if self.means.filters.problem is None else [self.means.filters.problem]
        tier, problems = await self._tier()
        return IsolationReport(
            tier=tier,
            memory=MemoryEnforcement.WATCHDOG if self.groups is None else self.groups.enforcement,
            launcher="" if self.bubblewrap is None else f"{self.bubblewrap.path} {self.bubblewrap.version}",
            reasons=(*problems, *reasons),
        )

    async def _tier(self) -> tuple[IsolationTier, list[str]]:
        """The best tier, and why not a better one."""
        if not self.config.enabled:
            return IsolationTier.PROCESS, ["ENABLE_SANDBOXING is false; set it to true"]
        problem = await self._namespaces_problem()
        if problem is None:
            return IsolationTier.NAMESPACES, []
        if self.means.landlock_abi < LEAST_ABI:
            return IsolationTier.PROCESS, [problem, NO_LANDLOCK]
        if self.means.filters.every_run is None:
            return IsolationTier.PROCESS, [problem]
        accepted = self.config.min_isolation.rank <= IsolationTier.LANDLOCK.rank
        return IsolationTier.LANDLOCK, [problem, *(() if accepted else (NEXT_BEST,))]

    async def _namespaces_problem(self) -> str | None:
        """Why no namespaces can be had; none if they can."""
        self.bubblewrap = await find_bubblewrap(search_path=self.config.search_path)
        if self.bubblewrap is None:
            return NO_BUBBLEWRAP
        if await self.spawner.call(lambda: self._staging.problem) is not None:  # the thread's start finds it out
            return self._staging.problem
        [folder] = await self.show(self.bubblewrap.folder)
        program = folder / self.bubblewrap.program
        argv = [str(program), "--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/"]
        argv += ["--as-pid-1", "--proc", "/proc", "--dev", "/dev"]
        try:
            with memory_file("filter", self.means.filters.every_run or b"") as fd:
                filtered = ["--seccomp", str(fd)] if self.means.filters.every_run is not None else []
                argv = self.unprivileged([*argv, *filtered, "--", "/bin/true"])
                complaint = await self.spawner.complaint(argv, timeout_s=PROBE_S, pass_fds=(fd,))
        except OSError as error:
            return f"{error}: install your system's package `util-linux`"
        return None if complaint is None else self._place.namespaces(complaint)
