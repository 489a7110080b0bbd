"""Python code of known shape: short functions, calls through C, recursion, threads.

    nested.py SECONDS FILE

Writes the truth into the file as JSON at its end: CPU time in nanoseconds by part. The short functions are called 7, 2 and 1
times in a row and have the same body, so that their shares are 70, 20 and 10 % without being measured, which would cost more
than they do.
"""

import functools
import json
import sys
import threading
import time

spent = {}


def measured(part, body):
    start = time.thread_time_ns()
    body()
    spent[part] = spent.get(part, 0) + time.thread_time_ns() - start


def short_a(n):
    a = n * 3 + 1
    b = (a ^ n) + 7
    c = (b * b) & 1023
    d = (c + a) % 61
    e = (d * 5 + c) & 255
    return a + b + c + d + e


def short_b(n):
    a = n * 3 + 1
    b = (a ^ n) + 7
    c = (b * b) & 1023
    d = (c + a) % 61
    e = (d * 5 + c) & 255
    return a + b + c + d + e


def short_c(n):
    a = n * 3 + 1
    b = (a ^ n) + 7
    c = (b * b) & 1023
    d = (c + a) % 61
    e = (d * 5 + c) & 255
    return a + b + c + d + e


def shorts():
    for n in range(4000):
        short_a(n)
        short_b(n)
        short_a(n)
        short_a(n)
        short_c(n)
        short_a(n)
        short_a(n)
        short_b(n)
        short_a(n)
        short_a(n)


def spin():
    total = 0
    for i in range(300):
        total += i * i
    return total


def key_function(n):
    spin()
    return -n


def through_sort():
    sorted(range(40), key=key_function)


def add(left, right):
    spin()
    return left + right


def through_reduce():
    functools.reduce(add, range(40))


def numbers():
    for n in range(40):
        spin()
        yield n


def through_generator():
    sum(numbers())


class Thing:
    def __init__(self):
        spin()


def through_init():
    for _ in range(40):
        Thing()


def bottom():
    for _ in range(40):
        spin()


def dig(depth):
    if depth == 0:
        return bottom()
    return dig(depth - 1)


def through_recursion():
    dig(49)


def one_line():
    sum(range(20000))


def left(end):
    while time.monotonic() < end:
        spin()


def right(end):
    while time.monotonic() < end:
        spin()


def on_thread(part, body, end):
    threading.Thread(target=measured, args=(part, functools.partial(body, end))).start()


def main():
    now = time.monotonic()
    end = now + float(sys.argv[1])
    # For a quarter of the time three threads share the interpreter's lock.
    on_thread("left", left, now + (end - now) / 4)
    on_thread("right", right, now + (end - now) / 4)
    while time.monotonic() < end:
        measured("shorts", shorts)
        measured("through_sort", through_sort)
        measured("through_reduce", through_reduce)
        measured("through_generator", through_generator)
        measured("through_init", through_init)
        measured("through_recursion", through_recursion)
        measured("one_line", one_line)
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    with open(sys.argv[2], "w") as file:
        json.dump(spent, file)


main()
