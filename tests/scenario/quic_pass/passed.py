"""Clients and servers of QUIC that are not ours, on both sides of a listener that passes it through, and configurations of such
listeners."""
import itertools
import os
from unittest import mock

import pytest

import http3_peers

if http3_peers.reason:      # for all that import this
    pytest.skip(http3_peers.reason, allow_module_level=True)

from aioquic.buffer import Buffer  # noqa: E402  (these are there after the lines above)
from aioquic.quic import events  # noqa: E402
from aioquic.quic.packet import QuicPacketType, QuicProtocolVersion, pull_quic_header  # noqa: E402
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: E402

from configuration import cluster, configure  # noqa: E402
from quic import ID_LENGTH, WIDE, ClientEndpoint, Engine, Link, Listening, configuration, udp_socket  # noqa: E402

NAME = "quic"


class Server(Listening):
    """Says its name, a colon, and as many bytes as a stream asks for. `make_id`: of the connection IDs that it issues."""

    def __init__(self, loop, name, certificate, make_id=None):
        config = configuration(is_client=False)
        config.load_cert_chain(*certificate)
        super().__init__(loop, self.on_link, config)
        self.name, self.make_id, self.accepted, self.asked = name, make_id, 0, {}

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def on_link(self, link):
        self.accepted += 1
        link.feed = lambda event: self.on_event(link, event)

    def link_of(self, data, address):
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=ID_LENGTH)
        except ValueError:
            return None
        link = self.links.get(header.destination_cid)
        if link or header.packet_type != QuicPacketType.INITIAL or header.version not in self.config.supported_versions:
            return link
        with self.issuing():
            engine = IssuingEngine(configuration=self.config, original_destination_connection_id=header.destination_cid)
        engine.server = self
        link = self.links[header.destination_cid] = self.links[engine.host_cid] = Link(self, engine)
        self.on_accept(link)
        return link

    def issuing(self):
        """While this holds, the random octets of connection IDs are those of `make_id`."""
        real = os.urandom
        return mock.patch("os.urandom", lambda n: self.make_id() if self.make_id and n == ID_LENGTH else real(n))

    def on_event(self, link, event):
        if not isinstance(event, events.StreamDataReceived):
            return
        asked = self.asked.setdefault((link, event.stream_id), bytearray())
        asked += event.data
        if event.end_stream:
            link.quic.send_stream_data(event.stream_id, self.name.encode() + b":" + bytes(int(asked)), True)


class IssuingEngine(Engine):
    server = None

    def _replenish_connection_ids(self):
        with self.server.issuing():
            super()._replenish_connection_ids()


class FirstFlight:
    """The datagrams that a client says before it has heard anything leave together, perhaps the last one first."""

    def __init__(self, reverses=False):
        self.reverses, self.count = reverses, 0


class HoldingEndpoint(ClientEndpoint):
    def __init__(self, loop, address, config, flight):
        self.held = []
        super().__init__(loop, address, config)
        held, self.held = self.held, None
        flight.count = len(held)
        for one in reversed(held) if flight.reverses else held:
            self.send(*one)

    def send(self, data, address):
        if self.held is None:
            super().send(data, address)
        else:
            self.held.append((data, address))


