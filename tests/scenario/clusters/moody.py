"""Origins that fail when they are told to: in the test's process, where they count what they see, and as a process that can
be killed (`python3 moody.py` prints its port)."""
import contextlib
import pathlib
import socket
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "http")]

from origins import Teller, TellerConnection  # noqa: E402  (found by the line above)
from wire import response  # noqa: E402

RESET = "reset"


class Moody(Teller):
    """Answers with the status `mood`, `delay` seconds late, or resets the connection."""

    def __init__(self, name):
        self.mood, self.delay = 200, 0
        super().__init__(name)
        self.RequestHandlerClass = MoodyConnection


class MoodyConnection(TellerConnection):
    def answer(self, message):
        mood, delay = self.server.mood, self.server.delay
        answer = super().answer(message)
        if delay:
            time.sleep(delay)
        if mood == RESET:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()
            raise ConnectionResetError
        return answer if mood == 200 else response(mood, reason="Moody")


@contextlib.contextmanager
def moody(*names):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Moody(name)) for name in names]


class Process:
    """One in a process of its own."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = f"127.0.0.1:{int(self.process.stdout.readline())}"

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    with Moody("process") as origin:
        print(origin.port, flush=True)
        sys.stdin.read()
