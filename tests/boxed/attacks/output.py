"""Leaves things in the output folder that are to be taken for files."""

import os
import socket
import time
from typing import Any

from trade import ends, harmless, in_background

World = dict[str, Any]

MIB = 1 << 20


@harmless()
def leaves_a_link_to_a_file_of_the_host(world: World) -> Any:
    os.symlink(world["secret"], "output/secret")
    return "left"


@harmless()
def leaves_a_link_to_a_folder_of_the_host(world: World) -> Any:
    os.symlink(os.path.dirname(world["secret"]), "output/folder")
    os.symlink("/", "output/root")
    os.symlink("/proc/1", "output/process")
    return "left"


@ends("output_exceeded", "succeeded", "failed")
def leaves_a_link_in_place_of_the_output_folder(world: World) -> Any:
    os.rmdir("output")
    os.symlink(os.path.dirname(world["secret"]), "output")


@ends("output_exceeded", "succeeded", "failed")
def leaves_a_file_in_place_of_the_output_folder(world: World) -> Any:
    os.rmdir("output")
    open("output", "w").write("x")


@harmless()
def leaves_pipes_sockets_and_terminals(world: World) -> Any:
    """Whoever opened one for reading would wait for ever."""
    os.mkfifo("output/pipe")
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("output/socket")
    except PermissionError:
        return "without a socket"
    return "left"


@harmless()
def leaves_a_link_to_a_descriptor(world: World) -> Any:
    for number in range(8):
        os.symlink(f"/proc/1/fd/{number}", f"output/{number}")
        os.symlink(f"/proc/self/fd/{number}", f"output/own-{number}")
    return "left"


@harmless()
def leaves_a_link_to_itself(world: World) -> Any:
    os.symlink("loop", "output/loop")
    os.mkdir("output/folder")
    os.symlink("..", "output/folder/up")
    return "left"


@ends("output_exceeded", output_files_bytes=65536)
def leaves_a_file_that_is_too_large(world: World) -> Any:
    open("output/large", "wb").write(b"x" * MIB)


@ends("output_exceeded", output_files_bytes=65536)
def leaves_a_file_that_only_claims_to_be_large(world: World) -> Any:
    """A gigabyte of nothing costs no block, and would cost its reader all of it."""
    with open("output/sparse", "wb") as file:
        file.truncate(200 * MIB)


@ends("output_exceeded", output_files=8)
def leaves_too_many_files(world: World) -> Any:
    for number in range(100):
        open(f"output/{number}", "w").close()


@ends("output_exceeded", "memory_exceeded")
def leaves_tens_of_thousands_of_names(world: World) -> Any:
    for number in range(20_000):
        os.mkdir(f"output/{number}")


@ends("output_exceeded", "failed")
def leaves_folders_a_hundred_deep(world: World) -> Any:
    os.makedirs("output/" + "a/" * 100)


@ends("output_exceeded")
def leaves_a_name_that_is_no_text(world: World) -> Any:
    open(b"output/\xff\xfe", "w").close()


@harmless()
def leaves_names_that_are_not_what_they_seem(world: World) -> Any:
    for name in ("new\nline", "..x", "...", "-rf", "$(id)", "a\\b", "C:", "\u202etxt.exe", "x" * 255, " "):
        open(f"output/{name}", "w").write("x")
    return "left"


@ends("output_exceeded", "succeeded")
def leaves_a_folder_that_nobody_may_enter(world: World) -> Any:
    os.mkdir("output/closed")
    open("output/closed/file", "w").write("x")
    os.chmod("output/closed", 0)


@ends("output_exceeded", "succeeded")
def leaves_a_file_that_nobody_may_read(world: World) -> Any:
    open("output/file", "w").write("x")
    os.chmod("output/file", 0)


@ends("output_exceeded", "succeeded", output_files_bytes=65536)
def leaves_a_file_that_grows_while_it_is_read(world: World) -> Any:
    def grow() -> None:
        with open("output/growing", "ab") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
                file.truncate(1) if file.tell() > MIB else None

    in_background(grow)
    time.sleep(0.05)


@ends("output_exceeded", "succeeded")
def swaps_a_file_for_a_link_while_it_is_read(world: World) -> Any:
    """What opens a path twice opens two things."""
    os.mkdir("spare")
    for number in range(30):
        open(f"output/{number}", "w").write("x" * 1000)

    def swap() -> None:
        while True:
            for number in range(30):
                os.symlink(world["secret"], "spare/link")
                os.replace("spare/link", f"output/{number}")
                open("spare/file", "w").write("x")
                os.replace("spare/file", f"output/{number}")

    in_background(swap)
    time.sleep(0.05)


@ends("output_exceeded", "succeeded")
def swaps_the_output_folder_for_a_link_while_it_is_read(world: World) -> Any:
    for number in range(30):
        open(f"output/{number}", "w").write("x" * 1000)

    def swap() -> None:
        while True:
            os.rename("output", "moved")
            os.symlink(os.path.dirname(world["secret"]), "output")
            os.unlink("output")
            os.rename("moved", "output")

    in_background(swap)
    time.sleep(0.05)


@harmless()
def leaves_a_link_in_place_of_the_report(world: World) -> Any:
    os.symlink(world["secret"], ".report")
    return "left"


@harmless()
def leaves_a_pipe_in_place_of_the_report(world: World) -> Any:
    os.mkfifo(".report")
    return "left"


@harmless()
def leaves_a_hard_link_to_what_it_was_given(world: World) -> Any:
    os.link("tool.py", "output/tool.py")
    return "left"
