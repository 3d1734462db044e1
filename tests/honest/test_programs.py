"""Honest programs work in the box as outside: refusing them is a defect as much as letting an attack through."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from support.ways import Way

from stepflow_python.model.limits import Limits

AT_STANDARD = {
    "a pool of processes": """
from multiprocessing import Pool
def double(n): return 2 * n
if __name__ == "__main__":
    with Pool(3) as pool:
        assert pool.map(double, range(20)) == [2 * n for n in range(20)]
""",
    "processes that are spawned": """
import multiprocessing as mp
def double(n): return 2 * n
if __name__ == "__main__":
    with mp.get_context("spawn").Pool(2) as pool:
        assert pool.map(double, [1, 2]) == [2, 4]
""",
    "a fork server": """
import multiprocessing as mp
def double(n): return 2 * n
if __name__ == "__main__":
    with mp.get_context("forkserver").Pool(1) as pool:
        assert pool.map(double, [1, 2]) == [2, 4]
""",
    "an executor of processes": """
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
""",
    "memory that processes share": """
import os
from multiprocessing import Process, Value, shared_memory
def add(name, counter):
    with counter.get_lock(): counter.value += 1
    block = shared_memory.SharedMemory(name=name); block.buf[0] = 7; block.close()
if __name__ == "__main__":
    block, counter = shared_memory.SharedMemory(create=True, size=1 << 20), Value("i", 0)
    children = [Process(target=add, args=(block.name, counter)) for _ in range(3)]
    for child in children: child.start()
    for child in children: child.join()
    assert (block.buf[0], counter.value) == (7, 3)
    block.close(); block.unlink()
""",
    "queues, pipes, managers": """
import multiprocessing as mp
def work(queue, pipe): queue.put("a"); pipe.send("b")
if __name__ == "__main__":
    queue, (here, there) = mp.Queue(), mp.Pipe()
    child = mp.Process(target=work, args=(queue, there)); child.start()
    assert (queue.get(timeout=20), here.recv()) == ("a", "b"); child.join()
    with mp.Manager() as manager: assert manager.dict(a=1)["a"] == 1
""",
    "programs": """
import subprocess, sys
assert subprocess.run("echo $((6 * 7)) | tr 4 x", shell=True, capture_output=True, text=True).stdout == "x2\\n"
assert subprocess.check_output([sys.executable, "-c", "print('hi')"], text=True) == "hi\\n"
assert subprocess.run(["false"]).returncode == 1
with subprocess.Popen(["cat"], stdin=-1, stdout=-1) as cat: assert cat.communicate(b"x")[0] == b"x"
""",
    "programs started from asyncio": """
import asyncio
async def main():
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    assert (await process.communicate(b"x"))[0] == b"x"
asyncio.run(main())
""",
    "a terminal of its own": """
import os, pty
pid, terminal = pty.fork()
if pid == 0: os.write(1, b"hi"); os._exit(0)
assert os.read(terminal, 10) == b"hi"; os.waitpid(pid, 0)
""",
    "packages of the environment in a program it starts": """
import subprocess, sys
code = "import sys; print(sys.prefix)"
assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == sys.prefix
""",
}

AT_STRICT = {
    "threads": """
