"""The guest as a box sees it: compiled without sources, once for each content and interpreter version."""

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Final

import stepflow_python.guest
from stepflow_python.errors import InternalError, PythonEnvironmentError
from stepflow_python.process.run import run_command

PACKAGE: Final = "stepflow_guest"
MOUNT: Final = "/run/guest"
"""Where boxes see the folder; tracebacks of the guest itself name files below it."""
COMPILE_TIMEOUT_S: Final = 60.0

BUNDLE: Final = """
import marshal, sys
for name, code in marshal.loads({codes!r}):
    full = __name__ + "." + name
    if full not in sys.modules:
        globals()[name] = sys.modules[full] = module = type(sys)(full)
        module.__package__, module.__file__ = __name__, __path__[0] + "/" + name + ".pyc"
        exec(code, module.__dict__)
del marshal, sys, name, code, full, module
"""
"""The package's own module, as it is compiled: it brings along what each cold run imports.

To look for, open and read a dozen files costs a run a millisecond more, and so does `__future__`, which is not needed
where it was obeyed at compile time. What else there is of the package is found as files, as always.
"""

# Runs on the tool's interpreter, since only that one writes its own byte code. The finished folder appears by one
# rename: whoever comes second finds it, or fails to rename and takes the first one's.
COMPILE: Final = """
import __future__, marshal, os, py_compile, shutil, sys, tempfile
source, folder, digest, package, mount, bundle = sys.argv[1:]
def write(name, text_file, made):
    py_compile.compile(
        text_file, cfile=os.path.join(made, package, name + ".pyc"), dfile=mount + "/" + package + "/" + name + ".py",
        doraise=True, optimize=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
def code_of(name):
    with open(os.path.join(source, name + ".py"), encoding="utf-8") as file:
        text = file.read().replace("from __future__ import annotations", "", 1)
    flags = __future__.annotations.compiler_flag
    return compile(text, mount + "/" + package + "/" + name + ".py", "exec", flags, True, 2)
finished = os.path.join(folder, digest + "-" + sys.implementation.cache_tag)
if not os.path.isdir(finished):
    os.makedirs(folder, exist_ok=True)
    making = tempfile.mkdtemp(prefix=".making-", dir=folder)
    os.chmod(making, 0o755)
    os.mkdir(os.path.join(making, package))
    for name in sorted(os.listdir(source)):
        if name.endswith(".py"):
            write(name[:-3], os.path.join(source, name), making)
    sys.path.insert(0, making)
    __import__(package + ".main")
    # A module's place among all is the last one that it took: after those that it imports.
    names = [name.rpartition(".")[2] for name in sys.modules if name.startswith(package + ".")]
    text = os.path.join(making, "bundle")
    with open(text, "w", encoding="utf-8") as file:
        file.write(bundle.format(codes=marshal.dumps([(name, code_of(name)) for name in names])))
    write("__init__", text, making)
    os.unlink(text)
    try:
        os.rename(making, finished)
    except OSError:
        shutil.rmtree(making)
        if not os.path.isdir(finished):
            raise
sys.stdout.write(finished)
"""

Key = tuple[Path, int, Path]

_made: Final[dict[Key, Path]] = {}


async def compiled_guest(interpreter: Path, *, folder: Path) -> Path:
    """The folder to mount at `MOUNT`: `<folder>/<digest>-<cache tag>`, which holds the package `stepflow_guest`.

    Safe to call from many tasks and processes at a time; an interpreter is asked once per process.

    Raises:
        PythonEnvironmentError: the interpreter cannot be started.
        InternalError: the guest could not be compiled or written.
    """
    key = _key(interpreter, folder)
    known = _known(key)
    if known is not None:
        return known
    source = Path(stepflow_python.guest.__file__).parent
    argv = [
        str(interpreter),
        "-I",
        "-S",
        "-c",
        COMPILE,
        str(source),
        str(folder),
        _digest(source),
        PACKAGE,
        MOUNT,
        BUNDLE,
    ]
    try:
        completed = await run_command(argv, env={}, timeout_s=COMPILE_TIMEOUT_S)
    except OSError as error:
        raise PythonEnvironmentError(f"{interpreter} cannot be started: {error.strerror}") from error
    except TimeoutError as error:
        raise InternalError(f"{interpreter} took over {COMPILE_TIMEOUT_S:.0f} s to compile the guest") from error
    if completed.returncode != 0:
        words = completed.stderr.decode("utf-8", "replace").strip().splitlines()
        raise InternalError(f"{interpreter} could not compile the guest into {folder}: {words[-1] if words else ''}")
    made = Path(os.fsdecode(completed.stdout))
    _made[key] = made
    return made


def _key(interpreter: Path, folder: Path) -> Key:
    """The time of change tells a replaced interpreter from the one that was asked before."""
    try:
        return interpreter, interpreter.stat().st_mtime_ns, folder
    except OSError as error:
        raise PythonEnvironmentError(f"no interpreter at {interpreter}; create the environment again") from error


def _known(key: Key) -> Path | None:
    """What was made before, if nobody has removed it since."""
    made = _made.get(key)
    return made if made is not None and made.is_dir() else None


@cache
def _digest(source: Path) -> str:
    """Names the content of the guest's sources."""
    digest = hashlib.sha256((COMPILE + BUNDLE).encode())
    for path in sorted(source.glob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]
