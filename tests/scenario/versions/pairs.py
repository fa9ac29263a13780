"""The gateway between all pairs of versions: two listeners, plain and TLS, both with HTTP/1.1 and HTTP/2, in front of four
clusters. The authority of a request says which one it is for."""
import functools
import socket
import ssl

import http1
import http2
from certificates import Authority
from configuration import cluster, configure, listener
from gateway import Gateway
from loop import Listening, Loop, Pipe
from talk import Client, Origin
from wire import PATIENCE

CODECS = {1: http1.Connection, 2: http2.Connection}
PROTOCOLS = {1: "http/1.1", 2: "h2"}
LIMITS = {"header-bytes": "16KiB", "headers": 100, "trailer-bytes": "4KiB"}


class Pair:
    """One combination: the client's version, the origin's version, and whether there is TLS on both sides."""

    def __init__(self, front, back, is_secure):
        self.front, self.back, self.is_secure = front, back, is_secure

    def __repr__(self):
        return f"{self.front}to{self.back}{'-tls' if self.is_secure else ''}"

    @property
    def cluster(self):
        return f"http{self.back}{'-tls' if self.is_secure else ''}"

    @property
    def authority(self):
        return f"{self.cluster}.example"


ALL = [Pair(front, back, is_secure) for is_secure in (False, True) for front in (1, 2) for back in (1, 2)]
BACKS = [pair for pair in ALL if pair.front == 1]  # one for each cluster


class EmbeddingGateway(Gateway):
    """Files of certificates are sent along."""

    def headgate(self, *arguments):
        return super().headgate(*arguments, *(["--embed"] if arguments[0] == "push" else []))


class Site:
    """The gateway, its certificates, and an origin for each cluster, all on one loop."""

    def __init__(self):
        self.loop, self.gateway = Loop(), EmbeddingGateway(workers=1)
        self.authority = Authority(self.gateway.folder / "authority")
        certificates = self.gateway.folder / "certs"
        self.pair_of_gateway = self.authority.pair(certificates, "gateway", ["site.example", "*.site.example"])
        self.pair_of_origin = self.authority.pair(certificates, "origin", ["origin.example"])
        self.origins = {}
        for pair in BACKS:
            self.origins[pair.cluster] = Origin(Listening(self.loop, None), functools.partial(self.serve, pair))

    def port(self, is_secure):
        return self.gateway.port_of("secure") if is_secure else self.gateway.port

    def cluster(self, pair):
        tls = {"tls": {"ca": str(self.authority.pem), "sni": "origin.example"}} if pair.is_secure else {}
        return cluster(pair.cluster, self.origins[pair.cluster], protocol=f"http{pair.back}", **tls)

    def configuration(self):
        certificate, key = map(str, self.pair_of_gateway)
        both = {"protocols": ["http1", "http2"]}
        listeners = [listener(self.gateway, **both),
                     listener(self.gateway, name="secure", address=f"127.0.0.1:{self.port(True)}", **both,
                              tls={"certificates": [{"certificate": certificate, "key": key}]})]
        hosts = [{"domains": [pair.authority], "rules": [{"cluster": pair.cluster}]} for pair in BACKS]
        clusters = [self.cluster(pair) for pair in BACKS]
        return configure(self.gateway, clusters, listeners=listeners, hosts=hosts, limits=LIMITS, timeouts={"idle": "1h"})

    def connect(self, pair, **options):
        """A connection as a client has it."""
        sock = socket.create_connection(("127.0.0.1", self.port(pair.is_secure)), timeout=PATIENCE)
        if pair.is_secure:
            context = ssl.create_default_context(cafile=self.authority.pem)
            context.set_alpn_protocols([PROTOCOLS[pair.front]])
            sock = context.wrap_socket(sock, server_hostname="www.site.example")
            assert sock.selected_alpn_protocol() == PROTOCOLS[pair.front]
        return CODECS[pair.front](self.loop, Pipe(self.loop, sock), True, **options)

    def serve(self, pair, sock):
        """A connection as an origin has it."""
        sock.settimeout(PATIENCE)
        if pair.is_secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.pair_of_origin)
            context.set_alpn_protocols([PROTOCOLS[pair.back]])
            sock = context.wrap_socket(sock, server_side=True)
        return CODECS[pair.back](self.loop, Pipe(self.loop, sock), False)

    def client(self, pair, **options):
        return Client(self.loop, functools.partial(self.connect, pair, **options), pair.authority)

    def expect_nothing_left(self):
        """Without clients there is no exchange and no byte of a body, and then, without origins, no connection. Origins
        close last: a request that breaks before its client has gone would go out again."""
        for name in ("connections", "exchanges", "buffered_bytes"):
            self.gateway.wait_metric(name, lambda count: count == 0)
        for origin in self.origins.values():
            origin.drop_connections()
        self.gateway.wait_metric("origin_connections", lambda count: count == 0)
