"""An origin of HTTP/2 that answers frame by frame, as a case says, and notes what the gateway makes of it.

The case is named by the path of the request, so an attempt more meets the same answer. /good is answered as it should be.
Each connection is served in a thread of its own; waits are for events."""
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

import frames
import hpack

PATIENCE = 20


@dataclass
class OriginCase:
    name: str
    section: str
    answer: Callable                # (stream) -> bytes, or an iterator of them that ends when the gateway has closed
    outcome: Any                    # what the client gets: statuses, or CUT
    codes: tuple = ()               # of RST_STREAM or GOAWAY, one of which the gateway sends; (): it need not say anything
    is_bare: bool = False           # the answer stands in the place of the origin's SETTINGS
    method: str = "GET"
    reads: bool = True              # the client does
    ends: bool = False              # the origin closes behind its answer
    is_fatal: Optional[bool] = None # codes have to come with GOAWAY (True), with RST_STREAM (False), or with either


CUT = "cut"                         # an end that tells that content is missing, once the response has begun


@dataclass
class Told:
    """What the gateway has said about a case, on all connections it came on."""
    goaways: set = field(default_factory=set)
    resets: set = field(default_factory=set)
    requests: int = 0
    open: int = 0

    def __str__(self):
        def names(codes):
            return ", ".join(map(frames.error_name, codes)) or "nothing"
        return f"GOAWAY {names(self.goaways)}; RST_STREAM {names(self.resets)}; {self.requests} requests, {self.open} open"


class Ended(Exception):
    """The gateway has closed the connection."""


class HostileConnection:
    def __init__(self, origin, sock):
        self.origin, self.sock, self.buffer = origin, sock, b""
        self.decoder, self.told = hpack.Decoder(), None
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self):
        try:
            self.receive(len(frames.PREFACE))
            if not self.origin.is_bare:
                self.sock.sendall(frames.settings())
            while True:
                self.take_frame()
        except (Ended, OSError):
            pass
        finally:
            self.sock.close()
            if self.told:
                self.note(lambda told: setattr(told, "open", told.open - 1))

    def receive(self, n):
        while len(self.buffer) < n:
            octets = self.sock.recv(1 << 16)
            if not octets:
                raise Ended
            self.buffer += octets
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def take_frame(self):
        head = self.receive(9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        payload = self.receive(int.from_bytes(head[:3], "big"))
        if kind == frames.HEADERS:
            self.on_request(stream, dict(self.decoder.decode(payload)))
        elif kind == frames.SETTINGS and not flags & frames.ACK and not self.origin.is_bare:
            self.sock.sendall(frames.SETTINGS_ACK)
        elif kind == frames.RST_STREAM and self.told:
            self.note(lambda told: told.resets.add(int.from_bytes(payload, "big")))
        elif kind == frames.GOAWAY and self.told:
            self.note(lambda told: told.goaways.add(int.from_bytes(payload[4:8], "big")))

    def note(self, change):
        with self.origin.changed:
            change(self.told)
            self.origin.changed.notify_all()

    def on_request(self, stream, fields):
        case = self.origin.case
        if fields[":path"] == "/good" or case is None:
            self.sock.sendall(frames.headers(stream, hpack.block([(":status", "200"), ("content-length", "0")])))
            return
        if self.told is None:
            self.told = self.origin.told
            self.note(lambda told: setattr(told, "open", told.open + 1))
        self.note(lambda told: setattr(told, "requests", told.requests + 1))
        self.speak(case.answer(stream))
        if case.ends:
            self.sock.shutdown(socket.SHUT_WR)

    def speak(self, octets):
        """What the gateway says meanwhile is read by this thread, too: it is never waited for with a full socket."""
        for batch in [octets] if isinstance(octets, bytes) else octets:
            view = memoryview(batch)
            while view:
                view = view[self.send_some(view):]

    def send_some(self, view):
        self.sock.settimeout(0.01)
        try:
            return self.sock.send(view[:1 << 16])
        except TimeoutError:
            return 0
        finally:
            self.sock.settimeout(PATIENCE)
            self.read_what_is_there()

    def read_what_is_there(self):
        self.sock.setblocking(False)
        try:
            self.buffer += self.sock.recv(1 << 16)
        except BlockingIOError:
            pass
        finally:
            self.sock.settimeout(PATIENCE)
        while len(self.buffer) >= 9 and len(self.buffer) >= 9 + int.from_bytes(self.buffer[:3], "big"):
            if self.buffer[3] in (frames.HEADERS,):
                return    # another request: for later
            self.take_frame()


class HostileOrigin:
    """One case at a time."""

    def __init__(self):
        self.case, self.is_bare = None, False
        self.told, self.changed = Told(), threading.Condition()
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.sock.getsockname()[1]
        self.threads, self.socks = [], []
        self.accepting = threading.Thread(target=self.accept)
        self.accepting.start()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def accept(self):
        while True:
            try:
                sock = self.sock.accept()[0]
            except OSError:
                return
            self.socks.append(sock)
            thread = threading.Thread(target=HostileConnection(self, sock).serve, daemon=True)
            thread.start()
            self.threads.append(thread)

    def play(self, case):
        self.case, self.is_bare, self.told = case, case.is_bare, Told()

    def drop(self):
        """Closes all connections: the next request comes on a new one."""
        for sock in self.socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass          # closed already
        self.socks = []

    def be_good(self):
        self.case, self.is_bare = None, False

    def wait_told(self, condition):
        """Until the gateway has said so; False: it has not."""
        with self.changed:
            return self.changed.wait_for(lambda: condition(self.told), PATIENCE)

    def close(self):
        self.drop()
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.accepting.join()
        for thread in self.threads:   # the gateway has gone: it has closed all that were open
            thread.join(PATIENCE)
