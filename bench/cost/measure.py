"""What is measured of each profiler beside the load."""

import statistics
import time

from . import host, switch
from .load import Crowd, Load, build, root_ranges
from .stacks import Judge


class Run:
    """All that was measured, by key of the tool: a list of figures, one for each time that it ran."""

    def __init__(self, arguments, folder):
        self.programs, self.peers, self.folder = arguments.programs.resolve(), arguments.peers.resolve(), folder
        self.settle = arguments.settle
        self.arguments = arguments
        self.program = build(folder)
        self.judge = Judge(root_ranges(self.program))
        self.results = {}
        self.failed = {}

    def load(self, seconds):
        # Whatever happens to this program, the load ends.
        return Load(self.program, self.folder, seconds + 600)

    def prepare(self, agent):
        """Sends and converts the host's symbols while both CPUs are free: beside the load it would take many times as long."""
        try:
            agent.start(None)
            time.sleep(self.arguments.warm)
            agent.settle()
        finally:
            agent.stop()
            agent.clean()

    def round(self, tools, judged):
        """Every tool once."""
        with self.load(len(tools) * 300) as load:
            for tool in tools:
                if tool.key in self.failed:
                    continue
                figures = self.attempt(tool, lambda: self.measure(tool, load, judged))
                ratio = self.attempt(tool, lambda: self.ratio(tool, load, self.arguments.pairs, figures["cpu"])) if figures else None
                if ratio is not None:
                    self.keep(tool, figures | ratio)

    def pairs(self, tool, count):
        """More pairs of one tool, for its workload ratio."""
        if not count or not self.results.get(tool.key):
            return
        cpu = statistics.median(figures["cpu"] for figures in self.results[tool.key])
        with self.load(count * 10) as load:
            ratio = self.attempt(tool, lambda: self.ratio(tool, load, count, cpu))
            if ratio is not None:
                self.results[tool.key + " pairs"] = [ratio]

    def crowd(self, tools):
        """Memory and CPU with many processes beside the load."""
        with self.load(len(tools) * 300) as load, Crowd(self.program, self.folder, self.arguments.processes, len(tools) * 300 + 600):
            time.sleep(10)
            for tool in tools:
                figures = None if tool.key in self.failed else self.attempt(tool, lambda: self.measure(tool, load, False))
                if figures is not None:
                    self.results.setdefault(tool.key + " crowd", []).append(figures)

    def attempt(self, tool, measure):
        """A tool that fails is named with what it said, and the rest goes on; only the agent's failure ends the run."""
        try:
            return measure()
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            if tool.key.startswith("agent"):
                host.fail(f"{tool.title}: {error}; it said: {tool.said()}")
            self.failed[tool.key] = str(error)
            host.say(f"{tool.title} failed: {error}")
            return None
        finally:
            tool.stop()
            tool.clean()

    def begin(self, tool, load):
        tool.start(load)
        time.sleep(self.arguments.warm)
        tool.check()
        tool.settle()

    def measure(self, tool, load, judged):
        began = time.monotonic()
        self.begin(tool, load)
        before, start = host.cpu_seconds(tool.pid), time.monotonic()
        time.sleep(self.arguments.seconds)
        wall, after = time.monotonic() - start, host.cpu_seconds(tool.pid)
        figures = {"cpu": 100 * (after - before) / wall, "start": before, **host.memory_mib(tool.pid)}
        tool.check()
        tool.stop()
        if judged:
            figures.update(tool.figures(time.monotonic() - began))
            figures["complete"], figures["judged"] = tool.stacks(self.judge)
        return figures

    def ratio(self, tool, load, pairs, cpu):
        """The workload ratio, from a start of its own: what is recorded meanwhile, half of the time, is no measure of anything else.
        `cpu`: what the tool takes, in % of one core."""
        if not pairs:
            return {}
        self.begin(tool, load)
        inside, error = switch.inside(tool.pid, tool.helpers(), load, pairs, self.arguments.stretch)
        tool.check()
        # What it took itself is taken from the load as well, where all CPUs are busy.
        return {"ratio": inside * (1 - cpu / 100 / load.threads), "error": error}

    def keep(self, tool, figures):
        self.results.setdefault(tool.key, []).append(figures)
        shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items() if value is not None)
        host.say(f"{tool.key}: {shown}")
