"""Reaches for files of the host, and for what runs share."""

import contextlib
import os
import shutil
import socket
import stat
import sys
import sysconfig
from typing import Any

from trade import finds_nothing, harmless, in_background, processes, readable, refused

World = dict[str, Any]

WRITE = os.O_WRONLY | os.O_CREAT


def _overwrite(path: str) -> int:
    """Open for writing, without changing anything."""
    return os.open(path, os.O_WRONLY)


def _create(folder: str) -> int:
    return os.open(f"{folder}/attacker", WRITE, 0o600)


# --- reading ----------------------------------------------------------------------------------------------------------


@refused("ENOENT", "EACCES")
def reads_a_file_of_the_host(world: World) -> Any:
    return open(world["secret"]).read()


@refused("ENOENT", "EACCES")
def reads_a_file_of_the_host_by_the_root_of_process_1(world: World) -> Any:
    return open("/proc/1/root" + world["secret"]).read()


@refused("ENOENT", "EACCES")
def reads_a_file_of_the_host_by_the_folder_of_process_1(world: World) -> Any:
    return open("/proc/1/cwd/../../../../../.." + world["secret"]).read()


@refused("ENOENT", "EACCES", "ESRCH")
def reads_a_file_of_the_host_by_the_worker_as_it_numbers_it(world: World) -> Any:
    return open(f"/proc/{world['worker']}/root{world['secret']}").read()


@refused("ENOENT", "EACCES")
def reads_a_file_of_the_host_by_a_symbolic_link(world: World) -> Any:
    os.symlink(world["secret"], "link")
    return open("link").read()


@refused("ENOENT", "EACCES", "EXDEV", "EPERM")
def reads_a_file_of_the_host_by_a_hard_link(world: World) -> Any:
    os.link(world["secret"], "link")
    return open("link").read()


@refused("ENOENT", "EACCES")
def climbs_out_by_an_open_folder(world: World) -> Any:
    root = os.open("/", os.O_PATH)
    above = os.open("../../../../../../../..", os.O_PATH, dir_fd=root)
    return os.open(world["secret"].lstrip("/"), os.O_RDONLY, dir_fd=above)