import threading
seen = []
threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert sorted(seen) == list(range(20))
""",
    "an executor of threads": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool: assert list(pool.map(abs, range(-50, 0))) == list(range(50, 0, -1))
""",
    "temporary files": """
import os, tempfile
with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile(dir=folder) as file:
    file.write(b"x"); file.flush(); assert os.path.getsize(file.name) == 1
with tempfile.TemporaryFile() as file: file.write(b"x" * 100000)
with tempfile.SpooledTemporaryFile(10) as file: file.write(b"x" * 100)
""",
    "files, links, modes, times, locks": """
import fcntl, os, pathlib, shutil
path = pathlib.Path("a/b.txt"); path.parent.mkdir(); path.write_text("x"); path.chmod(0o600)
pathlib.Path("link").symlink_to(path); os.link(path, "hard"); os.utime(path, (1, 1))
assert pathlib.Path("link").read_text() == "x" and path.stat().st_mtime == 1
shutil.copytree("a", "c"); shutil.make_archive("z", "tar", "a"); shutil.unpack_archive("z.tar", "d")
with open("hard", "a") as file: fcntl.flock(file, fcntl.LOCK_EX)
os.mkfifo("fifo"); shutil.rmtree("c")
""",
    "memory that is mapped": """
import mmap
with open("m", "w+b") as file:
    file.truncate(1 << 20); area = mmap.mmap(file.fileno(), 0); area[:2] = b"hi"; area.flush(); assert area[:2] == b"hi"
""",
    "sqlite3": """
import sqlite3
with sqlite3.connect("data.db") as db:
    db.execute("pragma journal_mode=wal"); db.execute("create table t (a)"); db.execute("insert into t values (1)")
assert sqlite3.connect("data.db").execute("select a from t").fetchone() == (1,)
""",
    "dbm, shelve": """
import shelve
with shelve.open("shelf") as shelf: shelf["a"] = [1]
with shelve.open("shelf") as shelf: assert shelf["a"] == [1]
""",
    "a server on loopback": """
import asyncio
async def main():
    async def echo(reader, writer): writer.write(await reader.readline()); await writer.drain(); writer.close()
    for host in ("127.0.0.1", "::1", "localhost"):
        server = await asyncio.start_server(echo, host, 8000)
        reader, writer = await asyncio.open_connection(host, 8000)
        writer.write(b"hi\\n"); assert await reader.readline() == b"hi\\n"; writer.close()
        server.close(); await server.wait_closed()
asyncio.run(main())
""",
    "a server of the standard library": """
import http.server, threading, urllib.request
server = http.server.ThreadingHTTPServer(("localhost", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
assert urllib.request.urlopen(f"http://localhost:{server.server_port}/").status == 200; server.shutdown()
""",
    "sockets among files, abstract, and in pairs": """
import socket
for address in ("s", "\\0s"):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(address); server.listen(); client.connect(address)
left, right = socket.socketpair(); left.send(b"x"); assert right.recv(1) == b"x"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.bind(("127.0.0.1", 0)); udp.sendto(b"x", udp.getsockname())
""",
    "selectors, events, timers": """
import os, select, selectors, signal, time
poll = select.epoll(); poll.close(); selectors.DefaultSelector().close()
fired = []
signal.signal(signal.SIGALRM, lambda *_: fired.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(0.1)
assert fired and os.eventfd(0) > 2 if hasattr(os, "eventfd") else fired
""",
    "time zones": """
import datetime, time, zoneinfo
assert datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).utcoffset().seconds == 7200
time.tzset(); assert len(zoneinfo.available_timezones()) > 100
""",
    "locales and encodings": """
import codecs, locale, sys
locale.setlocale(locale.LC_ALL, ""); locale.setlocale(locale.LC_ALL, "C.UTF-8")
assert sys.getfilesystemencoding() == "utf-8" and sys.stdout.encoding == "utf-8"
open("größe ✓", "w").write("ä"); assert open("größe ✓").read() == "ä"
assert codecs.lookup("cp1252") and "ä".encode("latin-1") == b"\\xe4"
""",
    "certificates": """
import ssl
assert len(ssl.create_default_context().get_ca_certs()) > 10
""",
    "users, hosts, ids": """
import getpass, grp, os, pathlib, platform, pwd, socket, uuid
assert pwd.getpwuid(os.getuid()).pw_dir == "/work" and grp.getgrgid(os.getgid()).gr_name
assert getpass.getuser() and pathlib.Path.home() == pathlib.Path("/work") and os.path.expanduser("~") == "/work"
assert socket.gethostname() and platform.node() and platform.platform() and uuid.uuid1() and uuid.uuid4()
assert socket.gethostbyname("localhost") == "127.0.0.1" and socket.getfqdn()
""",
    "what the kernel tells of itself": """
import os, resource
for name in ("self/status", "self/maps", "self/stat", "self/fd", "self/cmdline", "cpuinfo", "meminfo", "stat",
             "loadavg", "uptime", "version", "mounts", "self/limits", "filesystems"):
    path = f"/proc/{name}"
    assert (os.listdir(path) if os.path.isdir(path) else open(path).read()), path
assert os.cpu_count() and os.sched_getaffinity(0) and os.getloadavg() and resource.getrusage(0).ru_maxrss
""",
    "random numbers, secrets, hashes": """
import hashlib, os, random, secrets
assert len(os.urandom(16)) == 16 and secrets.token_hex() and random.SystemRandom().random() < 1
assert hashlib.scrypt(b"a", salt=b"b", n=2, r=8, p=1) and hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10)
open("/dev/urandom", "rb").read(1); open("/dev/zero", "rb").read(1); open("/dev/null", "w").write("x")
""",
    "C libraries": """
import ctypes, ctypes.util
assert ctypes.CDLL(ctypes.util.find_library("c") or None).abs(-3) == 3
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
def twice(n): return 2 * n
assert twice(4) == 8
""",
    "tracing, profiling, debugging": """
import cProfile, faulthandler, tracemalloc, traceback, sys, warnings, logging
tracemalloc.start(); profile = cProfile.Profile(); profile.enable(); profile.disable(); faulthandler.enable()
sys.settrace(lambda *_: None); sys.settrace(None); warnings.warn("w"); logging.warning("l")
""",
    "compression": """
import bz2, gzip, lzma, tarfile, zipfile, zlib
for module in (bz2, gzip, lzma, zlib): assert module.decompress(module.compress(b"x" * 99)) == b"x" * 99
with tarfile.open("a.tar.gz", "w:gz") as archive: archive.add("tool.py")
with zipfile.ZipFile("a.zip", "w") as archive: archive.write("tool.py")
""",
    "leaving by every door": """
import atexit, sys, threading, weakref
atexit.register(print, "bye")
class Last:
    def __del__(self): print("last")
last = Last(); threading.Thread(target=print, args=("thread",)).start(); sys.exit(0)
""",
}


