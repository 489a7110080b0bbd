"""What the soak comes to: the ledger, what was used, and the verdict."""

import statistics

MIB = 1 << 20
# What memory may grow by from the second third of the run to the last: an allocator's arenas. An agent's is without its caches, which hold
# what it knows of programs that others begin on this host, and have a ceiling.
GROWTH = {"collector": 64 * MIB, "agent": 16 * MIB}
SHARE = 0.25
# The agent's budget, by default.
CEILING = 128 * MIB
FILES = {"collector": 64, "agent": 8}


class Report:
    def __init__(self):
        self.lines, self.failures = [], []

    def say(self, name, value=""):
        self.lines.append(f"  {name:<54} {value}")

    def check(self, name, holds, value=""):
        self.say(name, value if holds else f"{value}   FAILED")
        if not holds:
            self.failures.append(name)

    def text(self, head):
        verdict = "FAILED: " + "; ".join(self.failures) if self.failures else "ok"
        return "\n".join([f"{head}: {verdict}", *self.lines]) + "\n"


def ledger(report, soak, status, hosts):
    """Taken by the agents' own accounts against what the collector has."""
    agents = [*soak.agents, *soak.crowd]
    lost = dict(sorted(status["lost"].items()))
    report.say("samples taken, by the collector", status["samples_taken"])
    report.say("  stored", status["samples_stored"])
    for reason, count in lost.items():
        report.say(f"  lost: {reason}", count)
    report.check("taken = stored + lost", status["samples_taken"] == status["samples_stored"] + sum(lost.values()), "yes")
    report.say("lost and not told yet", sum(agent.owed() for agent in agents))
    report.check("lost for good on the way", lost.get("refused", 0) + lost.get("spool_corrupt", 0) == 0, "none")
    for agent in agents:
        balance(report, soak, agent, hosts.get(agent.name, {}))
    report.say("batches sent again, known and counted once", soak.collector.known_again)
    refused = soak.collector.refused
    report.say("requests not taken, by reason", ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items())) or "none")


def balance(report, soak, agent, host):
    """An agent that was never killed balances exactly. A SIGKILL cuts off the window that is open and what it had not written."""
    arrived = host.get("samples", 0) + sum(host.get("lost", {}).values()) + agent.owed()
    missing = agent.said() - arrived
    if agent.killed == 0:
        if agent not in soak.crowd or missing != 0:
            report.check(f"{agent.name}: said {agent.said()}, missing or twice", missing == 0, missing)
        return
    # Its frequency on every CPU, for the window that was open, one that was being written, and the moment of the look.
    most = agent.killed * soak.cpus * soak.hertz * (2 * agent.window + 5)
    report.check(f"{agent.name}: said {agent.said()}, cut off by {agent.killed} SIGKILL", -most <= missing <= most, f"{missing} (of {most} at most)")


def flat(report, watched):
    for name, series in sorted(watched.items()):
        kind = "collector" if name == "collector" else "agent"
        third = len(series) // 3
        if third < 5:
            continue
        for what, place, allowed, unit in (("memory", 0, GROWTH[kind], MIB), ("open files", 1, FILES[kind], 1)):
            # What is taken for a moment and given back says nothing of growth: the lower quartile.
            middle, last = (statistics.quantiles((look[place] for look in part), n=4)[0] for part in (series[third : 2 * third], series[-third:]))
            holds = last <= middle + max(allowed, SHARE * middle)
            if unit == MIB and kind == "agent":
                holds = holds and max(look[place] for look in series) <= CEILING
            shown = f"{middle / unit:.1f} MiB, then {last / unit:.1f} MiB" if unit == MIB else f"{middle:.0f}, then {last:.0f}"
            report.check(f"{name}: {what}{' without caches' if unit == MIB and kind == 'agent' else ''}, second and last third", holds, shown)
