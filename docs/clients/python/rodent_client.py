#!/usr/bin/env python3
"""A client of Rodent's socket in Python: emits, queries, follows and consumes events.

    pip install grpcio-tools            # brings grpcio; nothing else is needed
    python3 rodent_client.py emit tank
    python3 rodent_client.py query storage.pool
    python3 rodent_client.py tail 'level>=warn'
    python3 rodent_client.py consume backup
    python3 rodent_client.py work backup 4      # with four threads

RODENT_SOCKET names the socket (/run/rodent/rodent.sock by default), RODENT_PROTO the directory with the .proto files
(/usr/share/rodent). The code for them is generated when the program starts, into a directory of its own.
"""

import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import grpc

SOCKET = os.environ.get("RODENT_SOCKET", "/run/rodent/rodent.sock")
PROTO = os.environ.get("RODENT_PROTO", "/usr/share/rodent")
FILES = ["proto/local.proto", "proto/meaning.proto", "proto/events/event_messages.proto"]

generated = tempfile.TemporaryDirectory()
outputs = [f"--python_out={generated.name}", f"--grpc_python_out={generated.name}"]
subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *outputs, *FILES], check=True)
sys.path.insert(0, str(pathlib.Path(generated.name)))

from proto import local_pb2 as local  # noqa: E402  (generated a moment ago)
from proto import local_pb2_grpc  # noqa: E402
from proto.events import event_messages_pb2 as events  # noqa: E402

# Commits go so often: each costs the agent a little, and what is not committed comes again.
COMMIT_EVERY = 1000
PAUSE_SECONDS = 0.2
PAUSE_SECONDS_MAX = 10

printing = threading.Lock()


def connect():
    # A path may hold characters that a target of gRPC must have encoded.
    return grpc.insecure_channel("unix:" + urllib.parse.quote(SOCKET))


def emit(agent, pool_name):
    event = events.Event(level=events.EVENT_LEVEL_INFO)
    pool = event.storage_event.pool_event
    pool.pool_name = pool_name
    pool.operation = events.StoragePoolPayload.STORAGE_POOL_OPERATION_CREATED
    answer = agent.Emit(local.EmitRequest(events=[event.SerializeToString()]), timeout=60)
    print(answer.event_ids[0])


def query(agent, *conditions):
    for page in agent.Query(local.QueryRequest(filter=conditions, limit=100), timeout=60):
        for stored in page.events:
            show(stored.lane, stored.sequence, stored.event)


def tail(agent, *conditions):
    for page in agent.Tail(local.TailRequest(filter=conditions, backlog=10)):
        if page.missed:
            print(f"{page.missed} events were missed", file=sys.stderr)
        for stored in page.events:
            show(stored.lane, stored.sequence, stored.event)


def show(lane, sequence, encoded):
    event = events.Event.FromString(encoded)
    print(lane, sequence, event.event_id, flush=False)


def consume(agent, consumer, *conditions):
    """Until it is stopped: each event at least once, in order."""
    again_and_again(agent, local.Attach(consumer=consumer, filter=conditions))


def work(agent, consumer, workers, *conditions):
    """The same with so many threads: all about one subject is one thread's, in order."""
    again_and_again(agent, local.Attach(consumer=consumer, filter=conditions, workers=int(workers)))


def again_and_again(agent, attach):
    """Goes on by itself when the agent was away."""
    pause = PAUSE_SECONDS
    while True:
        try:
            for _ in attached(agent, attach):
                pause = PAUSE_SECONDS
        except grpc.RpcError as error:
            # UNAVAILABLE: the agent is stopping, restarting, or not there. Whatever else it says does not pass by waiting.
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                sys.exit(f"{attach.consumer}: {error.details()}")
            time.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)


def attached(agent, attach):
    """One call: what comes goes to the worker whose it is."""
    requests = queue.SimpleQueue()
    requests.put(local.ConsumeRequest(attach=attach))
    inboxes = [queue.SimpleQueue() for _ in range(max(attach.workers, 1))]
    threads = [threading.Thread(target=deal, args=(inbox, requests), daemon=True) for inbox in inboxes]
    for thread in threads:
        thread.start()
    try:
        for response in agent.Consume(iter(requests.get, None)):
            kind = response.WhichOneof("response")
            if kind == "gap":
                gap = response.gap
                lost = f"{gap.lane} {gap.first_sequence} to {gap.last_sequence}"
                print(f"{gap.count} events are lost: {lost}", file=sys.stderr)
            if kind == "run":
                inboxes[response.run.worker].put(response.run)
            yield kind
    finally:
        for inbox in inboxes:
            inbox.put(None)
        for thread in threads:
            thread.join()
        requests.put(None)


def deal(inbox, requests):
    """A worker: deals with its runs and commits what it has dealt with."""
    since_commit = {}
    for run in iter(inbox.get, None):
        with printing:
            for sequence, encoded in zip(run.sequences, run.events):
                show(run.lane, sequence, encoded)
            # Only what is safely out of our hands may be committed.
            sys.stdout.flush()
        since_commit[run.lane] = since_commit.get(run.lane, 0) + len(run.events)
        if since_commit[run.lane] >= COMMIT_EVERY or len(run.events) < COMMIT_EVERY:
            commit = local.Commit(lane=run.lane, sequence=run.sequences[-1], worker=run.worker)
            requests.put(local.ConsumeRequest(commit=commit))
            since_commit[run.lane] = 0


def main():
    commands = {"emit": emit, "query": query, "tail": tail, "consume": consume, "work": work}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    command = commands[sys.argv[1]]
    with connect() as channel:
        command(local_pb2_grpc.LocalServiceStub(channel), *sys.argv[2:])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except grpc.RpcError as error:
        sys.exit(error.details())