@pytest.mark.parametrize("source", AT_STRICT.values(), ids=AT_STRICT)
def test_at_strict(source: str, honest: Callable[..., Any]) -> None:
    """What needs neither processes nor network works at the strictest level."""
    outcome = honest(source)
    assert outcome.status == "succeeded", f"{outcome.error}\n{outcome.stderr}"


@pytest.mark.parametrize("source", AT_STANDARD.values(), ids=AT_STANDARD)
def test_at_standard(source: str, honest: Callable[..., Any]) -> None:
    """What needs processes works where they are allowed."""
    outcome = honest(source, level="standard")
    assert outcome.status == "succeeded", f"{outcome.error}\n{outcome.stderr}"


def test_two_runs_serve_the_same_port(way: Way) -> None:
    """Each has a network of its own, so that neither is in the other's way, nor can reach it."""
    source = (
        "import http.server, socket, threading, time, urllib.request\n"
        "def serve(word):\n"
        "    class Say(http.server.BaseHTTPRequestHandler):\n"
        "        def do_GET(self):\n"
        "            self.send_response(200); self.end_headers(); self.wfile.write(word.encode())\n"
        "        def log_message(self, *_): pass\n"
        "    server = http.server.HTTPServer(('127.0.0.1', 8099), Say)\n"
        "    threading.Thread(target=server.serve_forever, daemon=True).start()\n"
        "    heard = set()\n"
        "    for _ in range(20):\n"
        "        heard.add(urllib.request.urlopen('http://127.0.0.1:8099/').read().decode()); time.sleep(0.02)\n"
        "    return sorted(heard)\n"
    )
    outcomes = way.run(*(way.tool(source, "serve", word=word) for word in ("one", "two")))
    assert [outcome.result for outcome in outcomes] == [["one"], ["two"]]


def test_numpy_with_threads_works_in_little_memory(honest: Callable[..., Any]) -> None:
    """Address space that a library only reserves, a stack for each thread, is not counted as memory."""
    source = (
        "import os, threading\nos.environ['OPENBLAS_NUM_THREADS'] = '8'\nimport numpy as np\n"
        "def f():\n"
        "    sums = []\n"
        "    work = lambda: sums.append(float((np.ones((400, 400)) @ np.ones((400, 400))).sum()))\n"
        "    threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "    [thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "    return sums\n"
    )
    outcome = honest(source, "f", packages=("numpy",), memory_mib=256)
    assert outcome.result == [400.0**3] * 8, outcome


def test_one_runs_memory_never_counts_for_another(way: Way) -> None:
    """One run dies at its limit, many times; its neighbours, each near their own limit, notice nothing."""
    source = (
        "import time\n"
        "def hold(mib, seconds):\n"
        "    held = bytearray(mib << 20)\n    held[::4096] = b'x' * len(held[::4096])\n"
        "    time.sleep(seconds)\n    return len(held) >> 20\n"
    )
    limits = Limits(timeout_s=30, memory_mib=96)
    runs = [way.tool(source, "hold", mib=60, seconds=1.0) for _ in range(3)]
    runs += [way.tool(source, "hold", mib=300, seconds=0.0) for _ in range(3)]
    outcomes = way.run(*(dataclasses.replace(run, limits=limits) for run in runs))
    assert [outcome.status for outcome in outcomes] == ["succeeded"] * 3 + ["memory_exceeded"] * 3
    assert [outcome.result for outcome in outcomes[:3]] == [60] * 3
