"""Asks the kernel for what no run may have."""

import ctypes
import fcntl
import mmap
import os
import resource
import socket
import struct
import subprocess
import time
from typing import Any

from trade import X86, call, ends, finds_nothing, refused, system_call

World = dict[str, Any]

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWPID = 0x0002_0000, 0x1000_0000, 0x4000_0000, 0x2000_0000
MS_REMOUNT, MS_BIND, MNT_DETACH = 32, 4096, 2
AT_FDCWD, AT_EMPTY_PATH, OPEN_TREE_CLONE = -100, 0x1000, 1
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
SIGCHLD = 17


class Vector(ctypes.Structure):
    """An iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


# --- other processes --------------------------------------------------------------------------------------------------


@refused("EPERM", "ENOSYS")
def attaches_to_process_1(world: World) -> Any:
    return call("ptrace", PTRACE_ATTACH, 1, 0, 0)


@refused("EPERM", "ENOSYS")
def seizes_process_1(world: World) -> Any:
    return call("ptrace", PTRACE_SEIZE, 1, 0, 0)


@refused("EPERM", "ENOSYS")
def reads_the_memory_of_process_1(world: World) -> Any:
    buffer = ctypes.create_string_buffer(16)
    start = int(open("/proc/self/maps").readline().partition("-")[0], 16)
    local, remote = Vector(ctypes.addressof(buffer), 16), Vector(start, 16)
    return call("process_vm_readv", 1, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)


@refused("EPERM", "ENOSYS")
def writes_the_memory_of_process_1(world: World) -> Any:
    buffer = ctypes.create_string_buffer(16)
    local, remote = Vector(ctypes.addressof(buffer), 16), Vector(ctypes.addressof(buffer), 16)
    return call("process_vm_writev", 1, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)


@refused("EPERM", "ENOSYS")
def takes_a_descriptor_of_process_1(world: World) -> Any:
    return system_call("pidfd_getfd", system_call("pidfd_open", 1, 0), 1, 0)


@refused("EPERM", "ENOSYS")
def compares_kernel_objects_with_process_1(world: World) -> Any:
    return system_call("kcmp", os.getpid(), 1, 1, 0, 0)


@refused("EPERM", "ENOSYS")
def moves_the_pages_of_process_1(world: World) -> Any:
    return system_call("move_pages", 1, 0, 0, 0, 0, 0)


@refused("EPERM", "EINVAL")
def raises_the_limits_of_process_1(world: World) -> Any:
    try:
        return resource.prlimit(1, resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
    except ValueError as error:
        raise PermissionError(1, str(error)) from error


# --- mounts -----------------------------------------------------------------------------------------------------------


@refused("EPERM", "ENOSYS")
def mounts_a_tmpfs(world: World) -> Any:
    return call("mount", b"none", b"/tmp", b"tmpfs", 0, None)


@refused("EPERM", "ENOSYS")
def mounts_proc_anew(world: World) -> Any:
    return call("mount", b"proc", b"/tmp", b"proc", 0, None)


@refused("EPERM", "ENOSYS")
def mounts_a_control_group_file_system(world: World) -> Any:
    return call("mount", b"cgroup", b"/tmp", b"cgroup", 0, b"memory")


@refused("EPERM", "ENOSYS")
def binds_the_root_elsewhere(world: World) -> Any:
    return call("mount", b"/", b"/tmp", None, MS_BIND, None)


@refused("EPERM", "ENOSYS")
def makes_the_root_writable(world: World) -> Any:
    return call("mount", None, b"/", None, MS_REMOUNT | MS_BIND, None)


@refused("EPERM", "ENOSYS")
def unmounts_what_covers_the_host(world: World) -> Any:
    return call("umount2", b"/etc", MNT_DETACH)


@refused("EPERM", "ENOSYS")
def pivots_the_root(world: World) -> Any:
    return system_call("pivot_root", b".", b".")


@refused("EPERM", "ENOSYS")
def changes_the_root(world: World) -> Any:
    """The classic way out: a new root below, then up from a folder that was open before."""
    above = os.open("..", os.O_PATH)
    os.mkdir("jail")
    os.chroot("jail")
    os.fchdir(above)
    os.chdir("../../../..")
    return os.listdir(".")


@refused("EPERM", "ENOSYS")
def opens_a_tree_of_mounts(world: World) -> Any:
    return system_call("open_tree", AT_FDCWD, b"/", OPEN_TREE_CLONE)


@refused("EPERM", "ENOSYS")
def opens_a_file_system_by_the_new_interface(world: World) -> Any:
    return system_call("fsopen", b"tmpfs", 0)


@refused("EPERM", "ENOSYS")
def moves_a_mount_by_the_new_interface(world: World) -> Any:
    return system_call("move_mount", AT_FDCWD, b"/etc", AT_FDCWD, b"/tmp", 0)


@refused("EPERM", "ENOSYS")
def makes_mounts_writable_by_the_new_interface(world: World) -> Any:
    attributes = struct.pack("QQQQ", 0, 1, 0, 0)  # clear MOUNT_ATTR_RDONLY
    return system_call("mount_setattr", AT_FDCWD, b"/", 0, attributes, len(attributes))


# --- namespaces -------------------------------------------------------------------------------------------------------


@refused("EPERM", "ENOSYS", "ENOSPC")
def makes_a_user_namespace(world: World) -> Any:
    return call("unshare", CLONE_NEWUSER)


@refused("EPERM", "ENOSYS", "ENOSPC")
def makes_a_user_and_mount_namespace(world: World) -> Any:
    return call("unshare", CLONE_NEWUSER | CLONE_NEWNS)


@refused("EPERM", "ENOSYS", "ENOSPC")
def makes_a_network_namespace(world: World) -> Any:
    return call("unshare", CLONE_NEWNET)


@refused("EPERM", "ENOSYS", "ENOSPC")
def starts_a_process_in_a_user_namespace(world: World) -> Any:
    """By the old call, whose flags are in a register."""
    pid = system_call("clone", CLONE_NEWUSER | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return pid


@refused("EPERM", "ENOSYS", "ENOSPC")
def starts_a_process_in_a_user_namespace_by_clone3(world: World) -> Any:
    """By the new call, whose flags are in memory, where a filter cannot look."""
    arguments = struct.pack("8Q", CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0)
    pid = system_call("clone3", arguments, len(arguments))
    if pid == 0:
        os._exit(0)
    return pid


@refused("EPERM", "ENOSYS", "EACCES")
def enters_the_mount_namespace_of_process_1(world: World) -> Any:
    descriptor = os.open("/proc/1/ns/mnt", os.O_RDONLY)
    return call("setns", descriptor, CLONE_NEWNS)


@refused("EPERM", "ENOSYS", "EACCES")
def enters_the_namespaces_of_its_parent_user(world: World) -> Any:
    """NS_GET_USERNS and NS_GET_PARENT on its own namespace lead outwards."""
    own = os.open("/proc/self/ns/user", os.O_RDONLY)
    parent = fcntl.ioctl(own, 0xB702)
    return call("setns", parent, 0)


# --- privileges -------------------------------------------------------------------------------------------------------


@refused("EPERM", "EINVAL")
def becomes_root(world: World) -> Any:
    return os.setresuid(0, 0, 0)


@refused("EPERM", "EINVAL")
def becomes_another_user(world: World) -> Any:
    return os.setresuid(12345, 12345, 12345)


@refused("EPERM")
def joins_groups(world: World) -> Any:
    return os.setgroups([0])


@refused("EPERM")
def gives_itself_capabilities(world: World) -> Any:
    header, everything = struct.pack("Ii", 0x2008_0522, 0), struct.pack("6I", *[0xFFFF_FFFF] * 6)
    return call("capset", header, everything)


@refused("EPERM")
def raises_an_ambient_capability(world: World) -> Any:
    return call("prctl", 47, 2, 21, 0, 0)  # PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN


@finds_nothing()
def has_a_capability(world: World) -> Any:
    lines = open("/proc/self/status").read().splitlines()
    held = ("CapInh", "CapPrm", "CapEff", "CapAmb")
    return [line for line in lines if line.startswith(held) and int(line.split()[1], 16)]


@finds_nothing()
def may_gain_privileges(world: World) -> Any:
    lines = open("/proc/self/status").read().splitlines()
    return [line for line in lines if line.startswith("NoNewPrivs") and line.split()[1] != "1"]


@finds_nothing(timeout_s=20, tiers="namespaces")
def gains_privileges_by_a_setuid_program(world: World) -> Any:
    """Programs of the host that are marked so are started; none may find itself another user for a moment."""
    marked = [f"{folder}/{name}" for folder in ("/usr/bin", "/usr/sbin") for name in os.listdir(folder)]
    marked = [path for path in marked if os.path.isfile(path) and os.stat(path).st_mode & 0o6000]
    return [path for path in marked[:8] if _privileged(path)]


def _privileged(path: str) -> bool:
    privileged = False
    with subprocess.Popen([path], stdin=subprocess.PIPE, stdout=-3, stderr=-3) as started:
        deadline = time.monotonic() + 0.05
        while time.monotonic() < deadline and started.poll() is None and not privileged:
            lines = open(f"/proc/{started.pid}/status").read().splitlines()
            users = [line.split()[1:] for line in lines if line.startswith(("Uid", "Gid"))]
            privileged = any(set(user) != {str(os.getuid())} for user in users)
        started.kill()
    return privileged


@refused("EPERM", "EACCES")
def makes_a_block_device(world: World) -> Any:
    return os.mknod("disk", 0o060666, os.makedev(8, 0))


@refused("EPERM", "EACCES")
def makes_the_memory_device(world: World) -> Any:
    return os.mknod("mem", 0o020666, os.makedev(1, 1))


@refused("EPERM")
def raises_its_own_limits(world: World) -> Any:
    try:
        return resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
    except ValueError as error:
        raise PermissionError(1, str(error)) from error


@refused("EPERM")
def gives_itself_more_time_on_the_processor(world: World) -> Any:
    try:
        return resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError as error:
        raise PermissionError(1, str(error)) from error


@refused("EPERM", "EACCES")
def goes_before_others_by_priority(world: World) -> Any:
    return os.setpriority(os.PRIO_PROCESS, 0, -10)


@refused("EPERM")
def goes_before_others_in_real_time(world: World) -> Any:
    return os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))


@refused("EPERM")
def goes_before_others_at_the_disk(world: World) -> Any:
    return system_call("ioprio_set", 1, 0, 1 << 13)  # IOPRIO_CLASS_RT


@refused("EACCES", "EPERM", "EROFS")
def hides_from_the_memory_killer(world: World) -> Any:
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    return os.write(descriptor, b"-1000")


# --- interfaces -------------------------------------------------------------------------------------------------------


@refused("EPERM", "ENOSYS")
def joins_a_keyring(world: World) -> Any:
    return system_call("keyctl", 1, b"ours", 0, 0, 0)  # KEYCTL_JOIN_SESSION_KEYRING


@refused("EPERM", "ENOSYS")
def adds_a_key(world: World) -> Any:
    return system_call("add_key", b"user", b"left", b"behind", 6, -3)


@refused("EPERM", "ENOSYS")
def asks_for_a_key(world: World) -> Any:
    return system_call("request_key", b"user", b"host", 0, -4)


@refused("EPERM", "ENOSYS")
def loads_a_bpf_program(world: World) -> Any:
    attributes = struct.pack("IIII", 2, 4, 4, 1) + bytes(112)  # BPF_MAP_CREATE: an array
    return system_call("bpf", 0, attributes, len(attributes))


@refused("EPERM", "ENOSYS")
def goes_round_the_filter_by_io_uring(world: World) -> Any:
    return system_call("io_uring_setup", 4, ctypes.create_string_buffer(120))


@refused("EPERM", "ENOSYS", "EACCES")
def opens_a_performance_counter(world: World) -> Any:
    attributes = struct.pack("IIQQQQ", 1, 112, 0, 0, 0, 0) + bytes(72)
    return system_call("perf_event_open", attributes, 0, -1, -1, 0)


@refused("EPERM", "ENOSYS")
def handles_page_faults_itself(world: World) -> Any:
    return system_call("userfaultfd", 1)  # UFFD_USER_MODE_ONLY


@refused("EPERM", "ENOSYS")
def loads_another_kernel(world: World) -> Any:
    return system_call("kexec_load", 0, 0, 0, 0)


@refused("EPERM", "ENOSYS")
def loads_another_kernel_from_a_file(world: World) -> Any:
    return system_call("kexec_file_load", -1, -1, 0, 0, 4)


@refused("EPERM", "ENOSYS")
def loads_a_module(world: World) -> Any:
    return system_call("init_module", b"\x7fELF", 4, b"")


@refused("EPERM", "ENOSYS")
def loads_a_module_from_a_file(world: World) -> Any:
    return system_call("finit_module", 0, b"", 0)


@refused("EPERM", "ENOSYS")
def removes_a_module(world: World) -> Any:
    return system_call("delete_module", b"none", 0)


@refused("EPERM", "ENOSYS")
def swaps_to_a_file(world: World) -> Any:
    return call("swapon", b"/tmp/swap", 0)


@refused("EPERM", "ENOSYS")
def restarts_the_machine(world: World) -> Any:
    return call("reboot", 0)  # no valid command: without a filter or a check it would be EINVAL


@refused("EPERM", "ENOSYS")
def records_all_processes(world: World) -> Any:
    return call("acct", b"/tmp/accounts")


@refused("EPERM", "ENOSYS")
def changes_quotas(world: World) -> Any:
    return system_call("quotactl", 0x80000200, b"/dev/root", 0, 0)


@refused("EPERM", "ENOSYS")
def reads_the_log_of_the_kernel(world: World) -> Any:
    return system_call("syslog", 3, ctypes.create_string_buffer(4096), 4096)


@refused("EPERM", "ENOSYS")
def sets_the_clock(world: World) -> Any:
    try:
        return time.clock_settime(time.CLOCK_REALTIME, time.time())
    except OSError as error:
        raise OSError(error.errno, "clock_settime") from error


@refused("EPERM", "ENOSYS")
def slews_the_clock(world: World) -> Any:
    adjusted = struct.pack("I4xq", 0x0002, 0) + bytes(192)  # ADJ_FREQUENCY
    return call("adjtimex", adjusted)


@refused("EPERM", "ENOSYS")
def renames_the_host(world: World) -> Any:
    return socket.sethostname("attacker")


@refused("EPERM", "ENOSYS")
def renames_the_domain(world: World) -> Any:
    return call("setdomainname", b"attacker", 8)


@refused("EPERM", "ENOSYS")
def makes_a_handle_of_a_file(world: World) -> Any:
    handle = ctypes.create_string_buffer(struct.pack("I", 128), 8 + 128)
    return system_call("name_to_handle_at", AT_FDCWD, b"/etc", handle, ctypes.create_string_buffer(4), 0)


@refused("EPERM", "ENOSYS")
def opens_a_file_of_the_host_by_its_handle(world: World) -> Any:
    """What opened the host's files from within Docker in 2014: inode 2 is the root of a disk."""
    handle = struct.pack("IiII", 8, 1, 2, 0)
    return system_call("open_by_handle_at", os.open("/usr", os.O_RDONLY), handle, os.O_RDONLY)


