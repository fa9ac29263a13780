"""Peers that stop, close, half-close or reset at any point of a dialogue, many at once, and bytes that come
in any pieces. The gateway answers or cuts, holds nothing afterwards, and the sanitizers have nothing to say.
"""
import random
import socket
import threading

import pytest

from configuration import cluster, configure, under
from wire import Origin, chunked, head_of, request, response

SEEDS = range(6)
CLIENTS, ROUNDS = 8, 40

REQUESTS = [
    request("GET", "/a"), request("HEAD", "/a"), request("POST", "/a", body=b"x" * 3000),
    head_of("POST /a HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + chunked(b"x" * 1000, b"y" * 3000,
                                                                                   trailers=["T: 1"]),
    head_of("PUT /a HTTP/1.1", "Host: a", "Content-Length: 300000") + b"z" * 300000,
    head_of("POST /a HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 5") + b"hello",
    request("GET", "/1") + request("POST", "/2", body="2") + request("GET", "/respond") + request("GET",
                                                                                                  "/3"),
    request("GET", "/respond"), request("GET", "/none"), b"GARBAGE\r\n\r\n",
]
RESPONSES = [
    response(body="short"), response(body=b"x" * 200000), head_of("HTTP/1.1 204 No Content"), b"GARBAGE",
    head_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunked(b"x" * 50000, b"y" * 50000,
                                                                       trailers=["T: 1"]),
    head_of("HTTP/1.1 200 OK", "Connection: close") + b"until the end",
    head_of("HTTP/1.1 103 Early Hints") + response(body="late"),
    response(413, "Connection: close", body="no"),
]


def pieces_of(data, dice):
    """The data in a few pieces."""
    at = 0
    while at < len(data):
        n = dice.choice([1, 7, 100, 5000, len(data)])
        yield data[at:at + n]
        at += n


def act(sock, data, dice):
    """Sends a part of the data, or all, in pieces, and ends in some way. True: the connection is still open.
    """
    end = dice.choice([len(data)] * 3 + [dice.randrange(len(data) + 1)])
    try:
        for piece in pieces_of(data[:end], dice):
            sock.sendall(piece)
        how = dice.choice(["stay"] * 4 + ["half-close", "close", "reset"])
        if how == "half-close":
            sock.shutdown(socket.SHUT_WR)
        elif how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return how in ("stay", "half-close")
    except OSError:
        return False


def drain(sock, seconds):
    """Reads until the end, an error, or silence."""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
    except OSError:
        pass


class UnreliableOrigin:
    """Reads a little and does one of the things above, on every connection."""

    def __init__(self, origin, seed):
        self.origin, self.dice, self.threads, self.ending = origin, random.Random(seed), [], False
        self.acceptor = threading.Thread(target=self.accept)
        self.acceptor.start()

    def accept(self):
        while not self.ending:
            try:
                sock, _ = self.origin.sock.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(sock, random.Random(self.dice.random())))
            thread.start()
            self.threads.append(thread)

    @staticmethod
    def serve(sock, dice):
        with sock:
            sock.settimeout(0.2)
            try:
                while dice.random() < 0.9 and sock.recv(dice.choice([1, 100, 65536])):
                    if dice.random() < 0.7 and not act(sock, dice.choice(RESPONSES), dice):
                        return
            except OSError:
                pass

    def close(self):
        self.ending = True
        with socket.create_connection(("127.0.0.1", self.origin.port)):
            self.acceptor.join()
        for thread in self.threads:
            thread.join()


def misbehave(gateway, seed):
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
            sock.settimeout(20)
            if act(sock, dice.choice(REQUESTS), dice):
                drain(sock, dice.choice([0.001, 0.1]))


@pytest.mark.parametrize("seed", SEEDS)
def test_accidents(gateway, seed):
    with Origin() as origin:
        short = dict.fromkeys(("response-head", "body", "response-body"), "1s")
        gateway.serve(configure(gateway, [cluster("origin", origin), cluster("empty")], [
            under("/respond", {"respond": {"body": "here\n"}}), under("/none", "empty"),
            under("/", "origin", timeouts=short, retry={"retries": 2,
                                                        "on": ["reset", "503", "connect-failure"]}),
        ], timeouts={"idle": "1s", "header": "1s", "write": "1s"}))
        pid = gateway.dataplane_pid()
        unreliable = UnreliableOrigin(origin, seed)
        threads = [threading.Thread(target=misbehave, args=(gateway,
                                                            f"{seed}.{number}")) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        unreliable.close()
    for gauge in ("exchanges", "connections", "origin_connections", "origin_idle_connections",
                  "buffered_bytes"):
        gateway.wait_metric(gauge, lambda value: value == 0)
    assert gateway.dataplane_pid() == pid
    assert gateway.get("/respond").body == b"here\n"


@pytest.mark.parametrize("seed", SEEDS)
def test_pieces_of_any_size_are_the_same_dialogue(client, origin, seed):
    """Pipelined requests of every kind and their responses, each cut at random places."""
    dice = random.Random(seed)
    bodies = [bytes(dice.randrange(256) for _ in range(dice.choice([0, 1, 500, 20000]))) for _ in range(12)]
    sent = b""
    for number, body in enumerate(bodies):
        if number % 2:
            sent += request("POST", f"/{number}", body=body)
        else:
            sent += head_of(f"PUT /{number} HTTP/1.1", "Host: a",
                            "Transfer-Encoding: chunked") + chunked(*pieces_of(body, dice))
    sender = threading.Thread(target=lambda: [client.send(piece) for piece in pieces_of(sent, dice)])
    sender.start()
    served = origin.accept()
    for number, body in enumerate(bodies):
        got = served.receive_request()
        assert (got.target, got.body) == (f"/{number}", body)
        if number % 3:
            answer = response(body=body)
        else:
            coded = chunked(*pieces_of(body, random.Random(number)))
            answer = head_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + coded
        for piece in pieces_of(answer, random.Random(seed)):
            served.send(piece)
        assert client.receive_response().body == body
    sender.join()
