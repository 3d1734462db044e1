"""A quick end changes nothing that can be seen."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Guest


@pytest.mark.parametrize(
    "source",
    [
        "class Last:\n    def __del__(self):\n        print('seen')\nkeep = Last()\nkeep.itself = keep\n",
        "def steps():\n    try:\n        yield 1\n    finally:\n        print('seen')\nkeep = steps()\nnext(keep)\n",
        "import atexit\natexit.register(print, 'seen')\n",
        "import weakref\nclass C: pass\nkeep = C()\nweakref.finalize(keep, print, 'seen')\n",
        "import sys\nsys.stdout.write('seen\\n'.rstrip())\nprint()\n",
        "import atexit, os, tempfile\nkeep = tempfile.TemporaryDirectory()\n@atexit.register\ndef last():\n"  # noqa: ISC004 - one of a list of sources
        "    print('seen' if os.path.isdir(keep.name) else 'gone')\n",
    ],
    ids=["finalizer", "generator", "exit handler", "weak reference", "unfinished line", "temporary folder"],
)
def test_what_a_shutdown_does_is_done(guest: "Guest", source: str) -> None:
    """Finalizers, suspended generators and exit handlers have their last word."""
    ran = guest.run(source)
    assert ran.value is None
    assert ran.stdout == "seen\n"


@pytest.mark.parametrize("stored", ["keep = file", "import colorsys\ncolorsys.keep = file"], ids=["own", "elsewhere"])
def test_open_files_are_flushed(guest: "Guest", stored: str) -> None:
    """What was written to a file that nobody closed is in it."""
    ran = guest.run(f"def f():\n    return None\nfile = open('output/x', 'w')\nfile.write('x')\n{stored}\n", "f")
    assert ran.files == {"x": b"x"}


def test_a_closed_stdout_is_no_crash(guest: "Guest") -> None:
    """A tool may close its streams: the result is delivered all the same."""
    ran = guest.run("import sys\ndef f():\n    print('x')\n    sys.stdout.close()\n    return 1\n", "f")
    assert (ran.value, ran.status["signal"]) == (1, None)