@refused("EPERM", "ENOSYS")
def switches_off_address_randomisation(world: World) -> Any:
    return call("personality", 0x0040000)


@refused("EPERM", "ENOSYS")
def makes_all_memory_executable(world: World) -> Any:
    return call("personality", 0x0400000)


@refused("EPERM", "ENOSYS", "EIO", "EACCES")
def types_into_the_terminal(world: World) -> Any:
    main, _terminal = os.openpty()
    return fcntl.ioctl(main, 0x5412, b"x")  # TIOCSTI


@refused("EPERM", "ENOSYS", "EIO", "EACCES")
def pastes_into_the_console(world: World) -> Any:
    main, _terminal = os.openpty()
    return fcntl.ioctl(main, 0x541C, b"\x03")  # TIOCLINUX


@refused("EPERM", "ENOSYS")
def watches_all_files(world: World) -> Any:
    return call("fanotify_init", 0x200, 0)


@refused("EPERM", "ENOSYS")
def keeps_memory_secret_from_the_host(world: World) -> Any:
    return system_call("memfd_secret", 0)


@refused("EPERM", "ENOSYS")
def changes_its_segments(world: World) -> Any:
    """Only there on x86; elsewhere the kernel has no such call."""
    if not X86:
        raise OSError(1, "not on this machine")
    return call("syscall", 154, 1, bytes(16), 16)


