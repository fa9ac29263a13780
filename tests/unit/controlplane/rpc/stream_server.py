"""A gRPC server, by grpcio, for test_stream.c. Messages are plain bytes. Prints its port; ends with its standard input.

    stream_server.py ADDRESS plain | tls FOLDER | mtls FOLDER     FOLDER has server.pem, server.key, ca.pem
"""
import concurrent.futures
import os
import pathlib
import sys
import threading

import grpc

FLOOD, SIZE, BOMB = 400, 64 << 10, 256 << 20


class Methods:
    """What the test calls; `made`, `taken` count messages of Flood and Swallow."""

    def __init__(self):
        self.made = self.taken = 0
        self.gate = threading.Event()

    def echo(self, requests, _context):
        yield from requests

    def unary(self, request, context):
        names = [m.value for m in context.invocation_metadata() if m.key in ("token", "user-agent")]
        peer = context.auth_context().get("x509_common_name", [b"nobody"])[0]
        return b"|".join([request, peer, *(name.encode() for name in names)])

    def flood(self, _requests, _context):
        for _ in range(FLOOD):
            self.made += 1
            yield b"x" * SIZE

    def swallow(self, requests, _context):
        self.gate.wait()
        for _ in requests:
            self.taken += 1
        yield str(self.taken).encode()

    def open_gate(self, _request, _context):
        self.gate.set()
        return b"open"

    def count(self, _request, _context):
        return str(self.made).encode()

    def fail(self, requests, context):
        yield next(requests)
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you: \N{SNOWMAN}")

    def at_once(self, _requests, context):
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who?")

    def unavailable(self, _request, context):
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    def peer(self, _request, context):
        return context.peer().encode()

    def bomb(self, _requests, context):
        context.set_compression(grpc.Compression.Gzip)
        yield bytes(BOMB)

    def hang(self, requests, context):
        ended = threading.Event()
        if context.add_callback(ended.set):     # False: it has ended already
            ended.wait()
        yield from requests


def handlers(methods):
    streams = {"Echo": methods.echo, "Flood": methods.flood, "Swallow": methods.swallow, "Fail": methods.fail,
               "AtOnce": methods.at_once, "Hang": methods.hang, "Bomb": methods.bomb}
    unary = {"Unary": methods.unary, "Open": methods.open_gate, "Count": methods.count, "Peer": methods.peer,
             "Unavailable": methods.unavailable}
    table = {name: grpc.stream_stream_rpc_method_handler(function) for name, function in streams.items()}
    table |= {name: grpc.unary_unary_rpc_method_handler(function) for name, function in unary.items()}
    return grpc.method_handlers_generic_handler("test.Streams", table)


def listen(server, address, kind, folder):
    if kind == "plain":
        return server.add_insecure_port(address)
    read = lambda name: (pathlib.Path(folder) / name).read_bytes()
    pair = [(read("server.key"), read("server.pem"))]
    is_mutual = kind == "mtls"
    credentials = grpc.ssl_server_credentials(pair, read("ca.pem") if is_mutual else None, is_mutual)
    return server.add_secure_port(address, credentials)


def main():
    methods = Methods()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handlers(methods),))
    port = listen(server, sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    os._exit(0)         # whatever still runs


if __name__ == "__main__":
    main()
