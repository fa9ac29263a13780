"""A management server that is polled: DiscoveryRequests by POST, as JSON; and what it may do wrong."""
import http.server
import json
import threading

from planes import PATIENCE
from xds_server import url

PATHS = {"listener": "listeners", "cluster": "clusters", "routes": "routes", "endpoints": "endpoints", "secret": "secrets"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"]))
        kind = next((k for k, path in PATHS.items() if self.path == f"/v3/discovery:{path}"), None)
        self.server.owner.answer(self, kind, json.loads(text))

    def send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Listening(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away is no news."""


class RestServer:
    """Serves the resources of `set` until `stop`; `start` again is at the same address. `fault` is a function that answers
    instead (handler), or None."""

    def __init__(self, snapshot):
        self.port, self.server, self.fault = 0, None, None
        self.changed = threading.Condition()
        self.requests, self.snapshot, self.version = [], {}, 0
        self.set(**snapshot)
        self.start()

    def start(self):
        self.server = Listening(("127.0.0.1", self.port), Handler)
        self.server.owner, self.port = self, self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def set(self, **snapshot):
        with self.changed:
            self.snapshot.update(snapshot)
            self.version += 1

    def answer(self, handler, kind, request):
        if handler.server is not self.server:  # stopped; a connection from before
            handler.close_connection = True
            return
        with self.changed:
            self.requests.append((kind, request, dict(handler.headers)))
            self.changed.notify_all()
            version, found = str(self.version), dict(self.snapshot.get(kind, {}))
        if self.fault:
            self.fault(handler)
            return
        if request.get("version_info") == version:
            handler.send(304, b"")
            return
        names = request.get("resource_names") or list(found)
        resources = [{"@type": url(kind), **found[name]} for name in names if name in found]
        handler.send(200, json.dumps({"version_info": version, "resources": resources, "type_url": url(kind)}).encode())

    def wait_request(self, what, condition):
        """The first of all requests that has it: (kind, request, header fields)."""
        with self.changed:
            found = []

            def look():
                found[:] = [r for r in self.requests if condition(*r)][:1]
                return found
            assert self.changed.wait_for(look, PATIENCE), what
            return found[0]
