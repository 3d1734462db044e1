"""What no run may ask of the kernel, each with its reason; and what further falls away below the level `standard`.

A list of what is refused, not of what is allowed: honest packages use most of what Linux has, and what is refused here
is either useless without privileges or known as a way out. Calls that only need a capability are named too, so that a
fault of the kernel in checking for it is out of reach.
"""

from errno import ENOSYS, ENOTSUP
from functools import cache
from typing import Final

from stepflow_python.sandbox.seccomp import Check, Rule, compiled

# linux/sched.h; CLONE_NEWTIME is a part of the exit signal here and can only be asked for by unshare and clone3.
NEW_NAMESPACES: Final = 0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000
CLONE_THREAD: Final = 0x0001_0000
TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP = 0x5412, 0x541C, 0x8901, 0x8902
F_SETOWN, F_SETSIG, F_SETOWN_EX = 8, 10, 15
PRIO_PROCESS, IOPRIO_WHO_PROCESS = 0, 1
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, NETLINK_ROUTE = 1, 2, 10, 16, 0
SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_TYPE_MASK = 1, 2, 5, 0xF
INTERNET_PROTOCOLS: Final = (0, 1, 6, 17, 58)  # the default one, ICMP, TCP, UDP, ICMPv6
# linux/personality.h: a plain Linux program's, also with 32-bit addresses or an older release's name, and the question.
PERSONALITIES: Final = (0, 0x0008, 0x0002_0000, 0x0002_0008, 0xFFFF_FFFF)


INTERNET: Final = (
    (
        Check(0, (AF_INET, AF_INET6)),
        Check(1, (SOCK_STREAM, SOCK_DGRAM), mask=SOCK_TYPE_MASK),
        Check(2, INTERNET_PROTOCOLS),
    ),
    (Check(0, (AF_NETLINK,)), Check(2, (NETLINK_ROUTE,))),
)
"""Sockets that honest programs open; netlink's is how C libraries ask for addresses and routes."""


def _all(calls: str, reason: str, *, error: int | None = None) -> tuple[Rule, ...]:
    return tuple(Rule(call, reason) if error is None else Rule(call, reason, error) for call in calls.split())


EVERY_RUN: Final = (
    *_all("ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise", "reaches into other processes"),
    *_all("process_mrelease move_pages migrate_pages", "moves or drops the memory of other processes"),
    *_all("mount umount2 pivot_root chroot", "changes what files are where"),
    *_all("open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr", "the same by the newer interface"),
    *_all("setns unshare", "new namespaces give capabilities over kernel code that few have looked at"),
    Rule("clone", "new namespaces, as unshare makes them", unless=((Check(0, (0,), mask=NEW_NAMESPACES),),)),
    Rule("clone3", "its flags lie in memory, where a filter cannot see them; C libraries then use clone", ENOSYS),
    *_all("keyctl add_key request_key", "keyrings are shared beyond namespaces, and have had many faults"),
    *_all("bpf perf_event_open userfaultfd", "a kernel interface known for what was broken through it"),
    *_all(
        "io_uring_setup io_uring_enter io_uring_register", "does what this filter refuses, unseen by it", error=ENOSYS
    ),
    *_all("memfd_secret", "memory that the host cannot look into", error=ENOSYS),
    *_all("vmsplice", "hands pages of one process to others; several faults, no use without high-speed pipes"),
    *_all("kexec_load kexec_file_load reboot", "starts another kernel"),
    *_all("init_module finit_module delete_module create_module", "kernel modules"),
    *_all("get_kernel_syms query_module", "kernel modules, long gone", error=ENOSYS),
    *_all("swapon swapoff acct quotactl quotactl_fd nfsservctl", "administration of the host"),
    *_all("sethostname setdomainname vhangup", "administration of the host"),
    *_all("syslog", "the kernel's log holds addresses and names of others"),
    *_all("settimeofday clock_settime adjtimex clock_adjtime", "the host's clock is everybody's"),
    *_all("name_to_handle_at open_by_handle_at", "opens files past the folders above them"),
    *_all("fanotify_init fanotify_mark", "watches whole file systems"),
    *_all("lookup_dcookie", "profiling of the host", error=ENOSYS),
    *_all("iopl ioperm", "the machine's ports"),
    *_all("modify_ldt set_thread_area", "segments of 16- and 32-bit programs; many faults, no use in 64-bit ones"),
    *_all("uselib _sysctl sysfs ustat remap_file_pages", "long superseded", error=ENOSYS),
    Rule("personality", "odd ones switch protections of memory off", unless=((Check(0, PERSONALITIES),),)),
    Rule(
        "ioctl",
        "types into, or pastes onto, a terminal of the host",
        unless=((Check(1, (TIOCSTI, TIOCLINUX), among=False),),),
    ),
    Rule(
        "socket",
        "rare protocols (VSOCK reaches the hypervisor, ALG and PACKET the kernel's rarely trodden code)",
        unless=((Check(0, (AF_UNIX,)),), *INTERNET),
    ),
)
"""Refused in every box, from before its first instruction."""

