"""Each kind of host gets the line that helps there."""

from pathlib import Path

import pytest

from stepflow_python.sandbox.remedies import Place, not_linux

MOUNTED = (
    "75 49 0:40 / / ro,relatime - overlay overlay rw\n"
    "85 75 254:0 /run/containers/userdata/hosts /etc/hosts ro,nosuid - ext4 /dev/vda rw\n"
)
COMPLAINT = "bwrap: No permissions to create new namespace"


def host(root: Path, **files: str) -> Place:
    """A host with these files; `__` stands for a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Place.here(root)


@pytest.mark.parametrize(
    ("files", "namespaces", "groups"),
    [
        ({}, "allow unprivileged user namespaces", "Delegate=yes"),
        ({"dot_dockerenv": ""}, "--security-opt seccomp=unconfined", "writable-cgroups"),
        ({"run__dot_containerenv": ""}, "--security-opt seccomp=unconfined", "writable-cgroups"),
        ({"var__run__secrets__kubernetes.io__token": "", "dot_dockerenv": ""}, "hostUsers: false", "node's runtime"),
        ({"proc__self__mountinfo": MOUNTED}, "--security-opt seccomp=unconfined", "writable-cgroups"),
        (
            {"etc__hosts": "# Kubernetes-managed hosts file.\n127.0.0.1 localhost\n"},
            "hostUsers: false",
            "node's runtime",
        ),
        ({"etc__hosts": "127.0.0.1 localhost\n"}, "allow unprivileged user namespaces", "Delegate=yes"),
        ({"proc__sys__user__max_user_namespaces": "0\n"}, "user.max_user_namespaces=15000", "Delegate=yes"),
        ({"proc__sys__kernel__unprivileged_userns_clone": "0\n"}, "userns_clone=1", "Delegate=yes"),
        ({"proc__sys__kernel__apparmor_restrict_unprivileged_userns": "1\n"}, "Ubuntu's AppArmor", "Delegate=yes"),
    ],
)
def test_the_line_fits_the_host(tmp_path: Path, files: dict[str, str], namespaces: str, groups: str) -> None:
    """What is missing is told in one line with bubblewrap's own words and the way to get it there."""
    place = host(tmp_path, **files)
    for line, remedy in ((place.namespaces(COMPLAINT), namespaces), (place.groups(), groups)):
        assert remedy in line
        assert "\n" not in line
    assert COMPLAINT in place.namespaces(COMPLAINT)


def test_a_setting_that_is_off_is_no_reason(tmp_path: Path) -> None:
    """Limits that allow namespaces are not blamed."""
    place = host(
        tmp_path,
        proc__sys__user__max_user_namespaces="15000",
        proc__sys__kernel__unprivileged_userns_clone="1",
        proc__sys__kernel__apparmor_restrict_unprivileged_userns="0",
    )
    assert place.namespaces(COMPLAINT).endswith("allow unprivileged user namespaces")


def test_other_systems_are_told_where_to_run(tmp_path: Path) -> None:
    """Only Linux can hold a run; elsewhere one line says what to do."""
    assert not_linux("linux") is None
    assert "Linux virtual machine" in str(not_linux("darwin"))
    assert "WSL 2" in str(not_linux("win32"))
    assert "freebsd14" in str(not_linux("freebsd14"))
    assert Place.here(tmp_path) == Place()
