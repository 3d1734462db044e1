"""The argv of a box, as a table."""

from pathlib import Path

from stepflow_python.model.limits import Limits
from stepflow_python.sandbox.command import View, bubblewrap_command, python_command, unprivileged_command

VIEW = View(
    shown=((Path("/staged/0"), Path("/closed/py")), (Path("/usr/lib/env"), Path("/usr/lib/env"))),
    guest=Path("/staged/guest"),
    etc=Path("/staged/etc"),
)


def pairs(argv: list[str], option: str) -> list[tuple[str, str]]:
    """The two values of each use of an option."""
    return [(argv[at + 1], argv[at + 2]) for at, word in enumerate(argv) if word == option]


def test_every_namespace_is_new_and_nothing_can_be_gained() -> None:
    """User, pid, ipc, uts, cgroup and network are unshared, capabilities dropped, further user namespaces closed."""
    argv = bubblewrap_command(Path("/usr/bin/bwrap"), VIEW, Limits())
    for word in ("user", "pid", "ipc", "uts", "net", "cgroup-try"):
        assert f"--unshare-{word}" in argv
    assert {"--disable-userns", "--die-with-parent", "--new-session", "--as-pid-1"} <= set(argv)
    assert argv[argv.index("--cap-drop") + 1] == "ALL"


def test_only_the_network_level_keeps_the_host_network() -> None:
    """The network namespace goes, and only it, where the level allows the network."""
    open_view = View(shown=VIEW.shown, guest=VIEW.guest, etc=VIEW.etc, network=True)
    closed, opened = (bubblewrap_command(Path("/b"), view, Limits()) for view in (VIEW, open_view))
    assert "--unshare-net" in closed
    assert "--unshare-net" not in opened
    assert ("/etc/resolv.conf", "/etc/resolv.conf") in pairs(opened, "--ro-bind-try")
    assert ("/etc/resolv.conf", "/etc/resolv.conf") not in pairs(closed, "--ro-bind-try")


def test_the_host_is_shown_read_only() -> None:
    """What is staged appears at its own path; nothing of the host is writable; folders in /usr are there already."""
    argv = bubblewrap_command(Path("/b"), VIEW, Limits())
    shown = pairs(argv, "--ro-bind")
    assert ("/staged/0", "/closed/py") in shown
    assert ("/usr/lib/env", "/usr/lib/env") not in shown
    assert "--bind" not in argv
    assert "--dev-bind" not in argv


def test_writable_places_have_a_size() -> None:
    """Each tmpfs is preceded by its size in bytes, and the root is sealed after the last one."""
    argv = bubblewrap_command(Path("/b"), VIEW, Limits(work_bytes=12345))
    at = argv.index("/work")
    assert argv[at - 3 : at + 1] == ["--size", "12345", "--tmpfs", "/work"]
    tmpfs = [index for index, word in enumerate(argv) if word == "--tmpfs"]
    assert all(argv[index - 2] == "--size" for index in tmpfs)
    assert argv.index("--remount-ro") > max(tmpfs)


def test_root_keeps_no_group_and_no_capability() -> None:
    """The launcher of a root worker's box is another user in every respect."""
    argv = unprivileged_command(4242, ["bwrap"])
    assert {"--reuid=4242", "--regid=4242", "--clear-groups", "--bounding-set=-all"} <= set(argv)
    assert argv[-1] == "bwrap"


def test_the_interpreter_is_isolated() -> None:
    """No variables, no user folders and no start-up files of the environment come before the guest."""
    argv = python_command(Path("/env/bin/python"), guest="/run/guest", fds=(3, 4))
    assert argv[1:3] == ["-I", "-S"]
    assert argv[-2:] == ["3", "4"]