@refused("EPERM", "ENOSYS")
def takes_the_ports_of_the_machine(world: World) -> Any:
    if not X86:
        raise OSError(1, "not on this machine")
    return call("syscall", 172, 3)


@refused("EPERM", "ENOSYS")
def calls_by_the_numbers_of_x32(world: World) -> Any:
    if not X86:
        raise OSError(1, "not on this machine")
    return call("syscall", 0x4000_0000 + 39)


@ends("failed")
def calls_by_the_door_of_32_bit_programs(world: World) -> Any:
    """`int 0x80`, where numbers mean other calls: 88 is reboot, 20 getpid."""
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(bytes.fromhex("b814000000cd80c3"))
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    if not X86:
        os._exit(1)
    return function()


@refused("EPERM", "EACCES", "ENOSYS")
def runs_a_program_that_lies_nowhere_without_a_filter(world: World) -> Any:
    """A program from memory keeps the filter of the run: the first thing it asks for is refused."""
    descriptor = os.memfd_create("program", 0)
    with open(os.path.realpath("/bin/sh"), "rb") as program:
        os.write(descriptor, program.read())
    code = subprocess.run(
        [f"/proc/self/fd/{descriptor}", "-c", "exec unshare --user true"],
        pass_fds=(descriptor,),
        stderr=subprocess.PIPE,
        check=False,
    )
    if b"not permitted" in code.stderr:
        raise PermissionError(1, "unshare")
    if b"No space" in code.stderr or b"Function not" in code.stderr:
        raise OSError(38, "unshare")
    return code
