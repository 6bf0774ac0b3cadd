#!/usr/bin/env python3
"""Keeps what Rodent posts in a SQL database, each event once. Python 3.9 or newer, and nothing but its library.

    sql_receiver.py --secret-file secret --database events.db [--port 3000] [--prefix X-Rodent]

The sink that fits:

    sinks:
      audit:
        type: webhook
        format: signed
        kind_key: event_type
        url: http://127.0.0.1:3000/events
        secret_file: [/etc/rodent/audit.secret]

Whoever does not know the secret is answered 401 and leaves nothing behind. An event is answered 200 when it is in the
database, and not before; one that comes again, as it may after a lost answer, is answered alike and is kept once.
"""

import argparse
import hashlib
import hmac
import json
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# No event is longer than 16 KiB; as JSON it may be some times that.
BODY_BYTES_MAX = 1024 * 1024
# Whoever connects and says nothing is let go.
SECONDS_MAX = 30

TABLE = """
CREATE TABLE IF NOT EXISTS events (
    delivery   TEXT PRIMARY KEY,
    event_type TEXT NOT NULL,
    timestamp  TEXT NOT NULL,
    node       TEXT,
    level      TEXT,
    text       TEXT,
    data       TEXT NOT NULL
)
"""


def is_signed(secret, body, signature):
    """Whether who posted the body knows the secret. Takes as long for any wrong signature."""
    right = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(right.encode(), (signature or "").encode())


def row(delivery, event):
    """What is kept of an event; raises when it is none."""
    data = event["data"]
    known = [data.get(key) for key in ("node", "level", "text")]
    return [delivery, str(event["event_type"]), str(event["timestamp"]), *known, json.dumps(data)]


def keep(database, values):
    """Commits before it returns. What is there already stays as it is."""
    connection = sqlite3.connect(database, timeout=SECONDS_MAX)
    try:
        with connection:
            connection.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    finally:
        connection.close()


class Receiver(BaseHTTPRequestHandler):
    # Connections stay open from one event to the next.
    protocol_version = "HTTP/1.1"
    timeout = SECONDS_MAX

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            return self.answer(413, "a length up to %d bytes is needed" % BODY_BYTES_MAX, close=True)
        body = self.rfile.read(int(length))
        prefix = self.server.prefix
        if not is_signed(self.server.secret, body, self.headers.get(prefix + "-Signature")):
            return self.answer(401, "not signed with the secret")
        delivery = self.headers.get(prefix + "-Delivery")
        try:
            if not delivery:
                raise ValueError("no identifier")
            values = row(delivery, json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Sent again it would be no better: Rodent keeps it as a dead letter.
            return self.answer(422, "no event: %s" % error)
        try:
            keep(self.server.database, values)
        except sqlite3.Error as error:
            # Rodent waits, and sends it again.
            return self.answer(503, str(error))
        return self.answer(200, "received")

    def answer(self, status, text, close=False):
        body = json.dumps({"status": text}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if close:
            # What was not read would be taken for the next request.
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--secret-file", required=True, help="what the sink's secret_file holds, too")
    parser.add_argument("--database", default="events.db")
    parser.add_argument("--port", type=int, default=3000, help="0 lets the system choose")
    parser.add_argument("--prefix", default="X-Rodent", help="the sink's header_prefix")
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Receiver)
    # As Rodent reads it: without the line's end.
    server.secret = Path(arguments.secret_file).read_bytes().strip()
    server.database, server.prefix = arguments.database, arguments.prefix
    if not server.secret:
        parser.error("the secret is empty")
    connection = sqlite3.connect(arguments.database)
    connection.execute(TABLE)
    connection.close()
    print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
