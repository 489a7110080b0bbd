"""Touches a known amount of fresh memory in a function of Python code: touch.py SECONDS.

Says ready, works, and prints the truth as JSON: bytes by function.
"""

import json
import mmap
import sys
import time

BYTES = 4 << 20


def touch_pages():
    with mmap.mmap(-1, BYTES) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(0, BYTES, 4096):
            memory[page] = 1
    return BYTES


def main():
    print("ready", flush=True)
    end, touched = time.monotonic() + float(sys.argv[1]), 0
    while time.monotonic() < end:
        touched += touch_pages()
        time.sleep(0.02)
    print(json.dumps({"touch_pages": touched}))


main()
