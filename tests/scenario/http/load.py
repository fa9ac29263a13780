"""Load in the background that counts every failure: wrk on kept connections, and clients that check every
answer."""
import re
import signal
import subprocess
import threading

import wire


class Wrk:
    """Runs until stop(), which returns (requests, failures) as wrk counted them."""

    def __init__(self, port, target="/", connections=64):
        self.process = subprocess.Popen(["wrk", "-t1", f"-c{connections}", "-d600s", "--timeout", "60s",
                                         f"http://127.0.0.1:{port}{target}"],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        text, _ = self.process.communicate(timeout=60)
        requests = re.search(r"(\d+) requests in", text)
        assert requests, text
        failures = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
        for errors in re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)",
                                 text):
            failures += sum(map(int, errors))
        return int(requests[1]), failures


class Clients:
    """Threads that ask again and again, each on a kept connection or on a new one for every request. Of
    failures it keeps the texts; `refused` counts connections that nobody accepted."""

    def __init__(self, gateway, threads=8, target="/", keep=True, check=lambda answer: answer.status == 200):
        self.gateway, self.target, self.keep, self.check = gateway, target, keep, check
        self.ending, self.lock = threading.Event(), threading.Lock()
        self.answered, self.refused, self.failures = 0, 0, []
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def run(self):
        while not self.ending.is_set():
            try:
                with self.gateway.connect() as client:
                    self.ask(client)
                    while self.keep and not self.ending.is_set():
                        self.ask(client)
            except ConnectionRefusedError:
                self.refused += 1
            except (OSError, AssertionError) as error:
                with self.lock:
                    self.failures.append(f"{type(error).__name__}: {error}")

    def ask(self, client):
        answer = client.exchange(wire.request("GET", self.target))
        assert self.check(answer), f"{answer.line}: {answer.body!r}"
        with self.lock:
            self.answered += 1
