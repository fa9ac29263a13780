"""The bad network of tests/http3_peers: it does what it was told, alike for a seed."""
import json
import socket
import subprocess

import pytest

import http3_peers
from loop import Loop
from udp_relay import Plan, Relay

ROUNDS = 400


def relayed(plan, rounds=ROUNDS):
    """(the relay's counts, what arrived in which order, from how many addresses) of so many datagrams that are sent back."""
    loop, arrived, addresses = Loop(), [], set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        client.setblocking(False)
        relay = Relay(loop, server.getsockname(), plan)
        for number in range(rounds):
            client.sendto(b"%d" % number, ("127.0.0.1", relay.port))
            loop.until("it is taken", lambda: relay.there.counts["came"] == number + 1)
            take_all(server, arrived, addresses)
        loop.until("all are sent", lambda: not relay.waiting)
        take_all(server, arrived, addresses)
        relay.close()
    assert not loop.pipes
    return relay.counts(), arrived, addresses


def take_all(server, arrived, addresses):
    while True:
        try:
            data, address = server.recvfrom(100)
        except BlockingIOError:
            return
        arrived.append(int(data))
        addresses.add(address)


def test_a_good_network_changes_nothing():
    counts, arrived, addresses = relayed(Plan())
    assert arrived == list(range(ROUNDS)) and len(addresses) == 1
    assert counts["there"] == {"came": ROUNDS, "lost": 0, "too_large": 0, "doubled": 0, "overtaken": 0, "sent": ROUNDS}


def test_what_was_told_happens_and_is_counted():
    counts, arrived, addresses = relayed(Plan(loss=0.2, duplicate=0.1, reorder=0.1, rebind_every=47))
    there = counts["there"]
    assert ROUNDS * 0.1 < there["lost"] < ROUNDS * 0.3 and there["doubled"] > ROUNDS * 0.03
    assert there["overtaken"] > ROUNDS * 0.03 and arrived != sorted(arrived)
    assert len(set(arrived)) == ROUNDS - there["lost"]
    assert len(arrived) == there["sent"] == ROUNDS - there["lost"] + there["doubled"]
    assert len(addresses) == counts["changes"] + 1 == ROUNDS // 47 + 1


def test_what_is_too_large_does_not_arrive():
    counts, arrived, _ = relayed(Plan(mtu=2))
    assert arrived == list(range(100))
    assert (counts["there"]["too_large"], counts["there"]["sent"]) == (ROUNDS - 100, 100)


def test_a_seed_decides_it():
    first, second, other = (relayed(Plan(loss=0.3, seed=seed))[1] for seed in (7, 7, 8))
    assert first == second != other


def test_it_as_a_program(origin_port):
    """It prints its port, and its counts at the end. A datagram may still be in the kernel when it is told to end."""
    command = [http3_peers.HERE / "udp_relay.py", f"127.0.0.1:{origin_port}", "--loss", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", ("127.0.0.1", port))
        process.stdin.write("migrate\n")
        out, _ = process.communicate()
    assert json.loads(out)["there"]["came"] in (0, 1) and process.returncode == 0


@pytest.fixture
def origin_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]
