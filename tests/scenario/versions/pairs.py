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

    @property
    def is_first(self):
        return (self.front, self.back) == (1, 1)


ALL = [Pair(front, back, is_secure) for is_secure in (False, True) for front in (1, 2) for back in (1, 2)]


class EmbeddingGateway(Gateway):
    """Files of certificates are sent along."""

    def headgate(self, *arguments):
        return super().headgate(*arguments, *(["--embed"] if arguments[0] == "push" else []))


class Site:
    """The gateway, its certificates, and an origin for each cluster, all on one loop."""

    def __init__(self):
        self.loop, self.gateway = Loop(), EmbeddingGateway(workers=1)
        self.authority = Authority(self.gateway.folder / "authority")
        self.pair_of_gateway = self.authority.pair(self.gateway.folder / "certs", "gateway", ["site.example", "*.site.example"])
        self.pair_of_origin = self.authority.pair(self.gateway.folder / "certs", "origin", ["origin.example"])
        self.origins = {}
        for pair in ALL[0], ALL[1], ALL[4], ALL[5]:
            self.origins[pair.cluster] = Origin(Listening(self.loop, None), functools.partial(self.serve, pair))

    def port(self, is_secure):
        return self.gateway.port_of("secure") if is_secure else self.gateway.port

    def cluster(self, pair, **more):
        tls = {"tls": {"ca": str(self.authority.pem), "sni": "origin.example"}} if pair.is_secure else {}
        return cluster(pair.cluster, self.origins[pair.cluster], protocol=f"http{pair.back}", **tls, **more)

    def configuration(self, rules_of=lambda _cluster: [], **of_cluster):
        """`rules_of` gives rules of a cluster that go before the one that forwards everything."""
        certificate, key = map(str, self.pair_of_gateway)
        both = {"protocols": ["http1", "http2"]}
        listeners = [listener(self.gateway, **both),
                     listener(self.gateway, name="secure", address=f"127.0.0.1:{self.port(True)}", **both,
                              tls={"certificates": [{"certificate": certificate, "key": key}]})]
        pairs = [ALL[0], ALL[1], ALL[4], ALL[5]]
        hosts = [{"domains": [pair.authority], "rules": [*rules_of(pair.cluster), {"cluster": pair.cluster}]} for pair in pairs]
        config = configure(self.gateway, [self.cluster(pair, **of_cluster) for pair in pairs], listeners=listeners, hosts=hosts,
                           limits=LIMITS, timeouts={"idle": "1h"})
        return config

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
        """No exchange, no byte of a body, no connection with an origin is left over."""
        for origin in self.origins.values():
            origin.drop_connections()
        for name in ("exchanges", "buffered_bytes", "origin_connections"):
            self.gateway.wait_metric(name, lambda count: count == 0)