@finds_nothing()
def climbs_out_by_a_descriptor_that_was_left_open(world: World) -> Any:
    """What runc left open in 2024 (CVE-2024-21626): a folder of the host among the descriptors."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            mode = os.stat(f"/proc/self/fd/{name}").st_mode
        except OSError:
            continue
        if stat.S_ISDIR(mode) and os.readlink(f"/proc/self/fd/{name}") != f"/proc/{os.getpid()}/fd":
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


@finds_nothing()
def holds_a_descriptor_of_the_host(world: World) -> Any:
    """Beyond the standard three there is the memory for the report, and the folder that is being listed."""
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except OSError:
            continue
    return [link for number, link in links if number > 2 and not link.startswith("/memfd:report")]


@refused("ENOENT", "EACCES")
def reads_the_passwords_of_the_host(world: World) -> Any:
    return open("/etc/shadow").read()


@refused("ENOENT", "EACCES")
def reads_the_private_keys_of_the_host(world: World) -> Any:
    return os.listdir("/etc/ssl/private") + os.listdir("/etc/ssh")


@refused("ENOENT", "EACCES")
def reads_the_home_of_root(world: World) -> Any:
    return os.listdir("/root") + os.listdir("/root/.ssh")


@finds_nothing(tiers="namespaces")
def knows_the_users_of_the_host(world: World) -> Any:
    return [line for line in open("/etc/passwd") if not line.startswith("tool:")]


@finds_nothing()
def looks_into_the_folders_of_the_host(world: World) -> Any:
    """Whatever may be listed must be on the way to what the run itself needs."""
    needed = (sys.base_prefix, sys.prefix, os.getcwd(), "/run/guest", sysconfig.get_path("purelib"))
    folders = ["/home", "/root", "/var", "/run", "/mnt", "/media", "/srv", "/boot", "/opt"]
    listed = [path for folder in [*folders, os.path.dirname(world["secret"])] for path in _listed(folder)]
    return [path for path in listed if not any(place == path or place.startswith(path + "/") for place in needed)]


def _listed(folder: str) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    except OSError:
        return []


@refused("ENOENT", "EACCES")
def reads_the_record_of_other_executions(world: World) -> Any:
    return open(world["record"], "rb").read()


@finds_nothing()
def reads_the_variables_of_other_processes(world: World) -> Any:
    """None of what can be read holds a variable that the worker was started with."""
    found = []
    for pid in processes():
        variables = readable(f"/proc/{pid}/environ")
        found += [pid] if b"STEPFLOW_TEST_CANARY" in variables else []
    return found


@finds_nothing()
def reads_the_variables_of_the_worker_in_its_own(world: World) -> Any:
    return [name for name in os.environ if "STEPFLOW_TEST_CANARY" in name or name.startswith("STEPFLOW_PYTHON_")]


@finds_nothing()
def reads_the_command_lines_of_others(world: World) -> Any:
    return [
        line for line in (readable(f"/proc/{pid}/cmdline") for pid in processes()) if world["mark"].encode() in line
    ]


@refused("ENOENT", "EACCES", "EPERM")
def reads_the_memory_of_the_machine(world: World) -> Any:
    return open("/dev/mem", "rb").read(16)


@refused("ENOENT", "EACCES", "EPERM")
def reads_the_memory_of_the_kernel(world: World) -> Any:
    with open("/proc/kcore", "rb") as file:
        found = file.read(16)
    if not found:
        raise PermissionError(1, "/proc/kcore is empty")
    return found


@refused("ENOENT", "EACCES", "EPERM")
def reads_the_messages_of_the_kernel(world: World) -> Any:
    return os.read(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK), 1024)


@finds_nothing()
def reads_addresses_of_the_kernel(world: World) -> Any:
    lines = readable("/proc/kallsyms").splitlines()
    return [line for line in lines if line and int(line.split()[0], 16)]


@finds_nothing()
def sees_keys_of_others(world: World) -> Any:
    return [line for line in readable("/proc/keys").splitlines() if b"_uid" not in line and b"_ses" not in line]


@finds_nothing(tiers="namespaces")
def sees_a_device_of_the_host(world: World) -> Any:
    known = {
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "pts",
        "ptmx",
        "shm",
        "fd",
        "stdin",
        "stdout",
        "stderr",
    }
    return [name for name in os.listdir("/dev") if name not in known | {"core", "console"}]


@refused("ENOENT", "EACCES", "ECONNREFUSED", "EPERM")
def talks_to_the_container_engine(world: World) -> Any:
    with socket.socket(socket.AF_UNIX) as engine:
        return engine.connect("/var/run/docker.sock")


# --- writing ----------------------------------------------------------------------------------------------------------


@refused("ENOENT", "EACCES", "EROFS")
def writes_where_everybody_may_on_the_host(world: World) -> Any:
    return _create(world["open_folder"])


@refused("EROFS", "EACCES", "ETXTBSY")
def replaces_a_program_of_the_host(world: World) -> Any:
    return _overwrite("/usr/bin/env")


@refused("EROFS", "EACCES", "EPERM", "ETXTBSY")
def replaces_the_interpreter(world: World) -> Any:
    return _overwrite(os.path.realpath(sys.executable))


@refused("EROFS", "EACCES", "EPERM", "ETXTBSY")
def replaces_the_interpreter_by_its_process(world: World) -> Any:
    """What replaced runc on the host (CVE-2019-5736)."""
    return _overwrite("/proc/self/exe")


@refused("EROFS", "EACCES", "EPERM", "ETXTBSY")
def replaces_the_program_of_process_1(world: World) -> Any:
    return _overwrite("/proc/1/exe")


@refused("EROFS", "EACCES", "EPERM", "ETXTBSY")
def opens_a_read_only_file_once_more_for_writing(world: World) -> Any:
    descriptor = os.open(os.__file__, os.O_PATH)
    return _overwrite(f"/proc/self/fd/{descriptor}")


@refused("EROFS", "EACCES")
def poisons_the_packages_of_its_environment(world: World) -> Any:
    return _create(sysconfig.get_path("purelib"))


@refused("EROFS", "EACCES")
def poisons_bytecode_of_the_standard_library(world: World) -> Any:
    folder = os.path.join(os.path.dirname(os.__file__), "__pycache__")
    os.makedirs(folder, exist_ok=True)
    return _create(folder)


@refused("EROFS", "EACCES", "EPERM")
def poisons_a_module_of_the_standard_library(world: World) -> Any:
    return _overwrite(os.__file__)


@finds_nothing()
def changes_the_mode_of_a_shared_file(world: World) -> Any:
    """Refused, or without any effect."""
    before = os.stat(os.__file__)
    with contextlib.suppress(OSError):
        os.chmod(os.__file__, before.st_mode ^ 0o022)
    after = os.stat(os.__file__)
    return [after.st_mode] if after.st_mode != before.st_mode else []


@refused("EROFS", "EACCES", "EPERM")
def removes_a_shared_file(world: World) -> Any:
    return os.unlink(os.__file__)


@refused("EROFS", "EACCES", "EPERM", "EXDEV", "EBUSY")
def moves_its_environment_away(world: World) -> Any:
    return os.rename(sysconfig.get_path("purelib"), "stolen")


@refused("EROFS", "EACCES", "EPERM", "ENOTSUP")
def hides_words_in_the_attributes_of_a_shared_file(world: World) -> Any:
    return os.setxattr(os.__file__, "user.attacker", b"here")


@finds_nothing()
def changes_the_time_of_a_shared_file(world: World) -> Any:
    """Bytecode is believed by the time of its source."""
    before = os.stat(os.__file__)
    with contextlib.suppress(OSError):
        os.utime(os.__file__, (0, 0))
    after = os.stat(os.__file__)
    return [after.st_mtime] if after.st_mtime != before.st_mtime else []


@refused("EROFS", "EACCES", "EPERM")
def poisons_the_guest(world: World) -> Any:
    """The code that runs before the tool, in this and in every other box."""
    place = next(path for path in ("/run/guest/stepflow_guest", world["guest"]) if os.path.isdir(path))
    return _create(place)


@refused("EROFS", "EACCES")
def adds_a_user(world: World) -> Any:
    return os.open("/etc/passwd", os.O_WRONLY | os.O_APPEND)


@refused("EROFS", "EACCES")
def writes_the_root_folder(world: World) -> Any:
    return _create("/")


@refused("EROFS", "EACCES", "EPERM")
def makes_a_file_among_the_devices(world: World) -> Any:
    return _create("/dev")


@refused("EROFS", "EACCES", "EPERM")
def has_the_host_run_a_program_when_something_crashes(world: World) -> Any:
    return _overwrite("/proc/sys/kernel/core_pattern")


@refused("EROFS", "EACCES", "EPERM", "ENOENT")
def has_the_host_run_a_program_for_a_module(world: World) -> Any:
    return _overwrite("/proc/sys/kernel/modprobe")


@refused("EROFS", "EACCES", "EPERM", "ENOENT")
def has_the_host_run_a_program_for_an_unknown_format(world: World) -> Any:
    return _overwrite("/proc/sys/fs/binfmt_misc/register")


@refused("EROFS", "EACCES", "EPERM", "ENOENT")
def has_the_host_run_a_program_when_a_group_is_empty(world: World) -> Any:
    """release_agent of control groups (CVE-2022-0492)."""
    return _overwrite("/sys/fs/cgroup/memory/release_agent")


@refused("EROFS", "EACCES", "EPERM", "ENOENT")
def restarts_the_machine_by_a_key(world: World) -> Any:
    return _overwrite("/proc/sysrq-trigger")


@finds_nothing()
def changes_a_setting_of_the_kernel(world: World) -> Any:
    """No file of them may be opened for writing, but those that every namespace has for itself."""
    own = (
        "mqueue/",
        "kernel/msg",
        "kernel/shm",
        "kernel/sem",
        "kernel/auto_msgmni",
        "kernel/ns_last_pid",
        "kernel/pid_max",
    )
    return [path for path in _settings() if not path.startswith(own)]


@harmless()
def changes_the_settings_of_its_namespaces(world: World) -> Any:
    """Whatever may be opened is written; the same settings outside are watched."""
    for name in _settings():
        for text in (b"31337", b"1", b"0"):
            try:
                os.write(_overwrite("/proc/sys/" + ("fs/" if name.startswith("mqueue") else "") + name), text)
            except OSError:
                continue


def _settings() -> list[str]:
    """Those that may be opened for writing."""
    found = []
    for folder, _, names in os.walk("/proc/sys"):
        for name in names:
            try:
                os.close(_overwrite(f"{folder}/{name}"))
            except OSError:
                continue
            found.append(f"{folder}/{name}".removeprefix("/proc/sys/").removeprefix("fs/"))
    return found


@finds_nothing()
def leaves_its_control_group(world: World) -> Any:
    found = []
    for folder, _, names in os.walk("/sys/fs/cgroup"):
        for name in {"cgroup.procs", "tasks", "memory.max", "memory.limit_in_bytes", "pids.max"} & set(names):
            try:
                os.close(_overwrite(f"{folder}/{name}"))
            except OSError:
                continue
            found.append(f"{folder}/{name}")
    return found


@finds_nothing(tiers="namespaces")
def finds_a_place_that_it_may_write(world: World) -> Any:
    """Of all folders that can be seen, down to the fifth, only its own are writable."""
    found = []
    for folder, folders, _ in os.walk("/"):
        folders[:] = [name for name in folders if folder != "/" or name not in {"proc", "sys", "work", "tmp"}]
        folders[:] = [] if folder.count("/") > 4 else folders
        try:
            os.close(_create(folder))
        except OSError:
            continue
        found += [] if folder.startswith("/dev/shm") else [folder]
    return found


@refused("EPERM", "EACCES", "EROFS", "EBUSY")
def replaces_its_work_folder(world: World) -> Any:
    return os.rename(os.getcwd(), "/elsewhere")


@finds_nothing()
def puts_a_module_where_the_next_run_imports_it(world: World) -> Any:
    """A file in every folder of the import path: none but the work folder takes it."""
    found = []
    for folder in sys.path[1:]:
        try:
            os.close(_create(folder))
        except OSError:
            continue
        found.append(folder)
    return found


@finds_nothing()
def waits_until_a_link_leads_out(world: World) -> Any:
    """Changes a link between itself and the host's file while another process opens it."""
    shutil.copyfile(__file__, "plain")

    def swap() -> None:
        for number in range(2000):
            os.symlink(world["secret"] if number % 2 else "plain", "next")
            os.replace("next", "swapped")

    os.symlink("plain", "swapped")
    in_background(swap)
    return [text for text in (readable("swapped") for _ in range(2000)) if text and b"Reaches for" not in text]
