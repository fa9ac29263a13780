"""Origins, clients and clusters for endpoints that come, go and change their weight under load: all of them on one loop, in a
thread of its own, so that one test can have dozens of origins and know in which order everything happened."""
import asyncio
import contextlib
import random
import threading
import time

from wire import PATIENCE

THRESHOLD = 5
WEIGHTS = (3, 7, 2, 4)          # of those that stay


class Origin:
    """Answers with its name. Counts requests, connections, and connections that the gateway closed."""

    def __init__(self, name, weight, delay):
        self.name, self.weight, self.delay, self.status = name, weight, delay, 200
        self.requests, self.accepted, self.closed, self.times = 0, 0, 0, []
        self.gate, self.holding, self.is_over = None, False, False

    async def listen(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        self.endpoint = f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def serve(self, reader, writer):
        self.accepted += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                self.times.append(time.monotonic())
                await self.answer(writer)
        self.closed += not self.is_over
        writer.close()

    async def answer(self, writer):
        gate, self.gate = self.gate, None
        held = "yes" if gate else "no"
        writer.write(f"HTTP/1.1 {self.status} Told\r\nX-Origin: {self.name}\r\nX-Held: {held}\r\nContent-Length: 10\r\n\r\n"
                     .encode() + b"first")
        if gate:
            self.holding = True
            await gate.wait()
            self.holding = False
        elif self.delay:
            await asyncio.sleep(random.random() * self.delay)
        writer.write(b" last")


class Answer:
    """What a client got: `begun` and `acked` are changes of its cluster when it was sent, and when it was there."""

    __slots__ = ("key", "origin", "is_held", "acked", "begun", "sent_at", "at")

    def __init__(self, key, origin, is_held, acked, begun, sent_at, at):
        self.key, self.origin, self.is_held = key, origin, is_held
        self.acked, self.begun, self.sent_at, self.at = acked, begun, sent_at, at


class Cluster:
    """One cluster: origins that stay as they are, the first of which is ejected, others that come and go, and its load. The
    members after each change are kept, with their weights; `by_file`: changes go through a watched file."""

    def __init__(self, name, clients, by_file, keys=0, delay=0.003, **options):
        self.name, self.clients, self.by_file, self.keys, self.options = name, clients, by_file, keys, options
        self.untouched = [Origin(f"{name}-stays-{i}", weight, delay) for i, weight in enumerate(WEIGHTS)]
        self.moving = [Origin(f"{name}-moves-{i}", 0, delay) for i in range(4)]
        self.ejected, self.counted = self.untouched[0], self.untouched[1:]
        self.members = [{origin.name: origin.weight for origin in self.untouched}]
        self.acked = self.begun = 0
        self.answers, self.failures = [], []

    @property
    def origins(self):
        return self.untouched + self.moving

    def endpoints(self):
        """As they are declared, in any order."""
        members = self.members[-1]
        listed = [{"address": o.endpoint, "weight": members[o.name]} for o in self.origins if o.name in members]
        random.shuffle(listed)
        return listed

    def fields(self, key):
        return f"GET /{self.name} HTTP/1.1\r\nHost: churn.example\r\nX-Key: {key}\r\n\r\n".encode()

    async def ask(self, reader, writer, key):
        acked, sent_at = self.acked, time.monotonic()
        writer.write(self.fields(key))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        told = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        told = {name.lower(): value for name, value in told.items()}
        body = await reader.readexactly(int(told["content-length"]))
        answer = Answer(key, told.get("x-origin"), told.get("x-held") == "yes", acked, self.begun, sent_at, time.monotonic())
        return head.split(" ", 2)[1], body, answer

    async def client(self, number, port, ending):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            turn = 0
            while not ending.is_set():
                key = number + self.clients * (turn % self.keys) if self.keys else 0
                turn += 1
                status, body, answer = await self.ask(reader, writer, key)
                if (status, body) != ("200", b"first last"):
                    self.failures.append(f"{self.name}: {status} {body!r}")
                self.answers.append(answer)
            writer.close()
        except (OSError, asyncio.IncompleteReadError) as error:
            self.failures.append(f"{self.name}: {type(error).__name__} {error}")

    async def ask_until(self, port, condition):
        """One client, until the condition holds; nothing of it is noted."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        key, deadline = 0, time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{self.name}: it did not happen"
            await self.ask(reader, writer, key)
            key += 1
        writer.close()


class Site:
    """The loop with all origins of these clusters; load between `start_load` and `stop_load`."""

    def __init__(self, clusters):
        self.clusters, self.loop = clusters, asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        for cluster in self.clusters:
            for origin in cluster.origins:
                self.do(origin.listen())
        return self

    def __exit__(self, *_error):
        self.do(self.end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    async def end(self):
        for origin in (origin for cluster in self.clusters for origin in cluster.origins):
            origin.is_over = True
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start_load(self, port):
        async def start():
            self.ending = asyncio.Event()
            return [asyncio.create_task(cluster.client(number, port, self.ending))
                    for cluster in self.clusters for number in range(cluster.clients)]
        self.load = self.do(start())

    def stop_load(self):
        async def stop():
            self.ending.set()
            await asyncio.gather(*self.load)
        self.do(stop())

    def hold(self, origin):
        """The next request that comes to this origin is held in the middle of its answer, until `release` of what returns."""
        async def make():
            origin.gate = asyncio.Event()
            return origin.gate
        return self.do(make())

    def release(self, gate):
        self.loop.call_soon_threadsafe(gate.set)
