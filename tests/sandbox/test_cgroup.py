"""Control groups of both versions are found and used."""

import asyncio
import os
from pathlib import Path

import pytest

from stepflow_python.model.limits import Limits
from stepflow_python.model.result import MemoryEnforcement
from stepflow_python.sandbox.cgroup import ControlGroups, find_control_groups

LIMITS = Limits(memory_mib=64, processes=10)


def hierarchy(tmp_path: Path, *, cgroup: str, mounts: str) -> Path:
    """A `/proc/self` that describes control groups below `tmp_path`."""
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mounts.format(root=tmp_path))
    return proc


def test_version_1_is_found_by_controller(tmp_path: Path) -> None:
    """Each controller has its own mount; a bind-mounted root is taken off the path, as in a container."""
    proc = hierarchy(
        tmp_path,
        cgroup="4:memory:/docker/abc\n8:pids:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n",
        mounts=(
            "1 0 0:1 /docker/abc {root}/memory rw - cgroup cgroup rw,memory\n"
            "2 0 0:2 / {root}/pids rw - cgroup cgroup rw,pids\n"
        ),
    )
    for folder in ("memory", "pids/docker/abc"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "tasks").touch()
    groups = find_control_groups(proc=proc)
    assert groups is not None
    assert groups.enforcement is MemoryEnforcement.CGROUP_V1
    group = groups.create()
    assert group.folders["memory"].parent == tmp_path / "memory"
    assert group.folders["pids"].parent == tmp_path / "pids/docker/abc"


def test_version_2_hands_its_controllers_down(tmp_path: Path) -> None:
    """Controllers are made available below the own group, which must hold no process itself."""
    own = tmp_path / "cg" / "unit"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text("cpu memory pids")
    (own / "cgroup.subtree_control").write_text("")
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n")
    proc = hierarchy(tmp_path, cgroup="0::/unit\n", mounts="1 0 0:1 / {root}/cg rw - cgroup2 cgroup2 rw\n")
    groups = find_control_groups(proc=proc)
    assert groups is not None
    assert groups.enforcement is MemoryEnforcement.CGROUP_V2
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert (own / "stepflow-host" / "cgroup.procs").read_text() == str(os.getpid())


def test_version_2_limits_and_usage(tmp_path: Path) -> None:
    """The files of version 2 are written and read by their kernel names."""
    groups = ControlGroups(dict.fromkeys(("memory", "pids", "cpu"), tmp_path), 2)
    group = groups.create()
    assert len(group.join) == 1
    folder = group.folders["memory"]
    group.limit(LIMITS)
    assert (folder / "memory.max").read_text() == str(64 * 1024 * 1024)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "pids.max").read_text() == "12"
    (folder / "memory.peak").write_text("2048000")
    (folder / "cpu.stat").write_text("usage_usec 1500\nuser_usec 1000\n")
    (folder / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    toll = group.toll()
    assert (toll.memory_kb, group.usage().cpu_ms, toll.oom_kills) == (2000, 1.5, 1)


def test_no_writable_group_is_none(tmp_path: Path) -> None:
    """Where nothing can be made, the caller learns it and watches instead."""
    assert find_control_groups(proc=hierarchy(tmp_path, cgroup="0::/gone\n", mounts="")) is None


def test_leftovers_of_dead_workers_are_removed(tmp_path: Path) -> None:
    """A killed worker's empty groups go; a living one's stay."""
    dead, alive = tmp_path / "stepflow-4194305-1", tmp_path / f"stepflow-{os.getpid()}-7"
    dead.mkdir()
    alive.mkdir()
    ControlGroups({"memory": tmp_path}, 1).remove_leftovers()
    assert (dead.exists(), alive.exists()) == (False, True)


def test_a_name_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    """Another worker of the same number, in a pid namespace of its own, may share the place."""
    groups = ControlGroups({"memory": tmp_path}, 1)
    number = int(groups.create().folders["memory"].name.rpartition("-")[2])
    for taken in (1, 2):
        (tmp_path / f"stepflow-{os.getpid()}-{number + taken}").mkdir()
    assert groups.create().folders["memory"].name == f"stepflow-{os.getpid()}-{number + 3}"


def test_a_real_group_caps_and_counts() -> None:
    """On a host that lets us, a group is made, limited, read and removed."""
    groups = find_control_groups()
    if groups is None:
        pytest.skip("this host gives this user no control group with a memory limit")
    group = groups.create()
    try:
        group.limit(LIMITS)
        assert group.toll().oom_kills == 0
    finally:
        asyncio.run(group.remove())
    assert not any(folder.exists() for folder in group.folders.values())
