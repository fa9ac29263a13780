"""The gateway between all pairs of versions: two listeners, plain and TLS, both with HTTP/1.1 and HTTP/2, the second with HTTP/3
as well, in front of a cluster for each version, plain and with TLS. The authority of a request says which one it is for."""
import functools
import os
import socket
import ssl
import time

import http1
import http2
import http3_peers
from certificates import Authority
from configuration import cluster, configure, listener, under
from gateway import POLL_SECONDS, START_SECONDS, Gateway
from loop import Listening, Loop, Pipe
from talk import Client, Origin
from wire import PATIENCE

if not http3_peers.reason:
    import http3
    import quic

CODECS = {1: http1.Connection, 2: http2.Connection}
PROTOCOLS = {1: "http/1.1", 2: "h2"}
VERSIONS = (1, 2) if http3_peers.reason else (1, 2, 3)
TUNNEL_IDLE = "100ms"  # below /idle
LIMITS = {"header-bytes": "16KiB", "headers": 100, "trailer-bytes": "4KiB"}


class Pair:
    """One combination: the client's version, the origin's version, and whether there is TLS on both sides."""

    def __init__(self, front, back, is_secure):
        self.front, self.back, self.is_secure = front, back, is_secure

    def __repr__(self):
        return f"{self.front}to{self.back}{'-tls' if self.is_secure else ''}"

    @property
    def has_http3(self):
        return 3 in (self.front, self.back)

    @property
    def cluster(self):
        return f"http{self.back}{'-tls' if self.is_secure else ''}"

    @property
    def authority(self):
        return f"{self.cluster}.example"


IS_LONG = os.environ.get("HEADGATE_LONG") == "1"  # the soak's: large bodies over HTTP/3, too, where Python is slow
ALL = [Pair(front, back, is_secure) for is_secure in (False, True) for front in VERSIONS for back in VERSIONS
       if is_secure or 3 not in (front, back)]
BACKS = [pair for pair in ALL if pair.front == 1]  # one for each cluster


def first_of(chain):
    """The first certificate of a file."""
    end = "-----END CERTIFICATE-----"
    return chain.read_text().split(end)[0] + end


class EmbeddingGateway(Gateway):
    """Files of certificates are sent along. While a metric is waited for, both ends go on: over QUIC they would not by
    themselves."""

    def __init__(self, loop, **options):
        super().__init__(**options)
        self.loop = loop

    def wait_metric(self, name, condition):
        deadline = time.monotonic() + START_SECONDS
        while not condition(value := self.metric(name)):
            assert time.monotonic() < deadline, f"{name} is {value}"
            self.loop.turn(POLL_SECONDS)
        return value

    def headgate(self, *arguments):
        return super().headgate(*arguments, *(["--embed"] if arguments[0] == "push" else []))


class Site:
    """The gateway, its certificates, and an origin for each cluster, all on one loop."""

    def __init__(self, workers=1):
        self.loop = Loop()
        self.gateway = EmbeddingGateway(self.loop, workers=workers)
        self.authority = Authority(self.gateway.folder / "authority")
        certificates = self.gateway.folder / "certs"
        self.pair_of_gateway = self.authority.pair(certificates, "gateway", ["site.example", "*.site.example"])
        self.pair_of_origin = self.authority.pair(certificates, "origin", ["origin.example"])
        self.origins = {}
        for pair in BACKS:
            self.origins[pair.cluster] = Origin(self.listening(pair), functools.partial(self.serve, pair))

    def listening(self, pair):
        if pair.back < 3:
            return Listening(self.loop, None)
        config = quic.configuration(is_client=False)
        config.load_cert_chain(*self.pair_of_origin)
        return quic.Listening(self.loop, None, config)

    def port(self, is_secure):
        return self.gateway.port_of("secure") if is_secure else self.gateway.port

    def cluster(self, pair):
        tls = {"tls": {"ca": str(self.authority.pem), "sni": "origin.example"}} if pair.is_secure else {}
        return cluster(pair.cluster, self.origins[pair.cluster], protocol=f"http{pair.back}", **tls)

    def configuration(self):
        certificate, key = map(str, self.pair_of_gateway)
        protocols = ["http1", "http2", "http3"]
        listeners = [listener(self.gateway, protocols=protocols[:2]),
                     listener(self.gateway, name="secure", address=f"127.0.0.1:{self.port(True)}",
                              protocols=protocols[:len(VERSIONS)], tls={"certificates": [{"certificate": certificate, "key": key}]})]
        hosts = [{"domains": [pair.authority],
                  "rules": [under("/idle", pair.cluster, timeouts={"tunnel-idle": TUNNEL_IDLE}), {"cluster": pair.cluster}]}
                 for pair in BACKS]
        clusters = [self.cluster(pair) for pair in BACKS]
        return configure(self.gateway, clusters, listeners=listeners, hosts=hosts, limits=LIMITS, timeouts={"idle": "1h"})

    def connect(self, pair, **options):
        """A connection as a client has it."""
        if pair.front == 3:
            return self.connect_http3(("127.0.0.1", self.port(True)), **options)
        sock = socket.create_connection(("127.0.0.1", self.port(pair.is_secure)), timeout=PATIENCE)
        if pair.is_secure:
            context = ssl.create_default_context(cafile=self.authority.pem)
            context.set_alpn_protocols([PROTOCOLS[pair.front]])
            sock = context.wrap_socket(sock, server_hostname="www.site.example")
            assert sock.selected_alpn_protocol() == PROTOCOLS[pair.front]
        return CODECS[pair.front](self.loop, Pipe(self.loop, sock), True, **options)

    def connect_http3(self, address, **options):
        window = {name: options[name] for name in options if name == "window"}
        endpoint = quic.ClientEndpoint(self.loop, address, quic.configuration(True, server_name="www.site.example", **window))
        connection = http3.Connection(self.loop, endpoint.link, True, **options)
        self.loop.until("the handshake", lambda: endpoint.link.quic.is_ready or endpoint.link.is_ended)
        assert not endpoint.link.is_ended, endpoint.link.why
        assert endpoint.link.quic.certificate() == ssl.PEM_cert_to_DER_cert(first_of(self.pair_of_gateway[0]))
        return connection

    def serve(self, pair, sock):
        """A connection as an origin has it."""
        if pair.back == 3:
            return http3.Connection(self.loop, sock, False)
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
