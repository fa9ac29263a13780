"""What a path does to datagrams, with HTTP/3 on either side: it takes some size and no more, which may become less in the
middle of a connection; and it tells of congestion (ECN)."""
import contextlib
import functools
import socket
from collections import Counter

import pytest

import http3_peers
from bodies import Flow, carry
from pairs import Pair
from talk import Client

if http3_peers.reason:
    pytest.skip(http3_peers.reason, allow_module_level=True)

from aioquic.buffer import Buffer  # noqa: E402  (there may be no aioquic)
from aioquic.quic.packet import QuicFrameType  # noqa: E402
from aioquic.tls import Epoch  # noqa: E402

import quic  # noqa: E402
from udp_relay import Plan, Relay  # noqa: E402

MIB, FINDING_SECONDS = 1 << 20, 60     # each size takes some probe timeouts
NOT_ECT, ECT_1, ECT_0, CE = range(4)    # RFC 3168 section 5


# ---- sizes

@pytest.fixture(name="side", params=[Pair(3, 1, True), Pair(1, 3, True)], ids=repr)
def side_with_http3(request, site):
    yield request.param
    site.gateway.serve(site.configuration())
    site.expect_nothing_left()


@contextlib.contextmanager
def relayed(site, pair, plan, largest=None):
    """(client, origin, relay). `largest`: what the gateway tries at most; by default that is more than any Ethernet takes, as
    its peers here are on loopback. (aioquic itself takes no more than 1,500 bytes.)"""
    config, more = site.configuration(), {"quic": {"max-udp-payload": largest}} if largest else {}
    port = site.port(True) if pair.front == 3 else site.origins[pair.cluster].listening.port
    relay = Relay(site.loop, ("127.0.0.1", port), plan)
    connect = functools.partial(site.connect, pair)
    if pair.front == 3:
        config["listeners"][1].update(more)
        connect = functools.partial(site.connect_http3, ("127.0.0.1", relay.port))
    else:
        [cluster] = [cluster for cluster in config["clusters"] if cluster["name"] == pair.cluster]
        cluster.update(more, endpoints=[f"127.0.0.1:{relay.port}"])
    site.gateway.serve(config)
    with Client(site.loop, connect, pair.authority) as client:
        yield client, site.origins[pair.cluster], relay
    site.gateway.wait_metric("connections", lambda count: count == 0)
    relay.close()


def from_the_gateway(pair, relay):
    return relay.back if pair.front == 3 else relay.there


def both_ways(client, origin, size):
    """One exchange that has begun: (request's body, response's body)."""
    asked = client.ask("POST", "/body", length=size, is_open=True)
    served = origin.request("/body")
    served.respond(200, is_open=True)
    up = Flow(asked, served, size)
    return up, Flow(served, asked, size, after=up)


def test_the_size_of_a_path_is_found(site, side):
    """Larger datagrams than the path takes are tried, and are missed by nobody."""
    found = 1342    # of those that are tried: 1406, 1342, 1232, 1444
    with relayed(site, side, Plan(mtu=1380), largest=1451) as (client, origin, relay):
        way = from_the_gateway(side, relay)
        carry(*both_ways(client, origin, MIB))
        client.loop.until("the size is found", lambda: way.longest == found, FINDING_SECONDS)
        carry(*both_ways(client, origin, MIB))
        assert way.longest == found and way.counts["too_large"] > 0, relay.counts()
        assert len(client.connections) == 1


def test_a_path_that_shrinks(site, side):
    """In the middle of a transfer, without a word: the connection goes on."""
    before = site.gateway.metric("quic_paths_shrunk_total")
    with relayed(site, side, Plan()) as (client, origin, relay):
        up, down = both_ways(client, origin, 2 * MIB)
        way = from_the_gateway(side, relay)
        client.loop.until("a large size is found", lambda: way.longest > 1360, FINDING_SECONDS)
        client.loop.until("a part", lambda: any([up.step(), down.step()]) and up.seen > MIB // 2)
        relay.plan.mtu = 1360
        carry(up, down)
        assert site.gateway.metric("quic_paths_shrunk_total") > before
        assert way.counts["too_large"] > 0 and len(client.connections) == 1


# ---- congestion that is told

class MarkedSocket:
    """Sends with these bits of ECN, and counts those of what goes and comes."""

    def __init__(self, sock, bits):
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        self.sock, self.sent, self.came = sock, Counter(), Counter()
        self.mark(bits)

    def mark(self, bits):
        self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, bits)
        self.bits = bits

    def sendto(self, data, address):
        self.sock.sendto(data, address)
        self.sent[self.bits] += 1

    def recvfrom(self, size):
        data, parts, _, address = self.sock.recvmsg(size, 64)
        self.came.update(value[0] & 3 for level, kind, value in parts if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS))
        return data, address

    def __getattr__(self, name):
        return getattr(self.sock, name)


class HearingEngine(quic.Engine):
    """Keeps what the peer says to have received: {bits: packets} of its last ACK of 1-RTT packets."""

    heard = Counter()

    def _handle_ack_frame(self, context, frame_type, buf):
        begin = buf.tell()
        super()._handle_ack_frame(context, frame_type, buf)
        if context.epoch is Epoch.ONE_RTT and frame_type == QuicFrameType.ACK_ECN:
            self.heard = Counter(dict(zip((ECT_0, ECT_1, CE), numbers(buf.data_slice(begin, buf.tell()))[-3:])))


def numbers(octets):
    """Those of variable length that these octets are."""
    found, buf = [], Buffer(data=octets)
    while not buf.eof():
        found.append(buf.pull_uint_var())
    return found


@pytest.mark.pairs(front=(3,), back=(1,))
def test_congestion_is_told_both_ways(site, pair, origin, monkeypatch):
    """What is sent is marked; and who marks what comes hears of it."""
    monkeypatch.setattr(quic, "Engine", HearingEngine)
    monkeypatch.setattr(quic, "udp_socket", lambda real=quic.udp_socket: MarkedSocket(real(), ECT_0))
    with site.client(pair) as client:
        carry(*both_ways(client, origin, 100000))
        engine, sock = client.connections[0].quic, client.connections[0].pipe.endpoint.sock
        assert sock.came[ECT_0] > 0 and not sock.came[ECT_1] + sock.came[CE]
        client.loop.until("what was marked is counted", lambda: engine.heard[ECT_0] > 10)
        assert not engine.heard[CE]
        sock.mark(CE)
        carry(*both_ways(client, origin, 100000))
        sock.mark(ECT_0)
        marked, sock.came = sock.sent[CE], Counter()
        carry(*both_ways(client, origin, 100000))
        assert marked > 10 and engine.heard == {ECT_0: engine.heard[ECT_0], ECT_1: 0, CE: marked}
        assert set(sock.came) == {NOT_ECT}, "this client has not told of marks (RFC 9000 section 13.4.2.1)"
