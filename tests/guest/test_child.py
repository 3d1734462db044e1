"""Limits, descriptors and the look of the interpreter."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Guest


def test_limits_hold_before_the_first_line(guest: "Guest") -> None:
    """The kernel's bounds are those of the request; there are no core dumps."""
    source = (
        "import resource as r\ndef f():\n    return [list(r.getrlimit(getattr(r, 'RLIMIT_' + name)))"
        " for name in ('CORE', 'CPU', 'NOFILE', 'NPROC', 'DATA')] + [r.getrlimit(r.RLIMIT_FSIZE)[0]]\n"
    )
    limits = {"cpu_s": 7, "open_files": 50, "processes": 5000, "data_bytes": 1 << 30, "file_bytes": 1 << 20}
    ran = guest.run(source, "f", limits=limits)
    assert ran.value == [[0, 0], [7, 8], [50, 50], [5000, 5000], [1 << 30, 1 << 30], 1 << 20]


def test_a_report_may_be_larger_than_a_file(guest: "Guest") -> None:
    """The bound on the tool's files does not cut its result."""
    ran = guest.run("def f():\n    return 'x' * 5000\n", "f", limits={"file_bytes": 1000})
    assert len(ran.value) == 5000


def test_only_the_standard_descriptors_and_the_report_are_open(guest: "Guest") -> None:
    """Neither the request nor the host's pipe reaches the tool, nor does what it reads from stay open twice."""
    source = "import os\ndef f():\n    return len(os.listdir('/proc/self/fd')) - 1\n"
    assert guest.run(source, "f", stdin=b"x").value == 4


def test_it_is_the_first_to_go_when_memory_runs_out(guest: "Guest") -> None:
    """The kernel is asked to kill the tool before its supervisor."""
    source = (
        "import os\ndef f():\n"
        "    return [int(open(f'/proc/{pid}/oom_score_adj').read()) for pid in (os.getpid(), os.getppid())]\n"
    )
    own, supervisor = guest.run(source, "f").value
    assert own == 1000
    assert supervisor < 1000


def test_path_files_are_followed(guest: "Guest", tmp_path: "Path") -> None:
    """A .pth file in the environment works as in a normal start."""
    site, extra = tmp_path / "site", tmp_path / "extra"
    site.mkdir()
    extra.mkdir()
    (extra / "beside.py").write_text("value = 5\n")
    (site / "beside.pth").write_text(f"{extra}\n")
    source = "from beside import value\ndef f():\n    return value\n"
    assert guest.run(source, "f", site_packages=str(site)).value == 5


def test_site_packages_come_after_the_standard_library(guest: "Guest", tmp_path: "Path") -> None:
    """Packages are found, and shadow nothing."""
    (tmp_path / "colorsys.py").write_text("value = 'shadow'\n")
    (tmp_path / "installed.py").write_text("value = 'found'\n")
    source = "import colorsys, installed\ndef f():\n    return [hasattr(colorsys, 'value'), installed.value]\n"
    assert guest.run(source, "f", site_packages=str(tmp_path)).value == [False, "found"]


def test_printed_lines_survive_a_kill(guest: "Guest") -> None:
    """A line leaves the process when it is printed."""
    assert guest.run("import os\nprint('before')\nos.kill(os.getpid(), 9)\n").stdout == "before\n"
