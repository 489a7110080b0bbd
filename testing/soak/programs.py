"""The programs under test, and what can be seen of them from outside."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

ENDED = re.compile(r"sampling has ended.* samples=(\d+) lost=(\d+)")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, seconds, check):
    until = time.monotonic() + seconds
    while not (value := check()):
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.2)
    return value


def get(port, path, seconds=20):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=seconds) as answer:
        return answer.read().decode()


class Program:
    """A program that is started again and again; what it says is in one file."""

    def __init__(self, name, folder, command, env=None):
        self.name, self.command, self.env = name, command, {**os.environ, **(env or {})}
        self.log = Path(folder) / f"{name}.log"
        self.process, self.ends = None, []

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def signal(self, number):
        self.process.send_signal(number)

    def ask_to_end(self):
        if self.runs():
            self.signal(signal.SIGTERM)

    def wait_for_end(self, seconds=60):
        """What was asked to end and does not is a failure that the report tells."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            code = "no end"
        if code != 0:
            self.ends.append(code)

    def memory(self):
        """Anonymous memory in bytes; none where it does not run."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) << 10
        except (OSError, TypeError, AttributeError):
            return None

    def files(self):
        try:
            return len(os.listdir(f"/proc/{self.process.pid}/fd"))
        except (OSError, AttributeError):
            return None


class Collector(Program):
    def __init__(self, folder, programs, disk):
        self.port = free_port()
        command = [programs / "flamekeeper", "collector", "--config", folder / "collector.toml", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--data-dir", disk / "collector", "--retention-min-free-bytes", "256MiB", "--memory", "512MiB"]
        super().__init__("collector", folder, command)
        # Of the runs before: batches that were sent again, and what was refused by reason.
        self.known_again, self.refused = 0, {}

    def wait_until_ready(self):
        def ready():
            if not self.runs():
                raise RuntimeError(f"the collector ended by itself ({self.process.returncode}); see {self.log}")
            try:
                return get(self.port, "/readyz", 2)
            except OSError:
                return None

        wait_for("the collector to be ready", 120, ready)

    def ask(self, path):
        return json.loads(get(self.port, path))

    def remember(self):
        """What it counts since its start: to be called before its end."""
        status = self.ask("/api/v1/status")
        self.known_again += status["duplicates"]
        for reason, count in status["refused"].items():
            self.refused[reason] = self.refused.get(reason, 0) + count


class Agent(Program):
    """An agent of a host of its own name. `killed` says in how many windows a SIGKILL has cut samples off."""

    def __init__(self, folder, programs, proxy, name, disk=None, window=2, arguments=(), env=None, metrics=True):
        self.state = (disk or folder) / name
        self.settings, self.window, self.killed, self.cut_runs = folder / f"{name}.toml", window, 0, 0
        self.settings.write_text("")
        self.metrics = free_port() if metrics else None
        command = [programs / "flamekeeper-agent", "--config", self.settings, "--collector", f"http://127.0.0.1:{proxy.port}"]
        command += ["--state-dir", self.state, "--host-name", name, "--window", f"{window}s", "--symbols-upload", "false"]
        command += ["--stack-bytes", "8KiB", "--ring-bytes", "1MiB", "--budget-cpu-percent", "1", *arguments]
        command += ["--metrics-listen", f"127.0.0.1:{self.metrics}"] if metrics else []
        super().__init__(name, folder, command, env)

    def kill(self):
        """Ends it at once, and remembers what it had taken in this run."""
        try:
            figures = get(self.metrics, "/metrics", 5)
            self.cut_runs += int(float(re.search(r"^flamekeeper_agent_samples_total (\S+)", figures, re.M)[1]))
        except (OSError, TypeError):
            pass  # It had only begun.
        self.killed += 1
        super().kill()

    def memory(self):
        """Anonymous memory without its caches, which follow the programs that others begin on this host; none where it does not run."""
        try:
            figures = get(self.metrics, "/metrics", 5)
            return max(super().memory() - int(float(re.search(r"^flamekeeper_agent_cache_bytes (\S+)", figures, re.M)[1])), 0)
        except (OSError, TypeError):
            return None

    def said(self):
        """Samples taken in all its runs, by its own account; of runs that were cut off, as of right before."""
        return self.cut_runs + sum(int(match[1]) for match in ENDED.finditer(self.log.read_text(errors="replace")))

    def ship_rest(self, port):
        """Sends what is left in the spool as the agent would at its next start: a batch whose answer was lost is there, and stored too.
        The format is that of agent/src/spool/file.rs."""
        for path in sorted((self.state / "spool").glob("*.batch")):
            content = path.read_bytes()
            length = int.from_bytes(content[8:12], "little")
            headers = {"Idempotency-Key": json.loads(content[16 : 16 + length])["batch"], "Content-Encoding": "gzip"}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1development/profiles", content[16 + length :], headers)
            urllib.request.urlopen(request, timeout=60).close()
            path.unlink()

    def spooled(self):
        """Samples of batches that wait."""
        names = [path.stem for path in (self.state / "spool").glob("*.batch")]
        return sum(int(name.rsplit("-", 1)[1]) for name in names)

    def owed(self):
        """Samples whose loss no batch has told yet."""
        try:
            return json.loads((self.state / "spool/state.json").read_text())["owed"]["taken"]
        except (OSError, ValueError, KeyError):
            return 0
