"""One loop for both ends of a dialogue: whoever waits for an event moves the bytes of all sockets. So client and origin
live in one thread, nothing is sent twice or lost, and no test has to guess how long something takes."""
import contextlib
import select
import socket
import ssl
import struct
import time

from wire import PATIENCE

READ_TURNS, READ_BYTES, WRITE_BYTES = 16, 65536, 262144
AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Loop:
    def __init__(self):
        self.pipes = []

    def turn(self, seconds):
        """Moves what can be moved, waiting at most so long for the first of it, and no longer than a timer allows."""
        poll, found = select.poll(), {}
        for pipe in self.pipes:
            events = (select.POLLIN if pipe.wants_read else 0) | (select.POLLOUT if pipe.wants_write else 0)
            if events:
                found[pipe.sock.fileno()] = pipe
                poll.register(pipe.sock, events)
        timers = [pipe.wake_at - time.monotonic() for pipe in self.pipes if pipe.wake_at is not None]
        waits = 0 if any(pipe.has_more for pipe in found.values()) else max(0, min([seconds, *timers]))
        ready = dict(poll.poll(waits * 1000))
        for number, pipe in found.items():
            if number in ready or pipe.has_more:
                pipe.move()
        for pipe in [pipe for pipe in self.pipes if pipe.wake_at is not None and pipe.wake_at <= time.monotonic()]:
            pipe.on_wake()

    def until(self, what, condition, patience=PATIENCE):
        """Until the condition holds; returns what it returned. `what` is text, or gives it once it is needed."""
        deadline = time.monotonic() + patience
        while not (result := condition()):
            left = deadline - time.monotonic()
            assert left > 0, f"{what() if callable(what) else what}: it did not happen"
            self.turn(left)
        return result

    def is_quiet(self, condition, seconds=0.2):
        """Whether the condition does not come about for a while. For what must not happen: a longer wait only makes a fault
        surer to be seen."""
        deadline = time.monotonic() + seconds
        while not condition() and (left := deadline - time.monotonic()) > 0:
            self.turn(left)
        return not condition()


class Listening:
    """A listening socket on the loop."""

    wants_write, has_more, wake_at = False, False, None

    def __init__(self, loop, on_accept, backlog=128):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(backlog)
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self.on_accept, self.loop, self.wants_read = on_accept, loop, True
        loop.pipes.append(self)

    def move(self):
        try:
            sock, _ = self.sock.accept()
        except BlockingIOError:
            return
        self.on_accept(sock)

    def close(self):
        self.loop.pipes.remove(self)
        self.sock.close()


class Pipe:
    """A connected socket, TLS or not. `feed` gets what is received; `on_end` hears of the end."""

    wake_at = None

    def __init__(self, loop, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self.loop, self.sock, self.out = loop, sock, bytearray()
        self.feed = self.on_end = None
        self.is_paused = self.is_ended = self.has_more = False
        self.is_broken = False  # nothing more can be written
        self.is_held = False
        loop.pipes.append(self)

    @property
    def wants_read(self):
        return not self.is_paused and not self.is_ended

    @property
    def wants_write(self):
        return bool(self.out)

    def write(self, data):
        if not self.is_broken:
            self.out += data
            self.push()

    @contextlib.contextmanager
    def in_one_piece(self):
        """What is written meanwhile leaves with one call, and in one record of TLS."""
        self.is_held = True
        yield
        self.is_held = False
        assert len(self.out) < 16384, "too much for one record"
        self.push()

    def push(self):
        if self.is_held:
            return
        try:
            while self.out:
                with memoryview(self.out) as view:
                    n = self.sock.send(view[:WRITE_BYTES])
                del self.out[:n]
        except AGAIN:
            pass
        except OSError:
            self.is_broken, self.out = True, bytearray()

    def move(self):
        self.push()
        self.has_more = False
        for _ in range(READ_TURNS):
            if not self.wants_read:
                return
            try:
                data = self.sock.recv(READ_BYTES)
            except AGAIN:
                return
            except OSError:
                data = b""
            if not data:
                self.end()
                return
            self.feed(data)
        self.has_more = self.wants_read

    def go_on(self):
        """Reads again after a pause. TLS may have bytes already of which the socket knows nothing."""
        self.has_more |= self.is_paused
        self.is_paused = False

    def end(self):
        if not self.is_ended:
            self.is_ended = True
            self.on_end()

    def say_goodbye(self):
        """The end as TLS says it (close_notify), without waiting for that of the peer."""
        try:
            self.sock.unwrap()
        except AGAIN:
            pass

    def close(self, reset=False):
        """Closes; with a reset the peer loses what it has not read."""
        if self not in self.loop.pipes:
            return
        self.loop.pipes.remove(self)
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.end()
