"""The load: bench/load.cpp, and processes for the row of many."""

import mmap
import struct
import subprocess
import time
from pathlib import Path

from . import host

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
NAME = "flk-load"
# Where a stack of the load begins: the program's entry, and the start of a thread.
ROOTS = {"_start", "__clone", "clone", "__clone3", "clone3", "__GI___clone", "__GI___clone3"}
PYTHON = "import sys, time, ssl, sqlite3, decimal, ctypes, json\nend = time.time() + float(sys.argv[1])\nwhile time.time() < end: sum(range(20000)); time.sleep(0.5)"


def build(folder):
    source = Path(__file__).resolve().parent.parent / "load.cpp"
    program = folder / NAME
    subprocess.run(["g++", "-O2", "-fomit-frame-pointer", "-g", "-pthread", source, "-o", program], check=True)
    return program


def root_ranges(program):
    """Where the start routines are, in the program and in the C library (whose own symbols are in its debug file)."""
    linked = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    libc = next((Path(word).resolve() for word in linked.split() if word.startswith("/") and "libc.so" in word), None)
    ranges = set()
    for file in (program, libc and debug_file(libc)):
        lines = subprocess.run(["nm", "-S", file], capture_output=True, text=True).stdout.splitlines() if file else []
        words = [line.split() for line in lines]
        found = [(int(word[0], 16), int(word[1], 16)) for word in words if len(word) == 4 and word[3] in ROOTS]
        ranges |= {(start, start + size) for start, size in found}
    return sorted(ranges)


def debug_file(library):
    notes = subprocess.run(["readelf", "-n", library], capture_output=True, text=True).stdout
    build_id = next((line.split()[-1] for line in notes.splitlines() if "Build ID:" in line), "")
    path = Path(f"/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
    return path if path.exists() else None


class Load:
    """A thread on each CPU for at most `seconds`, counting its units of work."""

    def __init__(self, program, folder, seconds):
        self.threads = host.cpus()
        counters = folder / f"counters-{time.monotonic_ns()}"
        counters.write_bytes(bytes(8 * self.threads))
        with open(counters, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.process = subprocess.Popen([program, str(seconds), counters, str(self.threads)], **QUIET)

    def counts(self):
        return time.monotonic(), struct.unpack(f"{self.threads}Q", self.map[: 8 * self.threads])

    def rates(self, before, after):
        """Units of work a second of each thread between two calls of `counts`."""
        if self.process.poll() is not None:
            host.fail("the load ended before the measurement did")
        return [(b - a) / (after[0] - before[0]) for a, b in zip(before[1], after[1])]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Crowd:
    """Many processes that do a little each: half of them the load's program, half Python with libraries."""

    def __init__(self, program, folder, count, seconds):
        counters = folder / "counters-crowd"
        counters.write_bytes(bytes(8))
        trickle = [program, str(seconds), counters, "1", "500"]
        python = ["python3", "-c", PYTHON, str(seconds)]
        self.processes = [subprocess.Popen(trickle if number % 2 else python, **QUIET) for number in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
