"""Measures what profilers cost: see bench/agent-cost."""
