"""Which share of the load's samples each profiler followed to their root, read from its own output.

A stack is complete when its outermost frame is the program's entry (`_start`) or a thread's start (`clone3`): by name, or
by an address inside that function where a profiler gives no names.
"""

import gzip
import json
import re

from .load import NAME, ROOTS


class Judge:
    def __init__(self, ranges):
        self.ranges = ranges

    def is_root(self, name):
        if name in ROOTS:
            return True
        found = re.fullmatch(rf"(?:{NAME}|libc\.so\.6)\+0x([0-9a-f]+)", name or "")
        return bool(found) and self.is_root_address(int(found[1], 16))

    def is_root_address(self, address):
        return any(start <= address < end for start, end in self.ranges)

    def share(self, roots):
        """Share of complete ones among `(is_root, samples)`, and how many samples that judges."""
        roots = list(roots)
        samples = sum(weight for _, weight in roots)
        complete = sum(weight for is_root, weight in roots if is_root)
        return (complete / samples, samples) if samples else (None, 0)

    def folded(self, text):
        """Lines of frames, root first, and a value. Behind the place of a truncation stands the frame that says so."""
        lines = (line.rpartition(" ") for line in text.splitlines() if " " in line)
        return self.share((self.is_root(stack.split(";")[0]), int(value)) for stack, _, value in lines)

    def perf_script(self, lines):
        """`perf script -F comm,ip,sym`: a line with the name, a line for each frame, leaf first, an empty line."""
        roots, last, inside = [], None, False
        for line in lines:
            if not line.strip():
                if inside:
                    roots.append((self.is_root(last), 1))
                inside, last = False, None
            elif not inside:
                inside = True
            else:
                last = line.split(maxsplit=1)[1].strip() if len(line.split(maxsplit=1)) > 1 else None
        return self.share(roots)

    def firefox(self, path):
        """The Firefox profiler's format, as samply writes it: unsymbolized, addresses relative to their library."""
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            profile = json.load(file)
        shared = profile.get("shared", {})
        roots = []
        for thread in profile["threads"]:
            if NAME not in (thread.get("processName"), thread.get("name")):
                continue
            table = lambda name: thread.get(name) or shared[name]
            prefix, frame = table("stackTable")["prefix"], table("stackTable")["frame"]
            addresses = table("frameTable")["address"]
            weights = thread["samples"].get("weight") or [1] * len(thread["samples"]["stack"])
            for stack, weight in zip(thread["samples"]["stack"], weights):
                if stack is None:
                    continue
                while prefix[stack] is not None:
                    stack = prefix[stack]
                roots.append((self.is_root_address(addresses[frame[stack]]), weight or 1))
        return self.share(roots)

    def pprof(self, data):
        """profile.proto, as lightswitch writes it: those samples that have a frame in the load's program."""
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        top = list(fields(data))
        strings = [value.decode(errors="replace") for number, value in top if number == 6]
        mappings = {one.get(1): strings[one.get(5, 0)] for one in (dict(fields(value)) for number, value in top if number == 3)}
        functions = {one.get(1): strings[one.get(2, 0)] for one in (dict(fields(value)) for number, value in top if number == 5)}
        locations = {}
        for location in (dict(fields(value)) for number, value in top if number == 4):
            function = dict(fields(location.get(4, b""))).get(1)
            locations[location.get(1)] = (functions.get(function, ""), mappings.get(location.get(2), ""), location.get(3, 0))
        roots = []
        for sample in (list(fields(value)) for number, value in top if number == 2):
            stack = [locations[one] for one in packed(sample, 1) if one in locations]
            if any(mapping.endswith(NAME) for _, mapping, _ in stack):
                name, _, address = stack[-1]
                roots.append((self.is_root(name) or self.is_root_address(address), packed(sample, 2)[0]))
        return self.share(roots)


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """The fields of a protobuf message: `(number, value)`, bytes or an integer."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            size = 8 if kind == 1 else 4
            value, at = int.from_bytes(data[at : at + size], "little"), at + size
        yield key >> 3, value


def packed(message, number):
    """A repeated integer field, packed or not."""
    values = []
    for found, value in message:
        if found == number and isinstance(value, int):
            values.append(value)
        elif found == number:
            at = 0
            while at < len(value):
                one, at = varint(value, at)
                values.append(one)
    return values
