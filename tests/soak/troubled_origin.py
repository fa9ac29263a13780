"""An origin in trouble: `troubled_origin.py SECONDS FILE` prints its port. It answers so many seconds late. From SIGUSR1
on it resets every connection with a request on it, and adds the time of each (CLOCK_MONOTONIC, nanoseconds) to the file.
GET /served is answered at once with the number of other requests so far."""
import asyncio
import signal
import socket
import struct
import sys
import time


class Origin(asyncio.Protocol):
    served, is_broken, delay = 0, False, float(sys.argv[1])

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            if Origin.is_broken:
                self.reset()
            elif head.startswith(b"GET /served "):
                self.answer(str(Origin.served).encode())
            else:
                Origin.served += 1
                self.answer_later()

    def answer_later(self):
        if Origin.delay:
            asyncio.get_running_loop().call_later(Origin.delay, self.answer, b"x" * 12)
        else:
            self.answer(b"x" * 12)

    def answer(self, body):
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def reset(self):
        TIMES.write(f"{time.monotonic_ns()}\n")
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()


def break_down():
    Origin.is_broken = True


async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, break_down)
    server = await loop.create_server(Origin, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

with open(sys.argv[2], "w", buffering=1, encoding="ascii") as TIMES:
    asyncio.run(main())
