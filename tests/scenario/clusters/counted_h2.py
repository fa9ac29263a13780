"""Origins of HTTP/2 that count the streams they see, and do with each what the test says."""
import contextlib
import threading

from h2_origin import CANCEL, REFUSED_STREAM, FrameOrigin  # noqa: F401  (for those who use these origins)

INTERNAL_ERROR = 2


class CountedStreams(FrameOrigin):
    """`do(request)` is called for each stream when its head has come: it may answer, refuse, or do nothing."""

    def __init__(self, name, do):
        super().__init__()
        self.name, self.do, self.lock, self.streams = name, do, threading.Lock(), []
        threading.Thread(target=self.run, daemon=True).start()

    @property
    def count(self):
        return len(self.streams)

    def resets(self, code):
        """How many streams the gateway has reset for this reason."""
        return sum(stream.reset == code for stream in self.streams)

    def run(self):
        with contextlib.suppress(OSError):  # it is closed
            while True:
                threading.Thread(target=self.serve, args=[self.sock.accept()[0]], daemon=True).start()

    def serve(self, sock):
        with contextlib.suppress(AssertionError, OSError), self.connection(sock) as connection:
            while True:
                stream = connection.request()
                with self.lock:
                    self.streams.append(stream)
                self.do(stream)


@contextlib.contextmanager
def counted_streams(do, *names):
    """`do(name)` makes what an origin does with its streams."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(CountedStreams(name, do(name))) for name in names]


def answers(name):
    return lambda stream: stream.answer(200, ("x-origin", name))


def refuses(code):
    return lambda _name: lambda stream: stream.refuse(code)


def is_silent(_name):
    return lambda _stream: None