class Client:
    """One connection through the listener. `protocols`: more of ALPN."""

    def __init__(self, loop, port, name=None, first_flight=None, protocols=(), **more):
        config = configuration(is_client=True, window=WIDE, server_name=name, **more)
        config.alpn_protocols = [*config.alpn_protocols, *protocols]
        self.pings = itertools.count()
        self.loop, self.answers, self.ended, self.first_flight = loop, {}, set(), first_flight or FirstFlight()
        self.endpoint = HoldingEndpoint(loop, ("127.0.0.1", port), config, self.first_flight)
        self.link, self.quic = self.endpoint.link, self.endpoint.link.quic
        self.link.feed = self.on_event

    def on_event(self, event):
        if isinstance(event, events.StreamDataReceived):
            self.answers.setdefault(event.stream_id, bytearray()).extend(event.data)
            if event.end_stream:
                self.ended.add(event.stream_id)

    def ask(self, n=0):
        """The number of the stream on which n bytes were asked for."""
        stream = self.quic.get_next_available_stream_id()
        self.quic.send_stream_data(stream, str(n).encode(), True)
        self.link.push()
        return stream

    def wait(self, stream, at_least=None):
        """Until the answer has come, or so many bytes of it. Returns who it is of, and how many bytes."""
        def is_there():
            return stream in self.ended if at_least is None else len(self.answers.get(stream, b"")) >= at_least
        self.loop.until("an answer", is_there)
        name, _, rest = bytes(self.answers[stream]).partition(b":")
        return name.decode(), len(rest)

    def whose(self):
        """The name of the server behind."""
        return self.wait(self.ask())[0]

    def rebind(self):
        """Another port, as after a NAT has forgotten the old one: the connection ID stays. A client that only listens would never
        learn of it, so it says something."""
        self.endpoint.rebind()
        self.ping()

    def ping(self):
        self.quic.send_ping(next(self.pings))
        self.link.push()

    def migrate(self):
        """Another port and another connection ID, as when a client changes its network."""
        self.loop.until("spare connection IDs", lambda: self.quic._peer_cid_available)  # pylint: disable=protected-access
        self.quic.change_connection_id()
        self.rebind()


# ---- configurations

def passing(gateway, name=NAME, address=None, **quic_pass):
    return {"name": name, "address": address or f"127.0.0.1:{gateway.port_of(name)}", "quic-pass": quic_pass}


def serve(gateway, clusters, bounds=None, **quic_pass):
    """A listener with these keys. `clusters`: names, and lists of servers or endpoints; `bounds`: their circuit breakers."""
    more = {"balancer": "maglev", **({"circuit-breakers": bounds} if bounds else {})}
    clusters = [cluster(name, *servers, **more) for name, servers in clusters.items()]
    gateway.serve(configure(gateway, clusters, listeners=[passing(gateway, **quic_pass)], timeouts={"drain": "1s"}))


def connect(gateway, loop, name="a.test", **more):
    return Client(loop, gateway.port_of(NAME), name, **more)


# ---- connection IDs that name servers: draft-ietf-quic-load-balancers

def half_round(key, length, number, source, target, keep_first):
    size = (length + 1) // 2
    block = source + bytes(14 - size) + bytes([length, number])
    mask = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305
    out = bytearray(a ^ b for a, b in zip(target, mask))
    if length % 2:
        at = size - 1 if keep_first else 0
        out[at] &= 0xF0 if keep_first else 0x0F
    return bytes(out)


def encrypted(key, plain):
    """Section 5.4.2."""
    n, size = len(plain), (len(plain) + 1) // 2
    left, right = bytearray(plain[:size]), bytearray(plain[n - size:])
    if n % 2:
        left[-1] &= 0xF0
        right[0] &= 0x0F
    left, right = bytes(left), bytes(right)
    right = half_round(key, n, 1, left, right, False)
    left = half_round(key, n, 2, right, left, True)
    right = half_round(key, n, 3, left, right, False)
    left = half_round(key, n, 4, right, left, True)
    if n % 2:
        return left[:-1] + bytes([left[-1] | right[0]]) + right[1:]
    return left + right


def ids_of(server, rotation, key=None):
    """What makes the IDs of the server with this ID (octets)."""
    real = os.urandom

    def make():
        plain = server + real(ID_LENGTH - 1 - len(server))
        return bytes([rotation << 5 | real(1)[0] & 31]) + (encrypted(key, plain) if key else plain)
    return make


# ---- without a library

class Datagrams:
    """A socket on which a test says and hears datagrams."""

    def __init__(self, port=None):
        self.sock = udp_socket()
        self.sock.settimeout(10)
        self.port = self.sock.getsockname()[1]
        if port:
            self.sock.connect(("127.0.0.1", port))

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.sock.close()


def long_packet(version, dcid, scid, rest=b"", first=0xC0, size=1200):
    packet = bytes([first]) + version.to_bytes(4, "big") + bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid + rest
    return packet.ljust(size, b"\0")
