"""Origins that count what they see and answer when, and as, the test says; and clients that ask at the same time."""
import concurrent.futures
import contextlib
import threading

from origins import Teller, TellerConnection
from wire import PATIENCE, request, response


class Counted(Teller):
    """Answers with `status` and `fields` once `gate` is open. `most` is how many it had at once."""

    def __init__(self, name):
        self.status, self.fields, self.gate, self.at_once, self.most = 200, (), threading.Event(), 0, 0
        self.gate.set()
        super().__init__(name)
        self.RequestHandlerClass = CountedConnection

    def __exit__(self, *error):
        self.gate.set()
        super().__exit__(*error)

    def note(self, change):
        with self.lock:
            self.at_once += change
            self.most = max(self.most, self.at_once)


class CountedConnection(TellerConnection):
    def answer(self, message):
        self.server.note(1)
        answer = super().answer(message)
        assert self.server.gate.wait(PATIENCE)
        self.server.note(-1)
        return answer if self.server.status == 200 else response(self.server.status, *self.server.fields, reason="Counted")


@contextlib.contextmanager
def counted(*names):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Counted(name)) for name in names]


def total(origins):
    """Requests that have come to all of them."""
    return sum(origin.count for origin in origins)


def ask(gateway, times=1, method="GET"):
    """The answers to this many requests, one after the other, on one connection."""
    with gateway.connect() as client:
        return [client.exchange(request(method)) for _ in range(times)]


@contextlib.contextmanager
def clients(gateway, count, times=1):
    """So many clients ask at the same time; yields the futures of their lists of answers."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        yield [pool.submit(ask, gateway, times) for _ in range(count)]
