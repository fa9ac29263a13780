"""A real xDS management server (go-control-plane), as a test sees it: what it serves, and what it was asked."""
import functools
import json
import pathlib
import queue
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
PATIENCE = 60  # seconds until an event that has to come counts as missing
BUILD_PATIENCE = 1200


@functools.cache
def programs():
    """The folder with the programs; built with the first call on a machine."""
    done = subprocess.run([ROOT / "tests/management_server/build"], stdout=subprocess.PIPE, text=True, check=True,
                          timeout=BUILD_PATIENCE)
    return pathlib.Path(done.stdout.strip())


class ManagementServer:
    """Runs from `start` (or `with`) to `stop`; after a stop it can be started again at the same address."""

    def __init__(self, ads=False, certificate=None, key=None, client_ca=None):
        self.arguments = ["--ads"] if ads else []
        for name, value in (("cert", certificate), ("key", key), ("client-ca", client_ca)):
            self.arguments += [f"--{name}", str(value)] if value else []
        self.process, self.port, self.rest_port, self.commands = None, 0, 0, 0
        self.events, self.news, self.seen = [], queue.SimpleQueue(), threading.Condition()

    def __enter__(self):
        return self.start()

    def __exit__(self, *error):
        self.stop()

    def start(self):
        addresses = ["--listen", f"127.0.0.1:{self.port}", "--rest", f"127.0.0.1:{self.rest_port}"]
        self.process = subprocess.Popen([programs() / "management-server", *addresses, *self.arguments], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1)
        self.commands, self.events = 0, []
        self.reader = threading.Thread(target=self.read, args=(self.process,), daemon=True)
        self.reader.start()
        event = self.wait(lambda e: e["event"] == "listening")
        self.port, self.rest_port = event["port"], event["rest_port"]
        return self

    def stop(self):
        if not self.process:
            return
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.process = None

    def read(self, process):
        for line in process.stdout:
            with self.seen:
                self.events.append({**json.loads(line), "at": time.time()})
                self.seen.notify_all()

    # ---- what it did

    def wait(self, condition, after=0, seconds=PATIENCE):
        """The first event from number `after` on for which the condition holds."""
        deadline = time.monotonic() + seconds
        with self.seen:
            while True:
                for event in self.events[after:]:
                    if condition(event):
                        return event
                after = len(self.events)
                left = deadline - time.monotonic()
                assert left > 0 and self.process.poll() is None, f"no such event among {self.events[-20:]}"
                self.seen.wait(left)

    def count(self):
        with self.seen:
            return len(self.events)

    def refusals(self):
        """The NACKs so far."""
        with self.seen:
            return [e for e in self.events if e["event"] == "request" and e.get("error")]

    def unanswered(self):
        """Responses that have been answered by neither ACK nor NACK, on streams that are still open."""
        with self.seen:
            closed = {e["stream"] for e in self.events if e["event"] == "closed"}
            answered = {(e["stream"], e["type"], e["nonce"]) for e in self.events if e["event"] == "request"}
            return [e for e in self.events if e["event"] == "response" and e["stream"] not in closed
                    and (e["stream"], e["type"], e["nonce"]) not in answered]

    # ---- what it is to do

    def tell(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.commands += 1
        number = self.commands
        done = self.wait(lambda e: e["event"] == "done" and e["command"] == number)
        assert not done["error"], done["error"]

    def serve(self, version, resources, node="test"):
        self.tell(set={"node": node, "version": str(version), "resources": resources})

    def change(self, version, resources, node="test"):
        """What was served before stays, but for resources of the same names."""
        self.tell(change={"node": node, "version": str(version), "resources": resources})

    def delay(self, seconds):
        self.tell(delay_ms=int(seconds * 1000))
