"""What this host can do for boxes: found out once, by trying."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.model.result import MemoryEnforcement
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import IsolationReport
from stepflow_python.process.spawn import Spawner
from stepflow_python.sandbox.bubblewrap import Bubblewrap, find_bubblewrap
from stepflow_python.sandbox.cgroup import ControlGroups, find_control_groups
from stepflow_python.sandbox.command import unprivileged_command
from stepflow_python.sandbox.etc import make_etc
from stepflow_python.sandbox.staging import Staging

PROBE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """What the sandbox is told.

    `folder` is its own, `environments` where the tools' environments lie, `search_path` the PATH to find programs on,
    `uid` the user that a root worker's boxes run as, `cgroup` a group to use in place of the process's own; without
    `measured`, results keep memory and CPU time to themselves.
    """

    folder: Path
    environments: Path
    min_isolation: IsolationTier
    enabled: bool
    uid: int
    cgroup: str
    search_path: str | None
    measured: bool = True


class Host:
    """This host as boxes need it."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.is_root = os.geteuid() == 0
        self.bubblewrap: Bubblewrap | None = None
        self.groups: ControlGroups | None = None
        self.etc = config.folder
        self._staging = Staging(avoid=(config.folder, config.environments))
        self.spawner = Spawner(self._staging.prepare if self.is_root else None)

    async def show(self, *paths: Path) -> list[Path]:
        """Where a box's launcher finds these folders of ours."""
        if not self.is_root:
            return list(paths)
        shown = self._staging.shown(paths)
        return shown if shown is not None else await self.spawner.call(self._staging.show, paths)

    def unprivileged(self, argv: list[str]) -> list[str]:
        """The argv of a program that must not run as root."""
        return unprivileged_command(self.config.uid, argv) if self.is_root else argv

    async def probe(self) -> IsolationReport:
        """Try what can be had; each reason is one line that says what is missing and how to get it."""
        self.etc = await asyncio.to_thread(make_etc, self.config.folder)
        self.groups = find_control_groups(below=self.config.cgroup)
        reasons = [] if self.groups is not None else [NO_GROUP]
        problem = (
            await self._namespaces_problem() if self.config.enabled else "ENABLE_SANDBOXING is false; set it to true"
        )
        return IsolationReport(
            tier=IsolationTier.NAMESPACES if problem is None else IsolationTier.PROCESS,
            memory=MemoryEnforcement.WATCHDOG if self.groups is None else self.groups.enforcement,
            launcher="" if self.bubblewrap is None else f"{self.bubblewrap.path} {self.bubblewrap.version}",
            reasons=tuple(reasons if problem is None else [problem, *reasons]),
        )

    async def _namespaces_problem(self) -> str | None:
        """Why no namespaces can be had; none if they can."""
        self.bubblewrap = await find_bubblewrap(search_path=self.config.search_path)
        if self.bubblewrap is None:
            return "no bubblewrap 0.8 or later was found: install your system's package `bubblewrap`"
        [folder] = await self.show(self.bubblewrap.folder)
        program = folder / self.bubblewrap.program
        if self._staging.problem is not None:
            return self._staging.problem
        argv = [str(program), "--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/"]
        argv += ["--proc", "/proc", "--dev", "/dev", "--", "/bin/true"]
        try:
            complaint = await self.spawner.complaint(self.unprivileged(argv), timeout_s=PROBE_S)
        except OSError as error:
            return f"{error}: install your system's package `util-linux`"
        return None if complaint is None else NO_NAMESPACES.format(complaint=complaint)


NO_GROUP = (
    "no control group can be made here, so memory is watched instead of capped: run as root, as a systemd unit with "
    "Delegate=yes, or in a container with a writable cgroup"
)
NO_NAMESPACES = (
    "bubblewrap could not make namespaces ({complaint}): allow unprivileged user namespaces (Debian and Ubuntu: sysctl "
    "kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0; Docker: --security-opt "
    "seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined)"
)
