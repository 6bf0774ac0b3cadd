"""Writes .proto files from the published contract (the CSV files under tests/fixtures/wire), and nothing else.

Rows that are additions of this project are left out: what is generated from these files knows only what was published.
Our own .proto files are not read.
"""

import csv
import pathlib

EVENTS = "rodent.events."


def rows(directory, name):
    with open(pathlib.Path(directory) / name, newline="") as file:
        return [row for row in csv.DictReader(file) if row.get("origin", "published") == "published"]


def write(directory, target):
    fields, enums = {}, {}
    for row in rows(directory, "fields.csv"):
        fields.setdefault(row["message"], []).append(row)
    for row in rows(directory, "enums.csv"):
        enums.setdefault(row["enum"], []).append(row)
    services = rows(directory, "services.csv")

    events = ['syntax = "proto3";', "package rodent.events;"]
    base = ['syntax = "proto3";', "package rodent;", 'import "proto/events/event_messages.proto";']
    for name, values in enums.items():
        if name.rsplit(".", 1)[0] not in fields:
            (events if name.startswith(EVENTS) else base).extend(enum(name, values))
    for name, members in fields.items():
        nested = {n: v for n, v in enums.items() if n.rsplit(".", 1)[0] == name}
        (events if name.startswith(EVENTS) else base).extend(message(name, members, nested))
    for name in sorted({row["service"] for row in services}):
        base.extend(service(name, [row for row in services if row["service"] == name]))

    target = pathlib.Path(target)
    (target / "proto/events").mkdir(parents=True, exist_ok=True)
    (target / "proto/base.proto").write_text("\n".join(base) + "\n")
    (target / "proto/events/event_messages.proto").write_text("\n".join(events) + "\n")


def enum(name, values):
    # proto3 wants the zero value first.
    values = sorted(values, key=lambda row: int(row["number"]))
    return [f"enum {short(name)} {{"] + [f"  {row['name']} = {row['number']};" for row in values] + ["}"]


def message(name, members, nested):
    lines = [f"message {short(name)} {{"]
    for enum_name, values in nested.items():
        lines += enum(enum_name, values)
    for row in members:
        if not row["oneof"]:
            lines.append(field(row))
    for oneof in dict.fromkeys(row["oneof"] for row in members if row["oneof"]):
        lines += [f"oneof {oneof} {{"] + [field(row) for row in members if row["oneof"] == oneof] + ["}"]
    return lines + ["}"]


def field(row):
    kind = row["type"] if "." not in row["type"] or "<" in row["type"] else "." + row["type"]
    label = "repeated " if row["label"] == "repeated" else ""
    return f"  {label}{kind} {row['name']} = {row['number']};"


def service(name, methods):
    def side(kind, streaming):
        return f"({'stream ' if streaming == 'True' else ''}.{kind})"

    return [f"service {short(name)} {{"] + [
        f"  rpc {m['method']} {side(m['request'], m['client_streaming'])} returns {side(m['response'], m['server_streaming'])};"
        for m in methods
    ] + ["}"]


def short(name):
    return name.rsplit(".", 1)[1]
