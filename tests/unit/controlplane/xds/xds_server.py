"""A management server by grpcio for test_client.c, of any form and with one stream or one for each type. Prints its port.

    xds_server.py PORT plain|tls|mtls FOLDER BEHAVIOUR

    answer   whatever is asked for, at once: the clusters "a" and "b" for a wildcard, and every name that is asked for
    gate     the same, when a line has come on standard input
    silent   takes requests and never answers
    refuse   ends each stream before an answer
    once     answers the first request of a stream and ends it
    garbage  answers with bytes that are no response

The messages are read and written by hand: what is needed of them has few fields. Ends with its standard input.
"""
import concurrent.futures
import pathlib
import sys
import threading

import grpc

SERVICES = {
    "discovery.v3.AggregatedDiscoveryService": ("StreamAggregatedResources", "DeltaAggregatedResources"),
    "cluster.v3.ClusterDiscoveryService": ("StreamClusters", "DeltaClusters"),
    "endpoint.v3.EndpointDiscoveryService": ("StreamEndpoints", "DeltaEndpoints"),
}
CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
WORLD = {"names": 3, "type": 4, "nonce": 5, "error": 6, "node": 2}
DELTA = {"names": 3, "type": 2, "nonce": 6, "error": 7, "node": 1}


# ---- the few forms of protobuf ----

def read_number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, bytes) of all fields of a message, which are texts and messages."""
    at = 0
    while at < len(data):
        key, at = read_number(data, at)
        assert key & 7 == 2, f"wire type {key & 7}"
        size, at = read_number(data, at)
        yield key >> 3, data[at:at + size]
        at += size


def number(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def field(index, value):
    value = value.encode() if isinstance(value, str) else value
    return number(index << 3 | 2) + number(len(value)) + value


# ---- answers ----

class Stream:
    """One stream: what was asked for of each type, and the answers."""

    def __init__(self, is_delta):
        self.is_delta = is_delta
        self.numbers = DELTA if is_delta else WORLD
        self.count = 0
        self.told = {}

    def answer(self, request):
        """The response, or None for an ACK that asks for nothing new."""
        got = {name: [value.decode(errors="replace") for index, value in fields(request) if index == number]
               for name, number in self.numbers.items()}
        type_url, names = got["type"][0], got["names"]
        assert self.count or got["node"], "the first request of a stream has a node"
        is_news = type_url not in self.told or (set(names) - self.told[type_url])
        if not is_news or got["error"]:
            return None
        self.told[type_url] = self.told.get(type_url, set()) | set(names)
        is_wildcard = "*" in names or (type_url == CLUSTER and not names)
        return self.response(type_url, ["a", "b"] if is_wildcard else names)

    def response(self, type_url, names):
        self.count += 1
        bodies = [(name, field(1, type_url) + field(2, field(1, name))) for name in names if name != "*"]
        if self.is_delta:
            resources = b"".join(field(2, field(3, name) + field(1, "v1") + field(2, body)) for name, body in bodies)
            return field(1, "v1") + resources + field(4, type_url) + field(5, str(self.count))
        return field(1, "v1") + b"".join(field(2, body) for _, body in bodies) + field(4, type_url) + field(5, str(self.count))


class Server:
    def __init__(self, behaviour):
        self.behaviour = behaviour
        self.gate = threading.Event()

    def stream(self, is_delta):
        def run(requests, context):
            if self.behaviour == "refuse":
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "not today")
            stream = Stream(is_delta)
            for request in requests:
                yield from self.answers(stream, request)
                if self.behaviour == "once":
                    return
        return run

    def answers(self, stream, request):
        if self.behaviour == "gate":
            self.gate.wait()
        if self.behaviour == "silent":
            return
        if self.behaviour == "garbage":
            yield b"\xff\xff"
        response = stream.answer(request)
        if response is not None:
            yield response

    def handlers(self):
        for service, (world, delta) in SERVICES.items():
            yield grpc.method_handlers_generic_handler("envoy.service." + service, {
                world: grpc.stream_stream_rpc_method_handler(self.stream(False)),
                delta: grpc.stream_stream_rpc_method_handler(self.stream(True))})


def listen(server, port, kind, folder):
    address = f"127.0.0.1:{port}"
    if kind == "plain":
        return server.add_insecure_port(address)
    read = lambda name: (pathlib.Path(folder) / name).read_bytes()
    is_mutual = kind == "mtls"
    credentials = grpc.ssl_server_credentials([(read("server.key"), read("server.pem"))],
                                              read("ca.pem") if is_mutual else None, is_mutual)
    return server.add_secure_port(address, credentials)


def main():
    port, kind, folder, behaviour = sys.argv[1:]
    methods = Server(behaviour)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(tuple(methods.handlers()))
    bound = listen(server, port, kind, folder)
    server.start()
    print(bound, flush=True)
    if sys.stdin.readline():
        methods.gate.set()
        sys.stdin.read()
    methods.gate.set()
    server.stop(None)


if __name__ == "__main__":
    main()
