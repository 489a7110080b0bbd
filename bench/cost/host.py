"""What the kernel says of this machine and of processes."""

import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path


def fail(text):
    sys.exit(f"agent-cost: {text}")


def say(text):
    print(text, file=sys.stderr, flush=True)


def cpus():
    return len(os.sched_getaffinity(0))


def facts():
    """The machine in one line."""
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "unknown CPU")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    virtual = "virtual machine" if " hypervisor" in Path("/proc/cpuinfo").read_text() else "bare metal"
    hardware = "with" if Path("/sys/bus/event_source/devices/cpu").exists() else "without"
    load = Path("/proc/loadavg").read_text().split()[0]
    return (
        f"{cpus()} CPUs ({model}), {virtual}, {memory:.0f} GiB, Linux {platform.release()}, {hardware} hardware counters; "
        f"load average {load} at the start"
    )


def cpu_seconds(pid):
    """CPU time of all living threads, user and system. /proc/PID/stat would count in ticks of 10 ms."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((thread / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 1e9


def memory_mib(pid):
    """Peak resident, anonymous now, and what the kernel holds for the process beside it: perf rings and BPF maps."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    peak, anonymous = (int(fields[name].split()[0]) / 1024 for name in ("VmHWM", "RssAnon"))
    return {"peak": peak, "anonymous": anonymous, "kernel": ring_mib(pid) + bpf_map_mib(pid)}


def ring_mib(pid):
    total = 0
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if "[perf_event]" in line:
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            total += end - start
    return total / 2**20


def bpf_map_mib(pid):
    maps = {}
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if "map_id" in fields and "memlock" in fields:
            maps[fields["map_id"].strip()] = int(fields["memlock"])
    return sum(maps.values()) / 2**20


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    fail("the collector did not start")


def mount_tracing():
    """Mounts debugfs and tracefs where they are not; returns what it mounted, to be unmounted at the end."""
    mounted = []
    known = {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()}
    for kind, place in (("debugfs", "/sys/kernel/debug"), ("tracefs", "/sys/kernel/tracing")):
        if place not in known and subprocess.run(["mount", "-t", kind, kind, place], stderr=subprocess.DEVNULL).returncode == 0:
            mounted.append(place)
    return mounted
