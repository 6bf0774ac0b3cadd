"""A receiver of webhooks that is not ours: Standard Webhooks' own library verifies, CloudEvents' own SDK reads.

receiver.py KEY: KEY is the secret, whsec_…. Prints its port, then an object for each request. /standard verifies, the other paths
read CloudEvents in the mode that the request has. What does not verify is answered with 401, what is no CloudEvent with 400.
"""

import gzip
import http.server
import json
import sys
import threading

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(sys.argv[1])
# Several answer at once, and a line is one write only then.
lock = threading.Lock()


def told(event):
    return {
        "id": event.get_id(),
        "source": event.get_source(),
        "type": event.get_type(),
        "subject": event.get_subject(),
        "time": event.get_time().isoformat(),
        "data": event.get_data(),
    }


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = {"path": self.path, "id": headers["webhook-id"]}
        try:
            said["read"] = self.read(body, headers)
            status = 200
        except WebhookVerificationError as error:
            said["error"], status = str(error), 401
        except Exception as error:  # noqa: BLE001  (whatever the SDK makes of it is told)
            said["error"], status = repr(error), 400
        with lock:
            print(json.dumps(said), flush=True)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def read(self, body, headers):
        if self.path == "/standard":
            return webhook.verify(body, headers)
        if headers["content-type"].startswith("application/cloudevents-batch+json"):
            # The SDK reads one event at a time; a batch is a list of what structured mode has.
            single = {"content-type": "application/cloudevents+json"}
            events = [HTTPMessage(single, json.dumps(one).encode()) for one in json.loads(body)]
            return [told(from_http_event(event)) for event in events]
        return [told(from_http_event(HTTPMessage(headers, body)))]

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
