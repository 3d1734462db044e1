"""Make `stepflow_python/sandbox/syscalls.txt`: the numbers of system calls on the machines that filters are built for.

Usage: python scripts/syscall_numbers.py > stepflow_python/sandbox/syscalls.txt

The numbers are the kernel's own, from the headers that it gives to C programs (Debian: linux-libc-dev): those of
x86_64, and the generic ones, which aarch64 uses. The last number that is known here is the last one that a filter lets
pass, so newer headers are wanted when a tool is to use a system call that they brought.
"""

import re
import subprocess
import sys

X86_64 = "#include <asm/unistd_64.h>"
# What arch/arm64/include/uapi/asm/unistd.h defines before it includes the generic table.
AARCH64 = """
#define __BITS_PER_LONG 64
#define __ARCH_WANT_RENAMEAT
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SET_GET_RLIMIT
#define __ARCH_WANT_TIME32_SYSCALLS
#define __ARCH_WANT_SYS_CLONE3
#define __ARCH_WANT_MEMFD_SECRET
#include <asm-generic/unistd.h>
"""


def numbers(source: str) -> dict[str, int]:
    """Names and numbers that the preprocessor knows after this source."""
    done = subprocess.run(
        ["gcc", "-E", "-dM", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    )
    defined = dict(re.findall(r"^#define (__NR\w+) (\w+)$", done.stdout, flags=re.MULTILINE))
    found = {}
    for name, text in defined.items():
        value = defined.get(text, text)  # __NR_mmap is __NR3264_mmap, which is the number
        if name.startswith("__NR_") and value.isdigit() and not name.startswith("__NR_arch_specific"):
            found[name.removeprefix("__NR_")] = int(value)
    found.pop("syscalls", None)
    return found


def main() -> None:
    """Print the table."""
    x86_64, aarch64 = numbers(X86_64), numbers(AARCH64)
    sys.stdout.write("# Made by scripts/syscall_numbers.py: name, number on x86_64, on aarch64 (- is none).\n")
    for name in sorted(x86_64.keys() | aarch64.keys()):
        sys.stdout.write(f"{name} {x86_64.get(name, '-')} {aarch64.get(name, '-')}\n")


if __name__ == "__main__":
    main()
