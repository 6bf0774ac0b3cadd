"""A controller that is not ours: Google's gRPC for Python over code generated from the published contract.

server.py WIRE WORK FAILURES: WIRE holds the CSV files, WORK takes generated code; the first FAILURES calls of SendEvents are
refused as UNAVAILABLE. Prints one JSON object a line: the port it listens on, then every call it gets.
"""

import concurrent.futures
import json
import pathlib
import subprocess
import sys

import contract
import grpc

wire, work, failures = sys.argv[1], sys.argv[2], int(sys.argv[3])
contract.write(wire, work)
protos = ["proto/base.proto", "proto/events/event_messages.proto"]
subprocess.run(
    [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=.", *protos], cwd=work, check=True
)
sys.path.insert(0, str(pathlib.Path(work).resolve()))

from proto import base_pb2, base_pb2_grpc  # noqa: E402  (generated a moment ago)


def say(**facts):
    print(json.dumps(facts), flush=True)


def describe(event):
    """What a program that knows only the published contract sees of an event."""
    category = event.WhichOneof("event_payload")
    subject = category and getattr(event, category).WhichOneof("event_type")
    payload = subject and getattr(getattr(event, category), subject)
    return {
        "id": event.event_id,
        "timestamp": event.timestamp,
        "category": type(event).DESCRIPTOR.fields_by_name["category"].enum_type.values_by_number[event.category].name,
        "level": type(event).DESCRIPTOR.fields_by_name["level"].enum_type.values_by_number[event.level].name,
        "payload": [category, subject],
        "fields": {d.name: str(v) for d, v in payload.ListFields()} if payload else {},
        "metadata": dict(event.metadata),
    }


class Controller(base_pb2_grpc.RodentServiceServicer):
    def __init__(self):
        self.failures = failures

    def Register(self, request, context):
        say(call="Register", metadata=dict(context.invocation_metadata()), disk_usage=request.system_info.disk_usage)
        return base_pb2.RegisterResponse(success=True)

    def SendEvents(self, request, context):
        refused = self.failures > 0
        say(
            call="SendEvents",
            refused=refused,
            batch=request.batch_id,
            batch_timestamp=request.batch_timestamp,
            metadata={k: v for k, v in context.invocation_metadata() if isinstance(v, str)},
            events=[describe(event) for event in request.events],
        )
        if refused:
            self.failures -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "come back later")
        return base_pb2.EventBatchResponse(success=True)


server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
base_pb2_grpc.add_RodentServiceServicer_to_server(Controller(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
say(listening=port)
server.wait_for_termination()
