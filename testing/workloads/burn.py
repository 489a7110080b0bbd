"""The same three functions as burn.cpp, in Python.

    burn.py SECONDS

Prints `ready`, and at its end the truth as JSON.
"""

import json
import sys
import time

spent = {"burn_hot": 0, "burn_warm": 0, "burn_cool": 0}


def burn_hot():
    start = now = time.thread_time_ns()
    while now - start < 23_100_000:
        total = 0
        for i in range(2000):
            total += i * i
        now = time.thread_time_ns()
    spent["burn_hot"] += now - start


def burn_warm():
    start = now = time.thread_time_ns()
    while now - start < 6_600_000:
        total = 0
        for i in range(2000):
            total += i * i
        now = time.thread_time_ns()
    spent["burn_warm"] += now - start


def burn_cool():
    start = now = time.thread_time_ns()
    while now - start < 3_300_000:
        total = 0
        for i in range(2000):
            total += i * i
        now = time.thread_time_ns()
    spent["burn_cool"] += now - start


def main():
    end = time.monotonic() + float(sys.argv[1])
    print("ready", flush=True)
    while time.monotonic() < end:
        burn_hot()
        burn_warm()
        burn_cool()
    print(json.dumps(spent))


main()
