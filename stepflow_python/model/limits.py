"""The limits of one run, all resolved: nothing here is optional."""

from stepflow_python.model.values import Value


class Limits(Value):
    """Bounds that a run may not pass. `*_s` seconds, `*_bytes` bytes, `memory_mib` MiB for the whole process tree."""

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
