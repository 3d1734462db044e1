"""Run a command where the host refuses namespaces: under a filter as container engines put on by default.

python without_namespaces.py COMMAND [ARG ...]
"""

import os
import sys
from errno import ENOSYS
from pathlib import Path

if __name__ == "__main__":  # not by -m: the caller's folder and path stay what they are
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from stepflow_python.guest.confine import confine
from stepflow_python.guest.kernel import Kernel
from stepflow_python.guest.request import Confinement, Fields
from stepflow_python.sandbox.rules import NEW_NAMESPACES
from stepflow_python.sandbox.seccomp import Check, Rule, compiled

REFUSED = (
    Rule("unshare", "as Docker does"),
    Rule("setns", "as Docker does"),
    Rule("clone", "as Docker does", unless=((Check(0, (0,), mask=NEW_NAMESPACES),),)),
    Rule("clone3", "as Docker does", ENOSYS),
)


def main(command: list[str]) -> None:
    """Become the command."""
    program = compiled(REFUSED, machine=os.uname().machine)
    confine(Kernel(), Confinement(Fields({"filters": [program]}, "confinement")))
    os.execvp(command[0], command)  # noqa: S606 - this is what it is for


if __name__ == "__main__":
    main(sys.argv[1:])
