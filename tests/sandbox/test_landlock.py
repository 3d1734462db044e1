"""What each version of Landlock is asked for."""

from pathlib import Path
from typing import Any

import pytest

from stepflow_python.model.security import SecuritySettings
from stepflow_python.sandbox.filters import Filters
from stepflow_python.sandbox.landlock import Reach, Right, ruleset

WORK = Path("/srv/work")


def asked(abi: int, *, work: Path | None = WORK, network: bool = False) -> dict[str, Any]:
    """The ruleset, with its rules by path."""
    made: dict[str, Any] = ruleset(Reach(readable=(Path("/env"),), work=work, network=network), abi)
    return made | {"rules": dict(made["rules"])}


@pytest.mark.parametrize(
    ("abi", "files", "network", "scopes"),
    [
        (1, 0x1FFF, 0, 0),
        (2, 0x3FFF, 0, 0),
        (3, 0x7FFF, 0, 0),
        (4, 0x7FFF, 3, 0),
        (5, 0xFFFF, 3, 0),
        (6, 0xFFFF, 3, 3),
        (9, 0xFFFF, 3, 3),
    ],
)
def test_all_that_the_kernel_knows_is_governed(abi: int, files: int, network: int, scopes: int) -> None:
    """Every right of its version is handled, none that it would refuse."""
    assert asked(abi)["handled"] == [files, network, scopes]
    assert all(rights & ~files == 0 for rights in asked(abi)["rules"].values())


def test_the_work_folder_is_all_that_can_be_written() -> None:
    """Beside the bottomless devices; without files there is not even that."""
    writing = Right.WRITE_FILE | Right.MAKE_REG | Right.MAKE_SOCK | Right.REMOVE_FILE | Right.REFER | Right.TRUNCATE
    devices = {"/dev/null", "/dev/zero", "/dev/full"}
    assert {path for path, rights in asked(6)["rules"].items() if rights & writing} == {str(WORK), *devices}
    assert {path for path, rights in asked(6, work=None)["rules"].items() if rights & writing} == devices
    assert not asked(6)["rules"][str(WORK)] & (Right.MAKE_CHAR | Right.MAKE_BLOCK)


def test_the_network_level_governs_no_tcp() -> None:
    """Landlock lets it connect, and shows it the resolver's files."""
    assert asked(6, network=True)["handled"][1] == 0
    assert "/etc/resolv.conf" in asked(6, network=True)["rules"]
    assert "/etc/resolv.conf" not in asked(6)["rules"]


def test_filters_close_what_the_version_leaves_open() -> None:
    """The older Landlock is, the more the filters refuse; a run that may start processes has one filter less."""
    filters, strict = Filters.of(), SecuritySettings()
    sizes = [len(filters.without_namespaces(strict, landlock_abi=abi)[1]) for abi in (1, 3, 6)]
    assert sizes[0] > sizes[1] > sizes[2]
    standard = SecuritySettings(enable_system_calls=True)
    assert len(filters.without_namespaces(standard, landlock_abi=6)) == 2
    assert len(filters.without_namespaces(strict, landlock_abi=6)) == 3
