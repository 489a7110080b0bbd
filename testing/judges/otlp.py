"""Reads an OTLP profiles request with OpenTelemetry's own Python messages and checks the format's rules.

usage: otlp.py FILE (the body of a request, gzip or not); prints what it holds as one line of JSON, fails with the broken rule.
"""

import gzip
import json
import sys

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest

TABLES = ["mapping_table", "location_table", "function_table", "link_table", "attribute_table", "stack_table"]


def check(holds, rule):
    if not holds:
        sys.exit(f"broken rule: {rule}")


def main():
    body = open(sys.argv[1], "rb").read()
    if body[:2] == b"\x1f\x8b":
        body = gzip.decompress(body)
    request = ExportProfilesServiceRequest.FromString(body)
    tables = request.dictionary
    check(tables.string_table[0] == "", "string 0 is empty")
    check(len(set(tables.string_table)) == len(tables.string_table), "no string stands twice")
    for name in TABLES:
        table = getattr(tables, name)
        check(table[0] == type(table[0])(), f"element 0 of {name} is the zero value")
        check(len({entry.SerializeToString() for entry in table}) == len(table), f"no entry of {name} stands twice")
    used = {0}
    services, samples, ledger, figures = {}, 0, {}, {}
    for resource in request.resource_profiles:
        labels = {a.key: a.value.string_value or a.value.int_value for a in resource.resource.attributes}
        for scope in resource.scope_profiles:
            for profile in scope.profiles:
                check(profile.time_unix_nano > 0 and profile.duration_nano > 0, "a profile has a time and a duration")
                kind = tables.string_table[profile.sample_type.type_strindex]
                for sample in profile.samples:
                    check(len(sample.values) + len(sample.timestamps_unix_nano) > 0, "a sample has a value")
                    used.add(sample.stack_index)
                    value = sum(sample.values)
                    if scope.scope.name == "flamekeeper.ledger":
                        [attribute] = [tables.attribute_table[i] for i in sample.attribute_indices]
                        counts = {"flamekeeper.ledger.entry": ledger, "flamekeeper.agent.figure": figures}[tables.string_table[attribute.key_strindex]]
                        counts[attribute.value.string_value] = counts.get(attribute.value.string_value, 0) + value
                    elif kind == "samples":
                        service = labels["service.name"]
                        services[service] = services.get(service, 0) + value
                        samples += value
    check(used == set(range(len(tables.stack_table))), "every stack is used by a sample")
    locations = {0} | {i for stack in tables.stack_table for i in stack.location_indices}
    check(locations == set(range(len(tables.location_table))), "every location is used by a stack")
    for location in tables.location_table[1:]:
        if location.mapping_index:
            mapping = tables.mapping_table[location.mapping_index]
            check(mapping.memory_start <= location.address < mapping.memory_limit, "an address lies within its mapping")
        for line in location.lines:
            check(0 < line.function_index < len(tables.function_table), "a line has a function")
    print(json.dumps({"samples": samples, "services": services, "ledger": ledger, "figures": figures}))


main()
