"""A program that is not ours on the agent's socket: Google's gRPC for Python, with no option set.

client.py SOURCES WORK TARGET: SOURCES holds the .proto files, WORK takes generated code, TARGET names the socket as gRPC does.
Makes calls of every form on one connection, and prints as one JSON object what came back.
"""

import json
import pathlib
import subprocess
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool

sources, work, target = sys.argv[1:]
protos = ["proto/local.proto", "proto/meaning.proto", "proto/events/event_messages.proto", "proto/reflection.proto"]
outputs = [f"--python_out={work}", f"--grpc_python_out={work}"]
command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{sources}", *outputs, *protos]
subprocess.run(command, check=True)
sys.path.insert(0, str(pathlib.Path(work).resolve()))

from proto import local_pb2 as local  # noqa: E402  (generated a moment ago)
from proto import local_pb2_grpc  # noqa: E402
from proto import reflection_pb2 as reflection  # noqa: E402
from proto import reflection_pb2_grpc  # noqa: E402
from proto.events import event_messages_pb2 as events  # noqa: E402

CALLS = 100
PATIENCE = 60


def request(number):
    event = events.Event(level=events.EVENT_LEVEL_INFO, metadata={"number": str(number)})
    pool = event.storage_event.pool_event
    pool.pool_name, pool.operation = "tank", events.StoragePoolPayload.STORAGE_POOL_OPERATION_CREATED
    return local.EmitRequest(events=[event.SerializeToString()])


def numbers(page):
    described = [events.Event.FromString(stored.event).metadata for stored in page.events]
    return [int(metadata["number"]) for metadata in described if "number" in metadata]


def described(channel):
    """The services, and the methods of the first, as who has none of the files learns them."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    pool, known = descriptor_pool.DescriptorPool(), set()

    def ask(**asked):
        questions = iter([reflection.ServerReflectionRequest(**asked)])
        return next(stub.ServerReflectionInfo(questions, timeout=PATIENCE))

    def learn(answer):
        for encoded in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(encoded)
            if file.name not in known:
                known.add(file.name)
                for name in file.dependency:
                    learn(ask(file_by_filename=name))
                pool.Add(file)

    services = [service.name for service in ask(list_services="").list_services_response.service]
    learn(ask(file_containing_symbol=services[0]))
    return services, [method.name for method in pool.FindServiceByName(services[0]).methods]


with grpc.insecure_channel(target) as channel:
    agent = local_pb2_grpc.LocalServiceStub(channel)
    accepted = [agent.Emit(request(n), timeout=PATIENCE).accepted for n in range(CALLS)]
    requests = (request(n) for n in range(CALLS, 2 * CALLS))
    accepted += [answer.accepted for answer in agent.EmitStream(requests, timeout=PATIENCE)]
    pools = ["storage.pool.created"]
    pages = agent.Query(local.QueryRequest(filter=pools, limit=2 * CALLS), timeout=PATIENCE)
    queried = [number for page in pages for number in numbers(page)]
    tail = agent.Tail(local.TailRequest(filter=pools, backlog=2 * CALLS), timeout=PATIENCE)
    followed = []
    for page in tail:
        followed += numbers(page)
        if len(followed) >= 2 * CALLS:
            break
    tail.cancel()
    # Names and sizes that are all different, so that the table of fields is full and forgets.
    for n in range(CALLS):
        status = agent.Status(local.StatusRequest(), metadata=[(f"x-{n}", "x" * 40 * n)], timeout=PATIENCE)
    connections = status.socket.accepted_connections
    services, methods = described(channel)

told = {"accepted": sum(accepted), "queried": queried, "followed": followed, "connections": connections}
print(json.dumps({**told, "services": services, "methods": methods}))
