"""A management server that says what a test wants it to say, in this process: one stream for all or one for each type, in the
state of the world or in delta."""
import collections
import concurrent.futures
import importlib
import pathlib
import queue
import subprocess
import sys
import threading

import grpc

from planes import PATIENCE, ROOT, wait_until

SERVICES = {    # the methods of each: state of the world, delta
    "discovery.v3.AggregatedDiscoveryService": ("StreamAggregatedResources", "DeltaAggregatedResources"),
    "cluster.v3.ClusterDiscoveryService": ("StreamClusters", "DeltaClusters"),
    "endpoint.v3.EndpointDiscoveryService": ("StreamEndpoints", "DeltaEndpoints"),
    "listener.v3.ListenerDiscoveryService": ("StreamListeners", "DeltaListeners"),
    "route.v3.RouteDiscoveryService": ("StreamRoutes", "DeltaRoutes"),
    "secret.v3.SecretDiscoveryService": ("StreamSecrets", "DeltaSecrets"),
}
TYPES = {
    "cluster": "envoy.config.cluster.v3.Cluster",
    "endpoints": "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "listener": "envoy.config.listener.v3.Listener",
    "routes": "envoy.config.route.v3.RouteConfiguration",
    "secret": "envoy.extensions.transport_sockets.tls.v3.Secret",
    "runtime": "envoy.service.runtime.v3.Runtime",
    "filter": "envoy.config.core.v3.TypedExtensionConfig",
}
MODULES = {
    "envoy/config/core/v3/extension", "envoy/config/cluster/v3/cluster", "envoy/config/endpoint/v3/endpoint", "envoy/config/listener/v3/listener",
    "envoy/config/route/v3/route", "envoy/extensions/transport_sockets/tls/v3/secret",
    "envoy/extensions/transport_sockets/tls/v3/tls", "envoy/extensions/filters/http/router/v3/router",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy", "envoy/service/discovery/v3/discovery",
    "envoy/service/runtime/v3/rtds",
}


def url(kind):
    return "type.googleapis.com/" + TYPES[kind]


class Messages:
    """The messages of the project's .proto files as Python classes."""

    def __init__(self, folder):
        files = [str(path.relative_to(ROOT)) for name in ("envoy", "xds", "google")
                 for path in sorted((ROOT / "proto" / name).rglob("*.proto"))]
        subprocess.run(["protoc", "-I.", f"--python_out={folder}", *files], cwd=ROOT, check=True)
        sys.path.append(str(folder))
        for name in MODULES:
            importlib.import_module("proto." + name.replace("/", ".") + "_pb2")
        from google.protobuf import json_format, symbol_database
        self.json_format, self.database = json_format, symbol_database.Default()

    def load(self, file, name):
        """A type of a file that is not among those above."""
        importlib.import_module("proto." + file.replace("/", ".") + "_pb2")
        return self.type(name)

    def type(self, name):
        return self.database.GetSymbol(name)

    def make(self, name, content):
        return self.json_format.ParseDict(content, self.type(name)())

    def any(self, kind, content):
        message = self.type("google.protobuf.Any")()
        message.type_url = url(kind)
        message.value = self.make(TYPES[kind], content).SerializeToString()
        return message


