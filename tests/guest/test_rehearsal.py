"""Which pages of memory are a process's own, as the kernel tells, and having them ahead."""

import platform
import subprocess
import sys

import pytest

NEW_ENOUGH = tuple(int(part) for part in platform.release().split(".")[:2]) >= (5, 14)
FORKS = """
import ctypes, mmap, os, signal
from stepflow_python.guest.kernel import Kernel
from stepflow_python.guest.rehearsal import Pages, own_pages

SIZE = mmap.PAGESIZE
memory = mmap.mmap(-1, 16 * SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
for page in range(16):
    memory[page * SIZE] = 1

def owned(act):
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        act()
        os.write(tells, b".")
        signal.pause()
        os._exit(0)
    os.read(told, 1)
    found = set()
    for place, length in own_pages(child):
        found.update((byte - start) // SIZE for byte in range(place, place + length, SIZE))
    os.kill(child, 9)
    os.waitpid(child, 0)
    return sorted(found & set(range(16)))

def write():
    for page in (3, 4, 10):
        memory[page * SIZE] = 2

kernel = Kernel()
missing = Pages([(start + 20 * SIZE, SIZE), (0, SIZE)])
pages = Pages([(start + 5 * SIZE, 2 * SIZE), (start + 15 * SIZE, SIZE)])
print(owned(lambda: None), owned(write), owned(lambda: pages.own(kernel)), owned(lambda: missing.own(kernel)))
"""


@pytest.mark.skipif(not NEW_ENOUGH, reason="the kernel is older than 5.14: no MADV_POPULATE_WRITE")
def test_own_pages() -> None:
    """What a fork has written to, and what it asked to have; what is not there harms nobody."""
    ran = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=False, timeout=30)
    assert (ran.stdout, ran.stderr) == ("[] [3, 4, 10] [5, 6, 15] []\n", "")
