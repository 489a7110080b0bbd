"""The table, the targets and what they were measured with, in Markdown."""

import statistics

from .tools import Lightswitch


def median(runs, name):
    values = [run[name] for run in runs if run.get(name) is not None]
    return statistics.median(values) if values else None


def spread(values, digits):
    """The median, and the least and greatest where there are several."""
    if not values:
        return "-"
    text = f"{statistics.median(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def values(runs, name):
    return [run[name] for run in runs if run.get(name) is not None]


# As it is by default, with inlined functions, and without them.
SCRIPTS = {"script cpu": "perf script", "script without inlined": "perf script --no-inline"}


def together(runs, part):
    """CPU of recording and of this way to read it, of each run that has both."""
    return [run["cpu"] + run[part] for run in runs if part in run]


class Report:
    def __init__(self, run, tools, absent, facts, command):
        self.run, self.tools, self.absent, self.facts, self.command = run, tools, absent, facts, command

    def text(self):
        parts = [self.head(), self.table(), self.crowd(), self.targets()]
        return "\n".join(part for part in parts if part)

    def head(self):
        arguments = self.run.arguments
        lines = [
            f"`{self.command}`",
            "",
            f"{self.facts}. {arguments.rounds} rounds; {arguments.warm:g} s to start, then {arguments.seconds:g} s measured of each;",
            "medians, and in brackets the least and the greatest. Workload ratios: "
            f"{arguments.pairs} pairs of {arguments.stretch:g} s with sampling and {arguments.stretch:g} s without "
            f"({arguments.more_pairs} pairs of the agent at 99 Hz), ± the standard error.",
            "",
        ]
        if arguments.quick:
            lines.insert(0, "**A try (`--quick`): the figures mean nothing.**\n")
        return "\n".join(lines)

    def runs(self, key):
        return self.run.results.get(key, [])

    def ratio(self, key):
        """The workload ratio of the run with most pairs and its standard error, as text; and the first as a number."""
        runs = [run for run in self.runs(key + " pairs") or self.runs(key) if "ratio" in run]
        if not runs:
            return "", None
        ratio = statistics.fmean(values(runs, "ratio"))
        error = sum(value * value for value in values(runs, "error")) ** 0.5 / len(runs)
        return f"{ratio:.4f} ± {error:.4f}", ratio

    def table(self):
        lines = [
            "| | CPU, % of one core | start, s of CPU | workload with it / without | complete stacks, % (samples) | peak memory, MiB | anonymous, MiB | held in the kernel, MiB |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for tool in self.tools:
            runs = self.runs(tool.key)
            if runs:
                lines.append(self.row(tool.title, values(runs, "cpu"), runs, self.ratio(tool.key)[0]))
            for part, command in SCRIPTS.items():
                both = together(runs, part)
                if both:
                    peak = max(median(runs, "peak"), median(runs, "script peak"))
                    lines.append(f"| the same, and `{command}` of it | {spread(both, 3)} | | | {self.complete(runs)} | {peak:.1f} | | |")
        for title, why in self.absent:
            lines.append(f"| {title} | {why} | | | | | | |")
        notes = [f"{tool.title.split(':')[0]} wrote {median(self.runs(tool.key), 'MB/s'):.1f} MB/s." for tool in self.tools if median(self.runs(tool.key), "MB/s")]
        lost = sum(values(self.runs("agent 99"), "lost"))
        notes.append(f"The agent lost {lost:.0f} samples at 99 Hz.")
        return "\n".join([*lines, "", *notes, ""])

    def row(self, title, cpu, runs, ratio):
        complete = "nothing unwound" if values(runs, "script cpu") else self.complete(runs)
        memory = " | ".join(f"{median(runs, name):.1f}" for name in ("peak", "anonymous", "kernel"))
        return f"| {title} | {spread(cpu, 3)} | {median(runs, 'start'):.2f} | {ratio} | {complete} | {memory} |"

    def complete(self, runs):
        share = median(runs, "complete")
        return "-" if share is None else f"{100 * share:.1f} ({sum(values(runs, 'judged')):.0f})"

    def crowd(self):
        lines = [
            f"With {self.run.arguments.processes} processes beside the load:",
            "",
            "| | CPU, % of one core | start, s of CPU | peak memory, MiB | anonymous, MiB | held in the kernel, MiB |",
            "|---|---|---|---|---|---|",
        ]
        for tool in self.tools:
            runs = self.runs(tool.key + " crowd")
            if runs:
                memory = " | ".join(f"{median(runs, name):.1f}" for name in ("peak", "anonymous", "kernel"))
                lines.append(f"| {tool.title} | {median(runs, 'cpu'):.3f} | {median(runs, 'start'):.2f} | {memory} |")
        return "\n".join([*lines, ""])

    def targets(self):
        cpu = {tool.key: median(self.runs(tool.key), "cpu") for tool in self.tools}
        agent = cpu.get("agent 99")
        shown, ratio = self.ratio("agent 99")
        crowd = median(self.runs("agent 99 crowd"), "anonymous")
        lines = ["| target | measured | |", "|---|---|---|"]
        lines.append(self.target("99 Hz: at most 0.25 % of one core", agent, 0.25, "{:.3f} %"))
        lines.append(self.target("19 Hz: at most 0.12 % of one core", cpu.get("agent 19"), 0.12, "{:.3f} %"))
        if ratio:
            lines.append(f"| 99 Hz: workload ratio at least 0.995 | {shown} | {verdict(ratio >= 0.995)} |")
        lines.append(self.target(f"{self.run.arguments.processes} processes: at most 40 MB anonymous", crowd and crowd * 1.048576, 40, "{:.1f} MB"))
        for hertz, theirs in ((19, 19), (99, 97)):
            for mode in Lightswitch.MODES:
                for bare in ("", " bare"):
                    title = f"one eighth of lightswitch ({theirs} Hz, {mode}) at {hertz} Hz{', CPU time only' if bare else ''}"
                    lines.append(self.share(title, cpu.get(f"agent {hertz}{bare}"), cpu.get(f"lightswitch {theirs} {mode}"), 1 / 8))
        for size in ("8192", "65528"):
            for part, command in SCRIPTS.items():
                both = together(self.runs(f"perf {size}"), part)
                other = statistics.median(both) if both else None
                lines.append(self.share(f"one fifth of `perf record` with `{command}`, {size} B of stack, at 99 Hz", agent, other, 1 / 5))
        return "\n".join([*lines, ""])

    def target(self, title, value, limit, form):
        if value is None:
            return f"| {title} | not measured | |"
        return f"| {title} | {form.format(value)} | {verdict(value <= limit)} |"

    def share(self, title, value, other, limit):
        if value is None or not other:
            return f"| {title} | not measured | |"
        return f"| {title} | {value:.3f} / {other:.3f} = {value / other:.3f} (limit {limit:.3f}) | {verdict(value / other <= limit)} |"


def verdict(met):
    return "met" if met else "**not met**"