class ManagementServer:
    """`resources` is {kind: {name: content}}; content in Envoy's JSON. `set` changes them and tells all streams.

    Everything that clients have asked is in `requests`. While `gate` is not set nothing is answered. `refusal` ends streams
    before an answer."""

    def __init__(self, messages, resources=None, port=0, credentials=None, gate=True):
        self.messages, self.credentials = messages, credentials
        self.resources = collections.defaultdict(dict, resources or {})
        self.changed, self.version = threading.Condition(), 1
        self.requests, self.streams = [], []
        self.gate, self.refusal = threading.Event(), None
        if gate:
            self.gate.set()
        self.server, self.port = None, port
        self.start()

    # ---- its life

    def start(self):
        """Listens, on the same port as before if it has run before."""
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.so_reuseport", 0)])
        for service, (world, delta) in SERVICES.items():
            self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("envoy.service." + service, {
                world: grpc.stream_stream_rpc_method_handler(self._world),
                delta: grpc.stream_stream_rpc_method_handler(self._delta)}),))
        address = f"127.0.0.1:{self.port}"
        self.port = (self.server.add_secure_port(address, self.credentials) if self.credentials
                     else self.server.add_insecure_port(address))
        assert self.port, f"cannot listen on {address}"
        self.server.start()

    def stop(self):
        """Connections are cut; nobody listens any more."""
        if self.server is None:
            return
        for stream in list(self.streams):
            stream.put(None)
        self.gate.set()
        self.server.stop(None).wait(PATIENCE)
        self.server = None

    # ---- what tests say

    def set(self, **kinds):
        """Replaces all of these kinds; all streams are told."""
        with self.changed:
            self.resources.update(kinds)
            self.version += 1
        for stream in list(self.streams):
            stream.put("changed")

    def cut(self):
        """Ends all streams; the connection stays."""
        for stream in list(self.streams):
            stream.put(None)

    def wait_request(self, what, condition):
        return wait_until(f"a request of {what}", lambda: next((r for r in list(self.requests) if condition(r)), None))

    def wait_ack(self, kind, version=None):
        wanted = str(version or self.version)
        return self.wait_request(f"an ACK of {kind} in version {wanted}", lambda r: r.type_url == url(kind)
                                 and r.response_nonce and not r.error_detail.message and r.version_info == wanted)

    def wait_nack(self, kind):
        return self.wait_request(f"a NACK of {kind}", lambda r: r.type_url == url(kind) and r.error_detail.message)

    # ---- streams

    def _world(self, requests, context):
        """State of the world: each type is answered in whole, when it is first asked for and when something has changed."""
        asked, nonces, nodes = {}, iter(range(1, 1 << 30)), []
        for event in self._events(requests, context, self.messages.type("envoy.service.discovery.v3.DiscoveryRequest")):
            if event == "changed":
                due = list(asked)
            else:
                nodes.append(event.node)
                assert nodes[0].id, "the first request of a stream has a node"
                is_news = asked.get(event.type_url) != set(event.resource_names)
                asked[event.type_url] = set(event.resource_names)
                due = [event.type_url] if is_news else []
            for type_url in due:
                yield self._response(type_url, asked[type_url], str(next(nonces)))

    def _response(self, type_url, names, nonce):
        kind = next((kind for kind in TYPES if url(kind) == type_url), None)
        response = self.messages.type("envoy.service.discovery.v3.DiscoveryResponse")()
        with self.changed:
            response.version_info, response.type_url, response.nonce = str(self.version), type_url, nonce
            for name, content in self.resources[kind].items():
                if not names or "*" in names or name in names:
                    response.resources.append(self.messages.any(kind, content))
        return response.SerializeToString()

    def _delta(self, requests, context):
        """Delta: what is new or has changed since it was sent on this stream, and what is gone."""
        asked, sent, nonces = collections.defaultdict(set), collections.defaultdict(dict), iter(range(1, 1 << 30))
        for event in self._events(requests, context, self.messages.type("envoy.service.discovery.v3.DeltaDiscoveryRequest")):
            due = list(asked) if event == "changed" else []
            if event != "changed" and not event.response_nonce:
                is_first = event.type_url not in asked
                names = set(event.resource_names_subscribe) or ({"*"} if is_first else set())
                asked[event.type_url] = (asked[event.type_url] | names) - set(event.resource_names_unsubscribe)
                due = [event.type_url]
            for type_url in due:
                response = self._delta_response(type_url, asked[type_url], sent[type_url], str(next(nonces)))
                if response is not None:
                    yield response

    def _delta_response(self, type_url, names, sent, nonce):
        kind = next((kind for kind in TYPES if url(kind) == type_url), None)
        response = self.messages.type("envoy.service.discovery.v3.DeltaDiscoveryResponse")()
        response.type_url, response.nonce = type_url, nonce
        with self.changed:
            held = {n: c for n, c in self.resources[kind].items() if "*" in names or n in names}
            response.system_version_info = version = str(self.version)
        for name, content in held.items():
            if sent.get(name) != content:
                resource = response.resources.add()
                resource.name, resource.version = name, version
                resource.resource.CopyFrom(self.messages.any(kind, content))
        gone = [name for name in {*sent, *(names - {"*"})} if name not in held and sent.get(name) is not False]
        response.removed_resources.extend(gone)
        is_empty = not response.resources and not gone and sent
        sent.clear()
        sent.update(held, **{name: False for name in names - {"*"} if name not in held})
        return None if is_empty else response.SerializeToString()

    def _events(self, requests, context, type_of_request):
        """Requests as they come, and "changed" when resources have changed; ends with the stream."""
        if self.refusal:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, self.refusal)
        events = queue.Queue()
        self.streams.append(events)
        if not context.add_callback(lambda: events.put(None)):
            return

        def read():
            try:
                for data in requests:
                    events.put(type_of_request.FromString(data))
            except grpc.RpcError:
                pass
            events.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            while (event := events.get()) is not None:
                if event != "changed":
                    self.requests.append(event)
                self.gate.wait()
                yield event
        finally:
            self.streams.remove(events)


def server_credentials(folder, is_mutual):
    """Of a folder with server.pem, server.key and, for mutual TLS, ca.pem of the clients."""
    read = lambda name: (pathlib.Path(folder) / name).read_bytes()
    return grpc.ssl_server_credentials([(read("server.key"), read("server.pem"))], read("ca.pem") if is_mutual else None,
                                       is_mutual)
