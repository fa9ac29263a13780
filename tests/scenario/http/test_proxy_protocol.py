"""The PROXY protocol: what a proxy in front says about clients, and what origins are told."""
import json
import socket
import struct
import subprocess

import pytest

from configuration import QUICK, cluster, configure, listener
from gateway import free_port
from origins import Running
from wire import request

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
SOURCE, TARGET = "192.0.2.7", "198.51.100.2"
LINE = f"PROXY TCP4 {SOURCE} {TARGET} 4096 443\r\n"


def binary(command=0x21, family=0x11, source=SOURCE, tail=b""):
    """A header of version 2."""
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    target = "2001:db8::2" if ":" in source else TARGET
    body = socket.inet_pton(kind, source) + socket.inet_pton(kind, target) + struct.pack(">HH", 4096, 443) + tail
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


@pytest.fixture
def front(gateway, teller):
    """A listener that believes the loopback network, one that believes another, and the origin that tells what it saw."""
    def expecting(name, *trusted, **more):
        return listener(gateway, name=name, address=f"127.0.0.1:{gateway.port_of(name)}",
                        **{"proxy-protocol": {"mode": "accept", "trusted": list(trusted)}}, **more)
    gateway.serve(configure(gateway, [cluster("teller", teller)], listeners=[
        listener(gateway), expecting("believing", "127.0.0.0/8", timeouts={"handshake": "10s"}),
        expecting("hurried", "127.0.0.0/8", timeouts={"handshake": QUICK}),
        expecting("elsewhere", "203.0.113.0/24", "2001:db8::/32")],
        limits={"connections-per-ip": 3}))
    return gateway


def ask(gateway, header, target="/", name="believing", **how):
    with gateway.connect(gateway.port_of(name)) as client:
        return client.exchange(header, request("GET", target, **how))


def lower(fields):
    return {name.lower(): value for name, value in fields}


def told(answer):
    assert answer.status == 200, answer.raw_head
    return lower(json.loads(answer.body)["fields"])


@pytest.mark.parametrize("header, source", [
    (LINE, SOURCE), (binary(), SOURCE), (binary(tail=b"\x04\x00\x05hello"), SOURCE),
    ("PROXY TCP6 2001:db8::7 2001:db8::2 4096 443\r\n", "2001:db8::7"),
    (binary(family=0x21, source="2001:db8::7"), "2001:db8::7"),
    ("PROXY UNKNOWN\r\n", "127.0.0.1"), (binary(command=0x20), "127.0.0.1"), (binary(command=0x20, family=0), "127.0.0.1"),
], ids=["v1", "v2", "v2 with TLV", "v1 IPv6", "v2 IPv6", "v1 unknown", "v2 local", "v2 local without family"])
def test_the_client_is_who_the_header_names(front, header, source):
    assert told(ask(front, header, "/named"))["x-forwarded-for"] == source
    assert front.wait_log(lambda r: r.get("target") == "/named" and r["client"] == source)


def test_the_header_counts_for_the_whole_connection(front):
    with front.connect(front.port_of("believing")) as client:
        for header in (LINE, "", ""):
            assert told(client.exchange(header, request()))["x-forwarded-for"] == SOURCE


def test_a_header_may_come_byte_by_byte(front):
    with front.connect(front.port_of("believing")) as client:
        for byte in binary():
            client.send(bytes([byte]))
        assert told(client.exchange(request()))["x-forwarded-for"] == SOURCE


@pytest.mark.parametrize("name", ["web", "elsewhere"])
@pytest.mark.parametrize("header", [LINE, binary()], ids=["v1", "v2"])
def test_a_header_from_anybody_else_is_a_bad_request(front, name, header):
    with front.connect(front.port_of(name)) as client:
        answer = client.exchange(header, request("GET", "/forged"))
        assert (answer.status, answer.closes) == (400, True)
        client.expect_closed()


def test_anybody_else_is_served_without_one(front):
    assert told(ask(front, "", name="elsewhere"))["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("start", [request(), "PROXY TCP4 192.0.2.7 198.51.100.2 4096 65536\r\n" + request().decode(),
                                   SIGNATURE + b"\x31\x11\x00\x0c", SIGNATURE + b"\x21\x11\xff\xff"],
                         ids=["no header", "bad port", "bad version", "overlong"])
def test_a_trusted_source_without_a_good_header_is_closed(front, start):
    before = front.metric("proxy_header_errors_total")
    with front.connect(front.port_of("believing")) as client:
        client.send(start)
        client.expect_closed_or_reset()
    front.wait_metric("proxy_header_errors_total", lambda count: count == before + 1)


def test_a_header_that_does_not_come_is_waited_for_until_the_deadline(front):
    before = front.metric("client_header_timeouts_total")
    with front.connect(front.port_of("hurried")) as client:
        client.send(LINE[:10])
        client.expect_closed_or_reset()
    front.wait_metric("client_header_timeouts_total", lambda count: count == before + 1)


def test_connections_are_counted_for_the_client_that_is_named(front):
    held = [front.connect(front.port_of("believing")) for _ in range(4)]
    before = front.metric("connections_refused_per_ip_total")
    try:
        for client in held[:3]:
            assert client.exchange(LINE, request()).status == 200
        held[3].send(LINE, request())
        held[3].expect_closed_or_reset()
        front.wait_metric("connections_refused_per_ip_total", lambda count: count == before + 1)
        assert ask(front, LINE.replace(SOURCE, "192.0.2.8")).status == 200, "another client of the same proxy is refused"
    finally:
        for client in held:
            client.close()


# ---- programs that people have

def test_curl(front):
    done = subprocess.run(["curl", "-sS", "--haproxy-protocol", f"http://127.0.0.1:{front.port_of('believing')}/curl"],
                          capture_output=True, text=True, timeout=30, check=True)
    assert lower(json.loads(done.stdout)["fields"])["x-forwarded-for"] == "127.0.0.1"


HAPROXY_IN_FRONT = """
global
    maxconn 100
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend f
    bind 127.0.0.1:{port}
    default_backend b
backend b
    server s 127.0.0.1:{target} {send}
"""

@pytest.mark.parametrize("mode, send", [("http", "send-proxy"), ("http", "send-proxy-v2"),
                                        ("tcp", "send-proxy-v2 proxy-v2-options unique-id,crc32c")],
                         ids=["v1", "v2", "v2 with TLVs"])
def test_haproxy_in_front(front, tmp_path, mode, send):
    port = free_port()
    config = HAPROXY_IN_FRONT.format(mode=mode, send=send, port=port, target=front.port_of("believing"))
    with Running("haproxy", tmp_path, config, port) as balancer:
        for source in ("127.0.0.2", "127.0.0.3"):
            with front.connect(balancer.port, source=source) as client:
                assert told(client.exchange(request("GET", "/balanced")))["x-forwarded-for"] == source
                assert front.wait_log(lambda r: r.get("target") == "/balanced" and r["client"] == source)
