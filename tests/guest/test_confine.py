"""Filters that the guest puts on the tool's own process, on every interpreter."""

import os
from typing import TYPE_CHECKING

from stepflow_python.model.security import SecuritySettings
from stepflow_python.sandbox.filters import Filters

if TYPE_CHECKING:
    from conftest import Guest

SOURCE = """
import os
def f():
    try:
        os.waitpid(os.fork(), 0)
    except PermissionError as error:
        return [error.errno, 'NoNewPrivs:\\t1' in open('/proc/self/status').read()]
"""


def test_a_filter_holds_before_the_first_line(each_guest: "Guest") -> None:
    """A tool that may start no process cannot fork, and cannot gain privileges."""
    filters = list(Filters.of().before_the_tool(SecuritySettings()))
    assert filters
    assert each_guest.run(SOURCE, "f", confinement={"filters": filters}).value == [1, True]


def test_without_a_filter_nothing_is_refused(guest: "Guest") -> None:
    """The default of a request is no filter."""
    assert Filters.of().before_the_tool(SecuritySettings(enable_system_calls=True)) == ()
    ran = guest.run(
        "import os\ndef f():\n    pid = os.fork()\n    return os.waitpid(pid, 0)[1] if pid else os._exit(0)\n", "f"
    )
    assert ran.value == 0


def test_a_filter_that_the_kernel_refuses_ends_the_run(guest: "Guest") -> None:
    """Nothing of the tool runs unfiltered."""
    ran = guest.run("print('ran')\n", confinement={"filters": [b"\0" * 8]})
    assert ran.stdout == ""
    assert "the run could not be prepared" in ran.message


def test_an_unknown_machine_is_told() -> None:
    """Where no filter is made, that is said; this machine has one."""
    assert Filters.of("riscv64").problem is not None
    assert Filters.of(os.uname().machine).problem is None
