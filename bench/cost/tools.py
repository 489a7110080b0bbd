"""The profilers, each started, stopped and judged in its own way."""

import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

from . import host
from .load import NAME, QUIET


class Tool:
    """A profiler at one setting. `start` and `stop` may be called again and again."""

    key = ""  # under which its figures stand
    title = ""  # as the table names it
    hertz = 99

    def __init__(self, setup):
        self.setup = setup
        self.folder = setup.folder
        self.process = None

    def launch(self, command, **options):
        self.log = open(self.folder / f"{self.key.replace(' ', '-')}.log", "wb")
        command = [str(word) for word in command]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, **options)
        self.pid = self.process.pid

    def check(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.title} ended by itself: {self.said()}")

    def said(self):
        return " / ".join(Path(self.log.name).read_text(errors="replace").strip().splitlines()[-3:])[-500:]

    def settle(self):
        """Waits for helpers that only its start keeps busy."""

    def helpers(self):
        """Process ids of what runs because of it, and would run on another machine."""
        return ()

    def stop(self):
        """Ends it as its user would, and waits for what it writes at its end."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=90)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def figures(self, seconds):
        """More figures, once it has stopped; `seconds`: how long it recorded."""
        return {}

    def stacks(self, judge):
        """`(share of complete stacks, samples judged)`."""
        return None, 0

    def clean(self):
        """Removes what it left."""


class Agent(Tool):
    """`bare`: without the memory of processes and page faults, which other profilers do not read either."""

    def __init__(self, setup, hertz, bare=False):
        super().__init__(setup)
        self.hertz, self.bare = hertz, bare
        self.key = f"agent {hertz}{' bare' if bare else ''}"
        self.title = f"flamekeeper-agent, {hertz} Hz{', CPU time only' if bare else ''}: unwound, folded, shipped"

    def start(self, load):
        self.data, self.state = self.folder / "data", self.folder / "state"  # Of all agents alike.
        self.clean()
        self.port = host.free_port()
        collector = [self.setup.programs / "flamekeeper", "collector", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.data]
        self.collector = subprocess.Popen([str(word) for word in collector], **QUIET)
        host.wait_for_port(self.port)
        # Measured at the frequency that the row says: its own ceiling must not lower it.
        agent = [self.setup.programs / "flamekeeper-agent", "--frequency-hz", self.hertz, "--budget-cpu-percent", 100, "--state-dir", self.state]
        if self.bare:
            configuration = self.folder / "bare.toml"
            configuration.write_text("[memory]\nlevels = false\npage_faults = 0\n")
            agent += ["--config", configuration]
        self.launch([*agent, "--collector", f"http://127.0.0.1:{self.port}"])

    def settle(self):
        """Symbols of a host are sent and converted once, and then no more: that must not disturb what is measured. Says so when it
        does not end."""
        calm = 0
        for _ in range(self.setup.settle):
            before = self.collecting()
            time.sleep(1)
            calm = calm + 1 if self.collecting() - before < 0.05 and self.uploads() == 0 else 0
            if calm == 3:
                return
        host.say(f"{self.title}: symbols are still on their way after {self.setup.settle} s; this round is disturbed by them")

    def helpers(self):
        return (self.collector.pid,)

    def collecting(self):
        """CPU seconds of the collector and of the processes that convert for it."""
        words = Path(f"/proc/{self.collector.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ended = sum(int(word) for word in words[13:15]) / os.sysconf("SC_CLK_TCK")
        children = subprocess.run(["pgrep", "-P", str(self.collector.pid)], capture_output=True, text=True).stdout.split()
        running = 0
        for child in children:
            try:
                running += host.cpu_seconds(int(child))
            except OSError:
                pass  # It has ended since: the next second sees it among those.
        return host.cpu_seconds(self.collector.pid) + ended + running

    def uploads(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/status", timeout=30) as answer:
            return json.load(answer)["uploads"]["under_way"]

    def stop(self):
        super().stop()
        if self.collector is not None:
            self.answer = self.ask()
            self.collector.terminate()
            self.collector.wait()
            self.collector = None

    def ask(self):
        query = urllib.parse.urlencode({"query": f'{{comm="{NAME}"}}', "from": "-1h", "format": "folded"})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/flamegraph?{query}", timeout=30) as answer:
                folded = answer.read().decode()
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/flamegraph?{query.replace('folded', 'json')}", timeout=30) as answer:
                return folded, json.load(answer)["completeness"]
        except OSError as error:
            host.say(f"{self.title}: its collector did not answer: {error}")
            return "", {}

    def figures(self, seconds):
        return {"lost": sum(self.answer[1].get("lost", {}).values())}

    def stacks(self, judge):
        return judge.folded(self.answer[0])[0], self.answer[1].get("samples", 0)

    def clean(self):
        """Leaves the collector its symbols: those that one agent sent are not sent by the next."""
        shutil.rmtree(self.state, ignore_errors=True)
        for part in self.data.glob("*"):
            if part.name != "symbols":
                shutil.rmtree(part, ignore_errors=True)


class Perf(Tool):
    def __init__(self, setup, bytes_of_stack):
        super().__init__(setup)
        self.bytes = bytes_of_stack
        self.key, self.title = f"perf {bytes_of_stack}", f"`perf record`, 99 Hz, {bytes_of_stack} B of stack: nothing unwound"
        self.recording = self.folder / "perf.data"

    def start(self, load):
        call_graph = f"dwarf,{self.bytes}"
        self.launch(["perf", "record", "-q", "-a", "-F", self.hertz, "--call-graph", call_graph, "-o", self.recording])

    def figures(self, seconds):
        (plain, peak), (bare, _) = self.script(), self.script("--no-inline")
        cpu, bare = (100 * taken / seconds for taken in (plain, bare))
        return {"script cpu": cpu, "script without inlined": bare, "script peak": peak, "MB/s": self.recording.stat().st_size / seconds / 1e6}

    def script(self, *options):
        """CPU seconds that `perf script` takes of the recording, and its peak memory in MiB."""
        script = subprocess.Popen(["perf", "script", *options, "-i", str(self.recording)], **QUIET)
        _, status, usage = os.wait4(script.pid, 0)
        script.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

    def stacks(self, judge):
        command = ["perf", "script", "--no-inline", "--comm", NAME, "-F", "comm,ip,sym", "-i", str(self.recording)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as script:
            return judge.perf_script(script.stdout)

    def clean(self):
        for path in self.folder.glob("perf.data*"):
            path.unlink()


class Lightswitch(Tool):
    """In one of its modes: `kept` aggregates in memory until it ends, `shipped` sends what it has every five seconds without
    names, as the agent does, and `named` looks the names up on the host before, which is its default."""

    MODES = {
        "kept": "aggregated, kept in memory",
        "shipped": "aggregated, shipped",
        "named": "aggregated, named, shipped",
    }

    def __init__(self, setup, hertz, mode):
        super().__init__(setup)
        self.hertz, self.mode = hertz, mode
        self.key, self.title = f"lightswitch {hertz} {mode}", f"lightswitch, {hertz} Hz: unwound in BPF, {self.MODES[mode]}"
        self.output = self.folder / "lightswitch.pb"
        self.sink = None

    def start(self, load):
        command = [self.setup.peers / "bin" / "lightswitch", "--sample-freq", self.hertz, "--duration", "3600"]
        if self.mode == "kept":
            command += ["--profile-format", "pprof", "--profile-path", self.folder, "--profile-name", self.output.name]
        else:
            self.sink = Sink()
            command += ["--sender", "remote", "--server-url", self.sink.url, "--symbolizer", "local" if self.mode == "named" else "none"]
        self.launch(command, cwd=self.folder)

    def stop(self):
        super().stop()
        if self.sink is not None:
            self.sink.close()

    def stacks(self, judge):
        if self.sink is None:
            profiles = [self.output.read_bytes()] if self.output.exists() else []
        else:
            profiles = self.sink.bodies
        judged = [judge.pprof(profile) for profile in profiles]
        samples = sum(count for _, count in judged)
        complete = sum(share * count for share, count in judged if share is not None)
        return (complete / samples, samples) if samples else (None, 0)

    def clean(self):
        self.output.unlink(missing_ok=True)
        self.sink = None


class Sink:
    """Takes what is posted, in a thread of this program."""

    def __init__(self):
        bodies = self.bodies = []

        class Take(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Take)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Samply(Tool):
    key, title = "samply 99", "samply, 99 Hz: one process only, unwound, kept in memory"

    # It refuses to start where this is above 1, even as root.
    PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")

    def start(self, load):
        self.output = self.folder / "samply.json.gz"
        self.paranoid = self.PARANOID.read_text()
        self.PARANOID.write_text("1")
        command = [self.setup.peers / "bin" / "samply", "record", "--save-only", "--rate", self.hertz, "-o", self.output]
        self.launch([*command, "-p", load.process.pid])

    def stop(self):
        super().stop()
        self.PARANOID.write_text(self.paranoid)

    def stacks(self, judge):
        return judge.firefox(self.output) if self.output.exists() else (None, 0)

    def clean(self):
        self.output.unlink(missing_ok=True)
