"""What keeps a better tier from a host, and how to get it: one line each, for the place that this is."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stepflow_python.errors import IsolationUnavailableError
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import IsolationReport

NOT_LINUX = {
    "darwin": "macOS has nothing that could hold a run: start the worker in a Linux virtual machine or container "
    "(Docker Desktop, colima, Lima); `submit`, `history` and `show` work from here with BROKER_URL and DATABASE_URL",
    "win32": "Windows has nothing that could hold a run: start the worker in WSL 2 or a Linux container",
}
NO_BUBBLEWRAP = "no bubblewrap 0.8 or later was found: install your system's package `bubblewrap`"
NO_LANDLOCK = (
    "this kernel offers no Landlock, the next best: Linux 5.13 or later, `landlock` in its boot parameter `lsm=`, "
    "and a container engine whose filter lets landlock_create_ruleset pass"
)
NEXT_BEST = "MIN_ISOLATION=landlock accepts the next best, which this host has"
NO_GROUP = {
    "docker": "start the container with --cgroupns=private and a writable cgroup (Docker 28: --security-opt "
    "writable-cgroups=true)",
    "kubernetes": "let the node's runtime give the container a writable cgroup",
    "": "run as a systemd unit with Delegate=yes, by `systemd-run --user --scope -p Delegate=yes`, or as root",
}
NAMESPACES = {
    "docker": "start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined",
    "kubernetes": "give the pod hostUsers: false, and the container securityContext: {procMount: Unmasked, "
    "seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}}",
    "": "allow unprivileged user namespaces",
}


# Each of these may be missing: tokens can be switched off, and a read-only container has its own /run.
IN_POD = ("var/run/secrets/kubernetes.io", "etc/podinfo")
MANAGED_HOSTS = "# Kubernetes-managed hosts file"
IN_CONTAINER = (".dockerenv", "run/.containerenv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What of a host decides about namespaces; numbers are those of its sysctls, none where it has no such."""

    engine: str = ""
    """`docker` (Podman reads the same), `kubernetes`, or empty outside of containers."""
    most_namespaces: int | None = None
    apparmor_restricts: bool = False
    clone_refused: bool = False

    @classmethod
    def here(cls, root: Path = Path("/")) -> Self:
        """This place; `root` is where its files are."""
        sysctls = root / "proc/sys"
        in_pod = _text(root / "etc/hosts").startswith(MANAGED_HOSTS) or any((root / name).exists() for name in IN_POD)
        in_container = _mounted(root, "/etc/hosts") or any((root / name).exists() for name in IN_CONTAINER)
        return cls(
            engine="kubernetes" if in_pod else "docker" if in_container else "",
            most_namespaces=_number(sysctls / "user/max_user_namespaces"),
            apparmor_restricts=_number(sysctls / "kernel/apparmor_restrict_unprivileged_userns") == 1,
            clone_refused=_number(sysctls / "kernel/unprivileged_userns_clone") == 0,
        )

    def namespaces(self, complaint: str) -> str:
        """Why there are no namespaces, in bubblewrap's words, and what to do about it here."""
        return f"bubblewrap could not make namespaces ({complaint}): {self._remedy()}"

    def _remedy(self) -> str:
        if self.apparmor_restricts:
            return (
                "Ubuntu's AppArmor allows them to programs with a profile only: give bubblewrap the one in "
                "docs/sandbox.md, or set sysctl kernel.apparmor_restrict_unprivileged_userns=0"
            )
        if self.clone_refused:
            return "set sysctl kernel.unprivileged_userns_clone=1"
        if self.most_namespaces == 0:
            return "set sysctl user.max_user_namespaces=15000"
        return NAMESPACES[self.engine]

    def groups(self) -> str:
        """Why memory is not capped, and what to do about it here."""
        return f"no control group can be made here, so memory is watched instead of capped: {NO_GROUP[self.engine]}"


def not_linux(platform: str = sys.platform) -> str | None:
    """Why there can be no box on this system at all; none on Linux."""
    if platform == "linux":
        return None
    return NOT_LINUX.get(platform, f"runs are held by Linux only, and this is {platform}")


def require(wanted: IsolationTier, report: IsolationReport) -> None:
    """Do nothing where a host's tier is good enough.

    Raises:
        IsolationUnavailableError: it is not; the message says why, and what to do about it.
    """
    if report.tier.rank < wanted.rank:
        raise IsolationUnavailableError(
            f"this host offers the isolation `{report.tier}`, the setting MIN_ISOLATION asks for `{wanted}`: "
            + "; ".join(report.reasons)
        )


def _mounted(root: Path, place: str) -> bool:
    """Whether something is mounted there, as engines do with a few files, whichever engine and options."""
    lines = _text(root / "proc/self/mountinfo").splitlines()
    return any(line.split(" ")[4:5] == [place] for line in lines)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""


def _number(file: Path) -> int | None:
    try:
        return int(_text(file))
    except ValueError:
        return None
