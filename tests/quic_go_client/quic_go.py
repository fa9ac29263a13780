"""A client of HTTP/3 on quic-go, for tests.

    import quic_go
    with quic_go.Client(ca, port, name) as client:
        client.ask("GET", "/x", size=5, early=True)["status"]
        call = client.call("/test.Echo/Chat", **{"grpc-timeout": "1S"})
        call.send(b"message").end()
        call.next()                                  each {"event": "head" | "message" | "over" | "failed", ...} of main.go
    quic_go.reason                                   None when it is there, or else why it is not, for a mark that skips

The stage `servers` of tests/run builds it, as tests have no network; here it is only looked for.
"""
import base64
import collections
import functools
import itertools
import json
import os
import pathlib
import queue
import subprocess
import threading

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 60


@functools.cache
def program():
    """Its path, or None. It says the place at once when it is there."""
    done = subprocess.run([HERE / "build"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          env={**os.environ, "HEADGATE_ONLY_LOOK": "1"})
    return pathlib.Path(done.stdout.strip()) / "quic-go-client" if done.returncode == 0 else None


reason = None if program() else "no quic-go: tests/quic_go_client/build has not been run, or could not (stage `servers`)"


class Client:
    """The program, with one connection after the other."""

    def __init__(self, authority, port, name):
        self.ids, self.heard = itertools.count(1), collections.defaultdict(queue.Queue)
        self.process = subprocess.Popen([program(), authority, f"127.0.0.1:{port}", name], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.stdin.close()
        code = self.process.wait(timeout=PATIENCE)
        self.reader.join()
        self.process.stdout.close()
        assert code == 0, f"the client ended with {code}"

    def read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            self.heard[event.pop("id", None)].put(event)

    def tell(self, do, **what):
        self.process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self.process.stdin.flush()

    def next(self, number=None):
        return self.heard[number].get(timeout=PATIENCE)

    def begin(self, method, target, **more):
        """Asks, and waits for nothing; the answer is what `next` gets with the number that is returned."""
        number = next(self.ids)
        self.tell("ask", id=number, method=method, target=target, **more)
        return number

    def ask(self, method, target, **more):
        return self.next(self.begin(method, target, **more))

    def reconnect(self):
        self.tell("reconnect")
        assert self.next()["event"] == "gone"

    def call(self, target, **fields):
        return Call(self, target, fields)


class Call:
    """Of gRPC."""

    def __init__(self, client, target, fields):
        self.client, self.number = client, next(client.ids)
        client.tell("call", id=self.number, target=target, fields=fields)

    def send(self, message):
        self.client.tell("send", id=self.number, message=base64.b64encode(message).decode())
        return self

    def end(self):
        self.client.tell("end", id=self.number)
        return self

    def cancel(self):
        self.client.tell("cancel", id=self.number)

    def next(self, kind):
        """The next event, which has to be of this kind."""
        event = self.client.next(self.number)
        assert event["event"] == kind, event
        return event

    def message(self):
        return base64.b64decode(self.next("message")["message"])

    def status(self):
        """(number, text) at its end."""
        trailers = self.next("over")["trailers"]
        return int(trailers["grpc-status"]), trailers.get("grpc-message", "")
