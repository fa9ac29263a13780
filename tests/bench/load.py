"""Load and the checks that go with it: single requests, wrk for speed, h2load for exact numbers of requests."""
import re
import socket
import subprocess

from processes import BenchError

CONNECTIONS = 64
RESPONSE_HEAD_MAX = 8192
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


def get(port, path, limit=5.0):
    """One GET on a connection of its own: (status, head as text, body)."""
    with socket.create_connection(("127.0.0.1", port), timeout=limit) as connection:
        return exchange(connection, path)


def exchange(connection, path):
    """One GET on an open connection that stays open: (status, head as text, body)."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench.test\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        received += receive(connection)
        if len(received) > RESPONSE_HEAD_MAX and b"\r\n\r\n" not in received:
            raise BenchError(f"a response head of more than {RESPONSE_HEAD_MAX} bytes")
    head, _, body = received.partition(b"\r\n\r\n")
    head = head.decode("latin-1")
    length = re.search(r"(?im)^content-length: *(\d+)\r?$", head)
    while length and len(body) < int(length[1]):
        body += receive(connection)
    return int(head.split()[1]), head, body


def receive(connection):
    part = connection.recv(65536)
    if not part:
        raise BenchError("the connection was closed in the middle of a response")
    return part


def answers(port):
    """Whether requests are answered with 200 yet."""
    try:
        return get(port, "/12")[0] == 200
    except (OSError, BenchError):
        return False


def check_response(port, size, wants_via):
    """One response as the origin makes it, and signed where the proxy signs."""
    status, head, body = get(port, f"/{size}")
    if status != 200 or body != b"x" * size:
        raise BenchError(f"expected 200 and {size} bytes of the origin, got {status} and {len(body)} bytes:\n{head}")
    if wants_via and not re.search(r"(?im)^via: \S", head):
        raise BenchError(f"the response has no Via field:\n{head}")


def served(origin_port):
    """Requests that the origin has answered so far."""
    return int(get(origin_port, "/served")[2])


class CheckedLoad:
    """Runs a load generator, then checks its own report and the origin's count of requests against each other."""

    def __init__(self, cpu, origin_port):
        self.cpu, self.origin_port = cpu, origin_port

    def _run(self, arguments):
        before = served(self.origin_port)
        done = subprocess.run(["taskset", "-c", str(self.cpu), *map(str, arguments)], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise BenchError(f"{arguments[0]} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout, served(self.origin_port) - before

    def for_seconds(self, port, path, seconds):
        """wrk with 64 connections: (requests, seconds, p99 in milliseconds)."""
        text, at_origin = self._run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency",
                                     f"http://127.0.0.1:{port}{path}"])
        done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)\b", text)
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", text)
        if not done or not p99 or "Non-2xx" in text or "Socket errors" in text:
            raise BenchError(f"wrk saw errors:\n{text}")
        requests = int(done[1])
        # Those under way when wrk stops are answered by the origin and not counted by wrk.
        if requests == 0 or not requests <= at_origin <= requests + 2 * CONNECTIONS:
            raise BenchError(f"wrk counted {requests} responses, the origin made {at_origin}:\n{text}")
        return requests, float(done[2]) * MILLISECONDS[done[3]] / 1000, float(p99[1]) * MILLISECONDS[p99[2]]

    def count(self, port, path, requests):
        """h2load over HTTP/1.1 with 64 connections: exactly so many requests, all of them successful."""
        text, at_origin = self._run(["h2load", "--h1", "-t1", f"-c{min(CONNECTIONS, requests)}", f"-n{requests}",
                                     f"http://127.0.0.1:{port}{path}"])
        done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
        status = re.search(r"status codes: (\d+) 2xx", text)
        if not done or not status or [done[1], done[2], done[3], done[4], status[1]] != [str(requests), "0", "0", "0",
                                                                                         str(requests)]:
            raise BenchError(f"h2load: not all of {requests} requests succeeded:\n{text}")
        if at_origin != requests:
            raise BenchError(f"h2load made {requests} requests, the origin saw {at_origin}")
