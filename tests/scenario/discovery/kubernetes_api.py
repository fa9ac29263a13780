"""A double of a Kubernetes API server: collections that are listed in pages and watched, with versions, bookmarks and 410."""
import base64
import http.server
import json
import socketserver
import ssl
import threading
import urllib.parse

PATHS = {"endpointslices": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", "services": "/api/v1/namespaces/{}/services",
         "secrets": "/api/v1/namespaces/{}/secrets"}
KINDS = {"endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"), "services": ("v1", "Service"), "secrets": ("v1", "Secret")}


def slice_of(service, endpoints, ports):
    """What an EndpointSlice has. `endpoints`: addresses, or dicts as in EndpointSlice."""
    listed = [e if isinstance(e, dict) else {"addresses": [e], "conditions": {"ready": True}} for e in endpoints]
    return {"metadata": {"labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4", "endpoints": listed,
            "ports": [{"name": n, "port": p, "protocol": "TCP"} for n, p in ports]}


def secret_of(files):
    """What a Secret has: names of keys, and their bytes."""
    kind = "kubernetes.io/tls" if "tls.crt" in files else "Opaque"
    return {"type": kind, "data": {name: base64.b64encode(content).decode() for name, content in files.items()}}


def name_of(query):
    """The one that is asked for; None: all."""
    return query["fieldSelector"].removeprefix("metadata.name=") if "fieldSelector" in query else None


class ApiServer(socketserver.ThreadingTCPServer):
    """`set` and `delete` change objects; watchers are told. Faults: `cut`, `forget`, `stop` and `start`, `wait`."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, token=None, pair=None):
        self.token, self.pair, self.news = token, pair, threading.Condition()
        self.version, self.oldest, self.objects, self.history = 100, 0, {}, []
        self.may_watch = True
        self.requests, self.watches, self.page, self.streams, self.gate = [], 0, None, set(), threading.Event()
        self.gate.set()
        super().__init__(("127.0.0.1", 0), ApiConnection)
        self.port = self.server_address[1]
        self.url = f"{'https' if pair else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __exit__(self, *error):
        self.gate.set()
        self.cut()
        self.shutdown()
        super().__exit__(*error)

    def get_request(self):
        sock, address = super().get_request()
        if self.pair:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.pair)
            sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address

    def handle_error(self, request, client_address):
        pass  # a client that has gone

    # ---- objects

    def set(self, kind, name, namespace="default", **content):
        api, type_name = KINDS[kind]
        with self.news:
            self.version += 1
            key = (kind, namespace, name)
            metadata = {"name": name, "namespace": namespace, "resourceVersion": str(self.version), **content.pop("metadata", {})}
            event = "MODIFIED" if key in self.objects else "ADDED"
            self.objects[key] = {"apiVersion": api, "kind": type_name, "metadata": metadata, **content}
            self.tell(event, key, self.objects[key])

    def delete(self, kind, name, namespace="default"):
        with self.news:
            self.version += 1
            gone = self.objects.pop((kind, namespace, name))
            gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
            self.tell("DELETED", (kind, namespace, name), gone)

    def tell(self, event, key, item):
        self.history.append((self.version, key, {"type": event, "object": item}))
        self.news.notify_all()

    def slice(self, name, service, endpoints, ports=(("http", 80),), namespace="default", **more):
        self.set("endpointslices", name, namespace, **slice_of(service, endpoints, ports), **more)

    def service(self, name, ports, namespace="default"):
        self.set("services", name, namespace, spec={"ports": [{"name": n, "port": p} for n, p in ports]})

    def secret(self, name, files, namespace="default"):
        self.set("secrets", name, namespace, **secret_of(files))

    # ---- faults

    def only_token(self, token):
        self.token = token

    def pages_of(self, count):
        self.page = count

    def forget(self):
        """What has changed so far is compacted: who asks for changes since then is told 410."""
        with self.news:
            self.version += 1
            self.oldest, self.history = self.version, []

    def cut(self):
        """Ends every watch, in the middle of whatever it is."""
        with self.news:
            streams, self.streams = self.streams, set()
        for stream in streams:
            try:
                stream.shutdown(2)
            except OSError:
                pass

    def bookmark_soon(self):
        pass  # as soon as something changes elsewhere

    def change_elsewhere(self):
        """Who watches ours is told how far that is."""
        with self.news:
            self.version += 1
            self.history.append((self.version, None, None))
            self.news.notify_all()

    def forget_before(self):
        """All changes up to now: who asks for those after now is answered."""
        with self.news:
            self.oldest = self.version
        self.cut()

    def counted(self, text):
        """Requests whose target has this text."""
        with self.news:
            return sum(text in target for target in self.requests)


class ApiConnection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_arguments):
        pass

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def refuse(self, status, message):
        self.answer(status, {"kind": "Status", "status": "Failure", "code": status, "message": message})

    def do_GET(self):
        api, parts = self.server, urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        found = [(kind, namespace) for kind, path in PATHS.items() for namespace in [parts.path.split("/namespaces/")[-1].split("/")[0]]
                 if path.format(namespace) == parts.path]
        with api.news:
            api.requests.append(self.path)
        api.gate.wait()
        if api.token and self.headers.get("Authorization") != f"Bearer {api.token}":
            self.refuse(401, "Unauthorized")
        elif not found:
            self.refuse(404, "the server could not find the requested resource")
        elif "watch" in query and not api.may_watch:
            self.refuse(403, "endpointslices is forbidden: User cannot watch it")
        elif "watch" in query:
            self.name = name_of(query)
            self.watch(found[0], int(query["resourceVersion"]), "allowWatchBookmarks" in query)
        else:
            self.list(found[0], query)

    def list(self, collection, query):
        api = self.server
        with api.news:
            name = name_of(query)
            items = [o for key, o in sorted(api.objects.items()) if key[:2] == collection and name in (None, key[2])]
            first, version = (int(n) for n in query.get("continue", f"0.{api.version}").split("."))
            if version < api.oldest:
                self.refuse(410, "the provided continue parameter is too old")
                return
            page = min(int(query["limit"]), api.page or 500)
            more = f"{first + page}.{version}" if first + page < len(items) else ""
            metadata = {"resourceVersion": str(version), **({"continue": more} if more else {})}
        self.answer(200, {"kind": "List", "metadata": metadata, "items": items[first:first + page]})

    def write_event(self, event):
        line = json.dumps(event).encode() + b"\n"
        half = len(line) // 2
        for piece in (line[:half], line[half:]):  # in two chunks, as the network may have it
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()

    def watch(self, collection, version, wants_bookmarks):
        api = self.server
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        with api.news:
            api.streams.add(self.connection)
            api.watches += 1
            api.news.notify_all()
        if version < api.oldest:
            self.write_event({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}})
            self.close_connection = True
            return
        while True:
            with api.news:
                if self.connection not in api.streams:
                    return
                fresh = [h for h in api.history if h[0] > version]
                if not fresh:
                    api.news.wait()
                    continue
            for number, key, event in fresh:
                version = number
                if key is None and wants_bookmarks:
                    self.write_event({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(number)}}})
                elif key and key[:2] == collection and self.name in (None, key[2]):
                    self.write_event(event)
