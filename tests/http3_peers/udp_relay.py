#!/usr/bin/python3
"""A bad network: datagrams between clients and one server are lost, doubled, delayed, and overtake each other, or are too large
for it; and a client's address changes in the middle of it, as behind a NAT that forgets, or when it takes another way.

    udp_relay.py HOST:PORT [--loss SHARE] [--duplicate SHARE] [--reorder SHARE] [--delay MS] [--mtu N] [--seed N]
                 [--rebind-every N]

As a program it prints its port, relays until its standard input ends, and then prints its counts as JSON; a line `rebind` or
`migrate` on its standard input changes the addresses. As a module, Relay lives on the loop of the scenarios.

What happens to the n-th datagram of a direction depends on the seed, the direction and n alone.
"""
import argparse
import heapq
import itertools
import json
import pathlib
import random
import socket
import sys
import time

READ_TURNS, DATAGRAM_MAX, OVERTAKEN_SECONDS = 32, 65536, 0.005
SOCKET_BUFFER, SO_RCVBUFFORCE = 4 << 20, 33


class Plan:
    """What is done to datagrams: shares of them, and seconds of delay for each. `rebind_every`: after so many from a client it
    has another address; 0: never. `mtu`: the largest payload that passes, which may change; 0: any."""

    def __init__(self, loss=0.0, duplicate=0.0, reorder=0.0, delay=0.0, seed=1, rebind_every=0, mtu=0):
        self.loss, self.duplicate, self.reorder, self.delay = loss, duplicate, reorder, delay
        self.seed, self.rebind_every, self.mtu = seed, rebind_every, mtu


class Way:
    """One direction: decides, and counts. `longest` of what has passed."""

    def __init__(self, plan, name):
        self.plan, self.random = plan, random.Random(f"{plan.seed} {name}")
        self.counts = dict.fromkeys(("came", "lost", "too_large", "doubled", "overtaken", "sent"), 0)
        self.longest = 0

    def delays(self, size):
        """Of the copies that go on; none when it is lost."""
        plan, counts = self.plan, self.counts
        loss, double, overtaken = (self.random.random() for _ in range(3))
        counts["came"] += 1
        if loss < plan.loss:
            counts["lost"] += 1
            return []
        if plan.mtu and size > plan.mtu:
            counts["too_large"] += 1
            return []
        self.longest = max(self.longest, size)
        delay = plan.delay
        if overtaken < plan.reorder:
            counts["overtaken"] += 1
            delay += OVERTAKEN_SECONDS
        if double < plan.duplicate:
            counts["doubled"] += 1
            return [delay, delay]
        return [delay]


def open_socket(host):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    sock.bind((host, 0))
    sock.setblocking(False)
    return sock


class Side:
    """A socket on the loop; what it receives goes to `take(data, address)`."""

    wants_write, wake_at = False, None

    def __init__(self, loop, host, take):
        self.loop, self.sock, self.take = loop, open_socket(host), take
        self.wants_read, self.has_more = True, False
        loop.pipes.append(self)

    def move(self):
        self.has_more = False
        for _ in range(READ_TURNS):
            try:
                self.take(*self.sock.recvfrom(DATAGRAM_MAX))
            except BlockingIOError:
                return
            except ConnectionError:
                continue
        self.has_more = True

    def close(self):
        self.loop.pipes.remove(self)
        self.sock.close()


class Client:
    """What the server takes for a client: a socket of the relay's. After a change the old one still receives."""

    def __init__(self, relay, address):
        self.relay, self.address, self.sides, self.came = relay, address, [], 0
        self.move("127.0.0.1")

    def move(self, host):
        self.sides.append(Side(self.relay.loop, host, lambda data, _: self.relay.to_client(self, data)))


class Relay:
    """Clients send to `port` instead of the server's. `wake_at` is when the first delayed datagram is due."""

    wants_read = wants_write = has_more = False

    def __init__(self, loop, server, plan):
        self.loop, self.server, self.plan = loop, server, plan
        self.there, self.back = Way(plan, "there"), Way(plan, "back")
        self.clients, self.waiting, self.order = {}, [], itertools.count()
        self.front = Side(loop, "127.0.0.1", self.to_server)
        self.port, self.wake_at, self.changes, self.hosts = self.front.sock.getsockname()[1], None, 0, itertools.cycle(
            f"127.0.0.{number}" for number in range(2, 200))
        loop.pipes.append(self)

    def to_server(self, data, address):
        client = self.clients.get(address)
        if not client:
            client = self.clients[address] = Client(self, address)
        client.came += 1
        if self.plan.rebind_every and client.came % self.plan.rebind_every == 0:
            self.rebind(client)
        for delay in self.there.delays(len(data)):
            self.go(delay, self.there, client.sides[-1].sock, data, self.server)

    def to_client(self, client, data):
        for delay in self.back.delays(len(data)):
            self.go(delay, self.back, self.front.sock, data, client.address)

    def go(self, delay, way, sock, data, address):
        if delay:
            heapq.heappush(self.waiting, (time.monotonic() + delay, next(self.order), way, sock, data, address))
            self.wake_at = self.waiting[0][0]
        else:
            self.send(way, sock, data, address)

    def heal(self):
        """From now on everything passes, at once."""
        self.plan = self.there.plan = self.back.plan = Plan()

    @staticmethod
    def send(way, sock, data, address):
        try:
            sock.sendto(data, address)
            way.counts["sent"] += 1
        except OSError:
            pass  # lost as well

    def on_wake(self):
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            self.send(*heapq.heappop(self.waiting)[2:])
        self.wake_at = self.waiting[0][0] if self.waiting else None

    def rebind(self, client=None, host="127.0.0.1"):
        """Another port from here on, for one or for all."""
        for one in [client] if client else self.clients.values():
            one.move(host)
            self.changes += 1

    def migrate(self):
        """Another address and port."""
        self.rebind(host=next(self.hosts))

    def counts(self):
        return {"there": self.there.counts, "back": self.back.counts, "clients": len(self.clients), "changes": self.changes}

    def close(self):
        self.loop.pipes.remove(self)
        for side in [self.front, *(side for client in self.clients.values() for side in client.sides)]:
            side.close()


class Commands:
    """Standard input, on the loop."""

    wants_read, wants_write, has_more, wake_at = True, False, False, None

    def __init__(self, relay):
        self.relay, self.sock, self.is_over = relay, open(0, "rb", buffering=0), False

    def move(self):
        line = self.sock.readline().decode().strip()
        if line in ("rebind", "migrate"):
            getattr(self.relay, line)()
        else:
            self.is_over = True


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", metavar="HOST:PORT")
    for name in ("loss", "duplicate", "reorder", "delay"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    for name, usual in (("seed", 1), ("rebind-every", 0), ("mtu", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    return parser.parse_args()


def main():
    sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "scenario/versions"))
    sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "scenario/http"))
    from loop import Loop
    arguments = parse_arguments()
    host, _, port = arguments.server.rpartition(":")
    plan = Plan(arguments.loss, arguments.duplicate, arguments.reorder, arguments.delay / 1000, arguments.seed,
                arguments.rebind_every, arguments.mtu)
    loop = Loop()
    relay = Relay(loop, (host, int(port)), plan)
    commands = Commands(relay)
    loop.pipes.append(commands)
    print(relay.port, flush=True)
    while not commands.is_over:
        loop.turn(60)
    print(json.dumps(relay.counts()))


if __name__ == "__main__":
    main()
