"""What can go wrong on a bad day. Each takes a host of programs (`soak.Soak`) and how long it lasts, in seconds."""

import os
import signal
import struct
import time


def network_stalls(soak, seconds):
    during(soak, seconds, "stall")


def network_resets(soak, seconds):
    during(soak, seconds, "reset")


def network_corrupts(soak, seconds):
    during(soak, seconds, "corrupt")


def network_is_slow(soak, seconds):
    during(soak, seconds, "slow")


def during(soak, seconds, mode):
    soak.proxy.set(mode)
    soak.watch(seconds)
    soak.proxy.set("clear")


def collector_killed(soak, seconds):
    soak.collector.remember()
    soak.collector.kill()
    soak.watch(seconds)
    soak.start_collector()


def collector_restarted(soak, seconds):
    soak.collector.remember()
    soak.collector.ask_to_end()
    soak.collector.wait_for_end()
    soak.watch(seconds)
    soak.start_collector()


def agent_killed(soak, seconds):
    soak.mortal.kill()
    soak.watch(seconds / 4)
    soak.mortal.start()
    soak.watch(seconds * 3 / 4)


def agent_reloaded(soak, seconds):
    agent = soak.steady
    agent.settings.write_text(f'[exclude]\nprocesses = ["none-{time.monotonic_ns()}"]\n')
    agent.signal(signal.SIGHUP)
    soak.watch(seconds)


def disk_of_an_agent_full(soak, seconds):
    full(soak, soak.small_disk, seconds, leave=0)


def disk_of_the_collector_full(soak, seconds):
    # Less is free than the collector leaves free, so it sends agents away for a minute.
    full(soak, soak.collector_disk, seconds, leave=240 << 20)


def full(soak, disk, seconds, leave):
    ballast = disk / "ballast"
    try:
        with open(ballast, "wb", buffering=0) as file:
            while True:
                left = free(disk) - leave
                if left < 4096 or not file.write(bytes(min(left, 1 << 20))):
                    break
    except OSError:
        pass  # That is it: no space left.
    soak.watch(seconds)
    ballast.unlink()


def free(disk):
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def clock_steps(soak, seconds):
    for ahead in (300, -200, 0):
        # In its place: a program that reads the file must not find it short.
        with open(soak.clock, "r+b") as file:
            file.write(struct.pack("=q", ahead))
        soak.watch(seconds / 3)


def power_cut(soak, seconds):
    """The collector and hosts go dark in the middle of their work; then all begin at once, and more hosts with them."""
    soak.collector.remember()
    soak.collector.kill()
    soak.mortal.kill()
    soak.watch(2)
    for program in [soak.collector, soak.mortal, *soak.crowd]:
        program.start()
    soak.collector.wait_until_ready()
    soak.watch(max(seconds, 12))
    for agent in soak.crowd:
        agent.ask_to_end()
    for agent in soak.crowd:
        agent.wait_for_end()


# In this order a minute of being sent away (a full disk) ends by the power cut.
ALL = [
    collector_killed,
    network_resets,
    agent_killed,
    network_corrupts,
    disk_of_an_agent_full,
    network_stalls,
    clock_steps,
    collector_restarted,
    agent_reloaded,
    network_is_slow,
    disk_of_the_collector_full,
    power_cut,
]
