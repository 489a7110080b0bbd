"""Turns a running profiler's sampling off and on from outside, so that both are seen within a second of each other.

Two stretches differ by more than a profiler takes, since the machine under a virtual machine does other work as well: by 1 to 2 %, whether
they are of a tenth of a second or of two. So there must be hundreds of short ones. A profiler cannot be started that often; the
kernel's events that it opened can be: `pidfd_getfd(2)` gives its descriptors, `PERF_EVENT_IOC_DISABLE` and `PERF_EVENT_IOC_ENABLE` of
`perf_event_open(2)` do the rest.
"""

import ctypes
import fcntl
import math
import os
import random
import statistics
import time
from pathlib import Path

from . import host

PIDFD_GETFD = 438
ENABLE, DISABLE = 0x2400, 0x2401


class Switch:
    """The sampling of a process: all of its perf events. On again when this ends."""

    def __init__(self, pid):
        self.events = []
        libc = ctypes.CDLL(None, use_errno=True)
        process = os.pidfd_open(pid)
        try:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                if os.readlink(link) == "anon_inode:[perf_event]":
                    event = libc.syscall(PIDFD_GETFD, process, int(link.name), 0)
                    if event < 0:
                        raise OSError(ctypes.get_errno(), "pidfd_getfd")
                    self.events.append(event)
        finally:
            os.close(process)
        if not self.events:
            raise RuntimeError("it has opened no perf event that could be turned off")

    def turn(self, on):
        for event in self.events:
            fcntl.ioctl(event, ENABLE if on else DISABLE, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.turn(True)
        for event in self.events:
            os.close(event)


def inside(pid, helpers, load, pairs, seconds):
    """What sampling takes inside the programs that are sampled: `(throughput with it over that without, its standard error)`.

    Each of `pairs` is a stretch of `seconds` with sampling and one without, in random order. What the profiler itself (and its
    `helpers`, by process id) ran meanwhile is taken out of the time of each: it reads what was sampled later, and its CPU time is
    known exactly. The median over the pairs, so that what else a machine does in one of them does not count.
    """
    found = []
    with Switch(pid) as sampling:
        for _ in range(pairs):
            first = random.random() < 0.5
            rates = {}
            for on in (first, not first):
                sampling.turn(on)
                rates[on] = stretch((pid, *helpers), load, seconds)
            found.append(statistics.fmean(math.log(a / b) for a, b in zip(rates[True], rates[False])))
    # From the pairs as they are, which have longer tails than the normal distribution.
    medians = [statistics.median(random.choices(found, k=len(found))) for _ in range(400)]
    return math.exp(statistics.median(found)), statistics.stdev(medians)


def stretch(pids, load, seconds):
    """Units of work of each of the load's threads, a second of what the CPUs had left for the load."""
    before, ran = load.counts(), used(pids)
    time.sleep(seconds)
    after, ran = load.counts(), used(pids) - ran
    left = 1 - ran / (after[0] - before[0]) / load.threads
    return [rate / left for rate in load.rates(before, after)]


def used(pids):
    total = 0
    for pid in pids:
        try:
            total += host.cpu_seconds(pid)
        except OSError:
            pass  # A helper that has ended.
    return total
