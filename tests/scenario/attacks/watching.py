"""An origin that reads strictly and remembers every request, and a watch over a gateway that is attacked."""
import asyncio
import re
import threading
import time

from gateway import resident_bytes, wait_until
from load import Clients
from wire import Message

LARGE = 1 << 20
MIB = 1 << 20


class WatchingOrigin:
    """Serves many connections in a thread of its own. Below /held nothing is answered, below /large comes a mebibyte, and a
    request below /victim is answered and not remembered."""

    def __init__(self):
        self.requests, self.broken = [], []
        self.open, self.most_open = 0, 0
        self.loop = asyncio.new_event_loop()
        serving = asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096, limit=4 * MIB)
        self.server = self.loop.run_until_complete(serving)
        self.port = self.server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def forget(self):
        """Before an attack."""
        self.requests, self.broken, self.most_open = [], [], 0

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.server.close()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))
        self.loop.close()

    async def serve(self, reader, writer):
        try:
            while (message := await self.receive(reader)) is not None:
                await self.answer(message, reader, writer)
        except ConnectionError:
            pass  # the gateway gave the request up
        finally:
            writer.close()

    async def receive(self, reader):
        """The next request; None at the end. One that is cut short is no request."""
        raw = b""
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
            message = Message(raw)
            message.body = await self.body(message, reader)
            return message
        except AssertionError as wrong:
            self.broken.append(f"{raw[:500]!r}: {wrong}")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        return None

    @staticmethod
    async def body(message, reader):
        length = message["Content-Length"]
        assert length is None or not message.is_chunked, "Content-Length beside Transfer-Encoding"
        assert message.is_chunked or not message.fields.all("Transfer-Encoding"), "a coding that nobody knows"
        if not message.is_chunked:
            return await reader.readexactly(int(length or 0))
        body = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            assert re.fullmatch(rb"[0-9a-f]+\r\n", line), f"not the size of a chunk: {line!r}"
            if int(line, 16) == 0:
                break
            body += await reader.readexactly(int(line, 16))
            assert await reader.readexactly(2) == b"\r\n", "no line end behind a chunk"
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return body

    async def answer(self, message, reader, writer):
        if message.target.startswith("/victim"):
            await self.respond(writer, b"victim")
            return
        self.requests.append(message)
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            if message.target.startswith("/held"):
                more = await reader.read()
                assert not more, f"{more[:200]!r} behind a request that is not answered"
            else:
                await self.respond(writer, b"x" * LARGE if message.target.startswith("/large") else b"ok")
        except AssertionError as wrong:
            self.broken.append(str(wrong))
        finally:
            self.open -= 1

    @staticmethod
    async def respond(writer, body):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()


class Watch:
    """While an attack runs, other clients are answered. Afterwards nothing of it is left over."""

    def __init__(self, site, growth_most, victims=2):
        self.site, self.growth_most = site, growth_most
        self.victims = Clients(site.gateway, threads=victims, target="/victim", check=lambda a: a.body == b"victim")
        self.before = None

    def __enter__(self):
        self.site.origin.forget()
        self.site.wait_quiet()
        self.pid, self.memory = self.site.gateway.dataplane_pid(), resident_bytes(self.site.gateway.dataplane_pid())
        self.started, self.faults = time.monotonic(), self.site.faults()
        self.victims.__enter__()
        return self

    def __exit__(self, kind, *_error):
        try:
            if kind is None:
                self.expect_answers(20)
                self.expect_growth(self.growth_most)
        finally:
            self.victims.__exit__()
        if kind is None:
            self.expect_peace()

    def expect_answers(self, count=5):
        """So many more answers come to the others from here on."""
        before = self.victims.answered
        wait_until("answers to others", lambda: self.victims.answered >= before + count or self.victims.failures)
        assert not self.victims.failures and not self.victims.refused, self.victims.failures[:3]

    def expect_growth(self, most):
        """The data plane has grown by no more than this so far."""
        self.growth = resident_bytes(self.pid) - self.memory
        assert self.growth <= most, f"{self.growth / MIB:.1f} MiB more, at most {most / MIB:.1f}"

    def expect_peace(self):
        assert self.site.gateway.dataplane_pid() == self.pid, "the data plane has been started anew"
        assert not self.site.origin.broken, self.site.origin.broken[:3]
        self.site.wait_quiet()

    @property
    def seconds(self):
        return time.monotonic() - self.started

    def risen(self):
        """The faults that the gateway has found since the beginning, and how often."""
        now = self.site.faults()
        return {reason: now[reason] - self.faults[reason] for reason in now if now[reason] > self.faults[reason]}
