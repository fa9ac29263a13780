"""Attacks on TLS and on the header of the PROXY protocol, before and after the handshake."""
import itertools
import random
import socket
import ssl
import struct

import pytest

import openssl_client
from gateway import wait_until
from openssl_client import OpensslClient
from test_h2_floods import GROWTH
from test_slow_clients import rise
from watching import Watch
from wire import Connection, request

HALF_OPEN, PATIENT_UPDATES = 200, 100000
HANDSHAKE, APPLICATION = 22, 23
SEED = 20240607


def record(payload, kind=HANDSHAKE, version=0x0301):
    return struct.pack(">BHH", kind, version, len(payload)) + payload


def client_hello():
    """As Python's client makes it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(incoming, outgoing, server_hostname="www.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def raw(site, listener="secure"):
    """A connection without TLS to whatever listener."""
    sock = socket.create_connection(("127.0.0.1", site.gateway.port_of(listener)), 30)
    return Connection(sock)


def expect_failure(site, before):
    wait_until("a failure of TLS to be counted", lambda: sum(site.tls_failures().values()) > sum(before.values()))


@pytest.mark.parametrize("part", [0, 1, 5, 60], ids="{} octets".format)
def test_handshakes_that_are_left_half_open(site, part):
    """Many at once; each ends at the deadline of handshakes."""
    name = "client_handshake_timeouts_total"
    rose, hello = rise(site, name), client_hello()
    with Watch(site, GROWTH):
        clients = [raw(site, "hurried-secure").send(hello[:part]) for _ in range(HALF_OPEN)]
        for client in clients:
            client.receive_all_or_reset()
            client.close()
        rose(HALF_OPEN)


def test_a_hello_that_drips(site):
    """The deadline is for the whole handshake: octets do not move it."""
    rose = rise(site, "client_handshake_timeouts_total")
    with Watch(site, GROWTH), raw(site, "hurried-secure") as client:
        slow = b"".join(record(bytes([octet])) for octet in client_hello()[5:])
        client.sock.settimeout(0.01)
        for octet in itertools.islice(itertools.cycle(slow[:-6]), 5000):
            try:
                client.send(bytes([octet]))
                if not client.more():
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    rose(1)


PLAIN = {"HTTP/1.1": request(), "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
         "SSH": b"SSH-2.0-OpenSSH_9.2\r\n", "SSL 2": b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10" + bytes(40),
         "PROXY": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n"}


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_no_tls(site, name):
    before = site.tls_failures()
    with Watch(site, GROWTH), raw(site) as client:
        client.send(PLAIN[name])
        answer = client.receive_all_or_reset()
        assert b"HTTP/1.1 200" not in answer and len(answer) < 1000, answer
    expect_failure(site, before)


LARGE = {"of 16 MiB": record(b"\x01\xff\xff\xff" + b"x" * 16000) + record(b"x" * 16000) * 20,
         "a record too large": struct.pack(">BHH", HANDSHAKE, 0x0301, 65535) + b"x" * 65535,
         "of no length": record(b"\x01\0\0\0"), "empty records": record(b"") * 5000,
         "another message first": record(b"\x02\0\0\x04abcd"), "application data first": record(b"x" * 100, APPLICATION),
         "an alert first": record(b"\x02\x28", 21), "extensions of no sense": record(
             b"\x01\0\x01\0\x03\x03" + bytes(32) + b"\0\0\x02\x13\x01\x01\0" + b"\xff" * 215)}


@pytest.mark.parametrize("name", LARGE)
def test_hellos_of_no_sense(site, name):
    before = site.tls_failures()
    with Watch(site, GROWTH), raw(site) as client:
        client.send_what_fits(LARGE[name])
        assert len(client.receive_all_or_reset()) < 100
    expect_failure(site, before)


def test_garbage(site):
    """Random octets, with and without the beginning of a record, and hellos with octets changed: every connection ends, or
    waits for more and is ended by its deadline."""
    chance, hello = random.Random(SEED), client_hello()
    with Watch(site, GROWTH):
        clients = []
        for turn in range(300):
            octets = bytearray(chance.randbytes(chance.randrange(1, 2000)) if turn % 3 == 0 else hello)
            if turn % 3 == 1:
                octets = bytearray(record(chance.randbytes(chance.randrange(1, 2000))))
            elif turn % 3 == 2:
                for _ in range(chance.randrange(1, 20)):
                    octets[chance.randrange(len(octets))] = chance.randrange(256)
            client = raw(site, "hurried-secure")
            client.send_what_fits(bytes(octets))
            clients.append(client)
        for client in clients:
            client.receive_all_or_reset()
            client.close()


def test_renegotiation_is_refused(site):
    with Watch(site, GROWTH) as watch, OpensslClient(site.gateway.port_of("secure"), openssl_client.TLS_1_2) as client:
        assert client.write(request("GET", "/respond")) > 0 and b"200" in client.read()
        for _ in range(20):
            if not client.renegotiate():
                break
        else:
            pytest.fail("twenty renegotiations")
        watch.expect_answers()


@pytest.mark.parametrize("kind", [openssl_client.UPDATE_REQUESTED, openssl_client.UPDATE_NOT_REQUESTED],
                         ids=["requested", "not requested"])
def test_updates_of_keys_without_end(site, kind):
    before = site.tls_failures()
    with Watch(site, GROWTH) as watch, OpensslClient(site.gateway.port_of("secure")) as client:
        assert client.write(request("GET", "/respond")) > 0 and b"200" in client.read()
        for number in range(PATIENT_UPDATES):
            if not client.update_keys(kind):
                break
        assert number < PATIENT_UPDATES - 1, "updates without end were taken"
        watch.expect_answers()
    expect_failure(site, before)


def test_updates_of_keys_between_requests(site):
    """Honest ones are not refused."""
    with OpensslClient(site.gateway.port_of("secure")) as client:
        for _ in range(50):
            assert client.update_keys() and client.write(request("GET", "/respond")) > 0
            assert b"HTTP/1.1 200" in client.read()


def test_a_session_that_is_damaged(site):
    """A record that was changed on its way ends the connection, and nothing of it is a request."""
    before = site.tls_failures()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Watch(site, GROWTH), raw(site) as client:
        secured = context.wrap_socket(client.sock, server_hostname="www.example")
        plain = socket.socket(fileno=secured.detach())
        client.sock = plain
        plain.settimeout(30)
        client.send(record(b"y" * 200, APPLICATION, 0x0303))
        client.receive_all_or_reset()
    expect_failure(site, before)
    assert not site.origin.requests


# ---- the PROXY protocol

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEADERS = {"nothing": b"", "a part of version 1": b"PROXY TCP4 192.0.2.1", "a part of version 2": SIGNATURE[:7],
           "a length that is not kept": SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 100}
WRONG = {"a line without end": b"PROXY TCP4 " + b"1" * 4000, "garbage": b"\xff" * 300, "HTTP without a header": request(),
         "an address of no sense": b"PROXY TCP4 999.0.2.1 192.0.2.2 1 443\r\n",
         "a length below the addresses": SIGNATURE + b"\x21\x11\0\x04" + bytes(4) + request("GET", "/spilled"),
         "version 3": SIGNATURE + b"\x31\x11\0\x0c" + bytes(12) + request("GET", "/spilled")}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_proxies_that_never_end(site, name):
    with Watch(site, GROWTH):
        clients = [raw(site, "hurried-proxied").send(HEADERS[name]) for _ in range(HALF_OPEN)]
        for client in clients:
            client.expect_closed_or_reset()
            client.close()


@pytest.mark.parametrize("name", WRONG)
def test_headers_of_proxies_that_are_wrong(site, name):
    rose = rise(site, "proxy_header_errors_total")
    with Watch(site, GROWTH), raw(site, "proxied") as client:
        client.send_what_fits(WRONG[name])
        assert b" 200 " not in client.receive_all_or_reset()
    rose(1)
    assert not site.origin.requests


def test_a_tlv_beyond_the_length_of_its_header(site):
    """CVE-2026-47692: the header ends where its length says, and what follows is one request."""
    header = SIGNATURE + b"\x21\x11\0\x0f" + bytes(12) + b"\x01\xff\xff"
    with Watch(site, GROWTH), raw(site, "proxied") as client:
        assert client.exchange(header + request("GET", "/behind")).status == 200
    assert [asked.target for asked in site.origin.requests] == ["/behind"]
