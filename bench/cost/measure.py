"""Segments of a run: the load alone, and the load with a profiler."""

import time

from . import host
from .load import Crowd, Load, build, pair_ratio, root_ranges
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

    def alone(self, load):
        """The load's rates without a profiler."""
        time.sleep(1)
        before = load.counts()
        time.sleep(self.arguments.off)
        return load.rates(before, load.counts())

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
        """Every tool once, between two stretches of the load alone."""
        with self.load(len(tools) * 300) as load:
            before = self.alone(load)
            for tool in tools:
                if tool.key in self.failed:
                    continue
                figures = self.attempt(tool, lambda: self.measure(tool, load, judged))
                after = self.alone(load)
                if figures is not None:
                    figures["ratio"] = pair_ratio(figures.pop("rates"), (before, after))
                    self.keep(tool, figures)
                before = after

    def pairs(self, tool, count):
        """A B A B: the load alone and with the tool, for the ratio only."""
        with self.load(count * 120) as load:
            before = self.alone(load)
            for _ in range(count):
                figures = self.attempt(tool, lambda: self.measure(tool, load, False))
                after = self.alone(load)
                if figures is not None:
                    self.results.setdefault(tool.key + " pairs", []).append({"ratio": pair_ratio(figures["rates"], (before, after))})
                before = after

    def crowd(self, tools):
        """Memory and CPU with many processes beside the load."""
        with self.load(len(tools) * 300) as load, Crowd(self.program, self.folder, self.arguments.processes, len(tools) * 300 + 600):
            time.sleep(self.arguments.off)
            for tool in tools:
                figures = None if tool.key in self.failed else self.attempt(tool, lambda: self.measure(tool, load, False))
                if figures is not None:
                    figures.pop("rates")
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

    def measure(self, tool, load, judged):
        began = time.monotonic()
        tool.start(load)
        time.sleep(self.arguments.warm)
        tool.check()
        tool.settle()
        before, count, start = host.cpu_seconds(tool.pid), load.counts(), time.monotonic()
        time.sleep(self.arguments.seconds)
        wall, after, counted = time.monotonic() - start, host.cpu_seconds(tool.pid), load.counts()
        memory = host.memory_mib(tool.pid)
        tool.check()
        tool.stop()
        figures = {"cpu": 100 * (after - before) / wall, "start": before, **memory, "rates": load.rates(count, counted)}
        if judged:
            figures.update(tool.figures(time.monotonic() - began))
            figures["complete"], figures["judged"] = tool.stacks(self.judge)
        return figures

    def keep(self, tool, figures):
        self.results.setdefault(tool.key, []).append(figures)
        shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items() if value is not None)
        host.say(f"{tool.key}: {shown}")