NO_PROCESSES: Final = (
    *_all("execve execveat", "starts another program"),
    *_all("fork vfork", "starts a process"),
    Rule("clone", "starts a process; a thread it may", unless=((Check(0, (CLONE_THREAD,), mask=CLONE_THREAD),),)),
)
"""Refused to the tool where it may not start processes; comes on top of the above."""


_ITSELF: Final = ((Check(0, (0,)),),)

WITHOUT_NAMESPACES: Final = (
    *_all(
        "chmod fchmod fchmodat utime utimes utimensat futimesat", "modes and times of files anywhere; ignored", error=0
    ),
    *_all("chown lchown fchown fchownat", "owners of files anywhere"),
    *_all("setxattr lsetxattr fsetxattr", "attributes of files anywhere", error=ENOTSUP),
    *_all("removexattr lremovexattr fremovexattr", "attributes of files anywhere", error=ENOTSUP),
    *_all("shmget shmat shmctl semget semop semtimedop semctl", "memory and locks of the host", error=ENOSYS),
    *_all("msgget msgsnd msgrcv msgctl mq_open mq_unlink", "queues of the host", error=ENOSYS),
    *(
        Rule(call, "limits and schedules other processes of the same user", unless=_ITSELF)
        for call in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")
    ),
    Rule("setpriority", "slows others down", unless=((Check(0, (PRIO_PROCESS,)), Check(1, (0,))),)),
    Rule("ioprio_set", "slows others down", unless=((Check(0, (IOPRIO_WHO_PROCESS,)), Check(1, (0,))),)),
    Rule(
        "socketpair",
        "an end that is not connected for good could be pointed at a socket of the host",
        unless=((Check(0, (AF_UNIX,)), Check(1, (SOCK_STREAM, SOCK_SEQPACKET), mask=SOCK_TYPE_MASK)),),
    ),
)
"""What Landlock leaves open, where no namespace hides the host's files, processes, sockets and memory."""

NO_NETWORK: Final = (*_all("socket connect bind listen", "the host's network, and its sockets on files"),)
"""On top of that where the run may use no network: only socket pairs are left."""

NETWORK: Final = (Rule("socket", "sockets on files belong to services of the host", unless=INTERNET),)
"""On top of that where it may."""

UNSCOPED_SIGNALS: Final = (
    *_all(
        "kill tkill tgkill pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo", "signals to any process of the user"
    ),
    Rule("fcntl", "signals through files", unless=((Check(1, (F_SETOWN, F_SETSIG, F_SETOWN_EX), among=False),),)),
    Rule("ioctl", "signals through files", unless=((Check(1, (FIOSETOWN, SIOCSPGRP), among=False),),)),
)
"""On top of that where Landlock does not keep signals in."""

UNHANDLED_TRUNCATE: Final = (*_all("truncate", "cuts files anywhere"),)
"""On top of that where Landlock does not know the right to."""


@cache
def no_processes(machine: str) -> bytes:
    """What starts no process; asked for by every run, for which looking the table up by its content would be slow.

    Raises:
        UnknownMachineError: filters are not made for this machine.
    """
    return program(NO_PROCESSES, machine)


@cache
def program(rules: tuple[Rule, ...], machine: str) -> bytes:
    """The compiled form of one of these tables, made once.

    Raises:
        UnknownMachineError: filters are not made for this machine.
    """
    return compiled(rules, machine=machine)
