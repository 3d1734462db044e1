"""The limits of one run, all resolved: nothing here is optional."""

from enum import StrEnum

from stepflow_python.model.values import Value


class Limit(StrEnum):
    """Names of the bounds that a run can meet."""

    WALL_TIME = "wall_time"
    CPU_TIME = "cpu_time"
    MEMORY = "memory"
    PROCESSES = "processes"
    OPEN_FILES = "open_files"
    FILE_SIZE = "file_size"
    WORK_SIZE = "work_size"
    OUTPUT = "output"
    """Of stdout or stderr."""
    RESULT = "result"
    FILES = "files"
    """Of the output folder: count, size, depth."""


class Limits(Value):
    """Bounds that a run may not pass. `*_s` seconds, `*_bytes` bytes, `memory_mib` MiB.

    `cpu_s` and `memory_mib` are for the whole process tree, `open_files` and `file_bytes` for each process and file.
    """

    timeout_s: float = 30.0
    cpu_s: float = 60.0
    memory_mib: int = 512
    processes: int = 64
    open_files: int = 256
    file_bytes: int = 256 * 1024 * 1024
    work_bytes: int = 256 * 1024 * 1024
    output_bytes: int = 1024 * 1024
    """For each of stdout and stderr."""
    result_bytes: int = 4 * 1024 * 1024
    output_files: int = 64
    output_files_bytes: int = 16 * 1024 * 1024
    """All files of the output folder together."""
