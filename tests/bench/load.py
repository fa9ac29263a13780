"""Load and the checks that go with it: single requests, wrk, h2load and tests/bench/handshakes.c."""
import functools
import math
import os
import pathlib
import re
import socket
import subprocess

from processes import BenchError, wait_until
from tls_material import NAME

CONNECTIONS = 64
H2_CONNECTIONS, H2_STREAMS = 16, 16
UNDER_WAY_MAX = 2 * H2_CONNECTIONS * H2_STREAMS
RESPONSE_HEAD_MAX = 8192
BUILD_H2LOAD = pathlib.Path(__file__).resolve().parent.parent / "http3_peers/build_h2load"
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


# What h2load says that it spoke, by kind of load. `to-h3`: HTTP/1.1 here, and HTTP/3 towards what this gateway takes for the
# origin.
PROTOCOLS = {"h1": "http/1.1", "h1-tls": "http/1.1", "to-h3": "http/1.1", "h2": "h2", "h3": "h3"}
# h2load does not ask OpenSSL's configuration for these two.
H2_TLS = ["--groups=X25519", "--tls13-ciphers=TLS_AES_128_GCM_SHA256"]


@functools.cache
def h2load_with_http3():
    """Where it is; None when it has not been built."""
    done = subprocess.run([BUILD_H2LOAD], env={**os.environ, "HEADGATE_ONLY_LOOK": "1"}, capture_output=True, text=True,
                          check=False)
    return pathlib.Path(done.stdout.strip()) / "h2load" if done.returncode == 0 else None


def connect(port, context=None, limit=5.0):
    """A connection, with TLS when there is a context for it."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=limit)
    return context.wrap_socket(connection, server_hostname=NAME) if context else connection


def get(port, path, context=None):
    """One GET on a connection of its own: (status, head as text, body)."""
    with connect(port, context) as connection:
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


class Http1Connection:
    """HTTP/1.1, kept open; one request at a time, for 12 bytes."""

    def __init__(self, port, context, limit):
        self.socket = connect(port, context, limit)

    def get(self):
        """Whether a GET is answered with 200."""
        return exchange(self.socket, "/12")[0] == 200

    def close(self):
        self.socket.close()


class Http2Connection:
    """HTTP/2 over TLS, agreed by ALPN; one request at a time, for 12 bytes."""
    SETTINGS_ACK = bytes([0, 0, 0, 4, 1, 0, 0, 0, 0])
    REQUEST = b"\x82\x87\x04\x03/12\x01\x0abench.test"       # HPACK: GET, https, the path, the authority
    HEADERS, SETTINGS, WHOLE, STATUS_200 = 1, 4, 5, 0x88

    def __init__(self, port, context, limit):
        self.socket, self.buffer, self.stream = connect(port, context, limit), b"", -1
        if self.socket.selected_alpn_protocol() != "h2":
            raise BenchError(f"ALPN came to {self.socket.selected_alpn_protocol()}")
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))

    def frame(self):
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            self.buffer += receive(self.socket)
        end = 9 + int.from_bytes(self.buffer[:3], "big")
        frame, self.buffer = self.buffer[:end], self.buffer[end:]
        return frame

    def get(self):
        """Whether a GET is answered with 200."""
        self.stream += 2
        stream, is_good = self.stream.to_bytes(4, "big"), False
        self.socket.sendall(len(self.REQUEST).to_bytes(3, "big") + bytes([self.HEADERS, self.WHOLE]) + stream + self.REQUEST)
        while True:
            frame = self.frame()
            if frame[3] == self.SETTINGS and not frame[4] & 1:
                self.socket.sendall(self.SETTINGS_ACK)
            if frame[5:9] != stream:
                continue
            block = frame[9:].lstrip(b"\x3f\xe1\x1f\x20")            # a change of the table's size
            is_good |= frame[3] == self.HEADERS and block[0] == self.STATUS_200
            if frame[3] <= self.HEADERS and frame[4] & 1:
                return is_good

    def close(self):
        self.socket.close()


def answers(port, path="/12"):
    """Whether requests are answered with 200 yet."""
    try:
        return get(port, path)[0] == 200
    except (OSError, BenchError):
        return False


def check_response(port, size, wants_via, context=None):
    """One response as the origin makes it, and signed where the proxy signs."""
    status, head, body = get(port, f"/{size}", context)
    if status != 200 or body != b"x" * size:
        raise BenchError(f"expected 200 and {size} bytes of the origin, got {status} and {len(body)} bytes:\n{head}")
    if wants_via and not re.search(r"(?im)^via: \S", head):
        raise BenchError(f"the response has no Via field:\n{head}")


def served(origin_port):
    """Requests that the origin has answered so far."""
    return int(get(origin_port, "/served")[2])


class CheckedLoad:
    """Runs a load generator, then checks its own report and the origin's count of requests against each other."""

    def __init__(self, cpu, origin_port, material, handshakes, work):
        self.cpu, self.origin_port, self.material = cpu, origin_port, material
        self.handshakes = handshakes
        folder = work / "load" # not beside the certificates: the control plane watches their folder
        folder.mkdir(exist_ok=True)
        self.log = folder / "h2load.log"

    def _run(self, arguments):
        before = served(self.origin_port)
        done = subprocess.run(["taskset", "-c", str(self.cpu), *map(str, arguments)], capture_output=True, text=True,
                              env=self.material.environment, check=False)
        if done.returncode != 0:
            raise BenchError(f"{arguments[0]} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout, served(self.origin_port) - before

    def for_seconds(self, proxy, kind, size, seconds):
        """Load of one kind: (requests, seconds, p99 in milliseconds)."""
        kinds = {"h1": self._wrk, "h1-tls": self._wrk, "h2": self._h2load, "h3": self._h2load, "full": self._handshakes,
                 "resumed": self._handshakes}
        return kinds[kind](proxy, kind, f"/{size}", seconds)

    def _wrk(self, proxy, kind, path, seconds):
        """64 connections."""
        text, at_origin = self._run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url(proxy, kind, path)])
        done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)\b", text)
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", text)
        if not done or not p99 or "Non-2xx" in text or "Socket errors" in text:
            raise BenchError(f"wrk saw errors:\n{text}")
        check_counts("wrk", int(done[1]), at_origin)
        return int(done[1]), float(done[2]) * MILLISECONDS[done[3]] / 1000, float(p99[1]) * MILLISECONDS[p99[2]]

    def _h2load(self, proxy, kind, path, seconds):
        """16 connections of 16 streams. What was under way at the end is reported as neither failed nor succeeded."""
        self.log.unlink(missing_ok=True)
        text, at_origin = self._run([*h2load(kind), "-t1", f"-c{H2_CONNECTIONS}", f"-m{H2_STREAMS}", f"-D{seconds}", *H2_TLS,
                                     f"--log-file={self.log}", url(proxy, kind, path)])
        requests = succeeded(text, PROTOCOLS[kind])
        check_counts("h2load", requests, at_origin)
        return requests, float(seconds), p99_ms(int(microseconds) for _, _, microseconds in logged(self.log))

    def _handshakes(self, proxy, kind, _path, seconds):
        """16 connections at once, each for one request."""
        text, at_origin = self._run([self.handshakes, proxy.tls_port, kind, seconds])
        requests, resumed, elapsed, p99 = map(float, text.split())
        check_counts("handshakes", int(requests), at_origin)
        if resumed != (requests if kind == "resumed" else 0):
            raise BenchError(f"{resumed:.0f} of {requests:.0f} connections were resumed")
        return int(requests), elapsed, p99 / 1000

    def count(self, proxy, kind, size, requests):
        """h2load: exactly so many requests, all of them successful."""
        shape = ["--h1", f"-c{min(CONNECTIONS, requests)}"] if PROTOCOLS[kind] == "http/1.1" \
            else [f"-c{H2_CONNECTIONS}", f"-m{H2_STREAMS}"]
        text, at_origin = self._run([*h2load(kind), "-t1", *shape, f"-n{requests}", *H2_TLS, url(proxy, kind, f"/{size}")])
        if succeeded(text, PROTOCOLS[kind]) != requests:
            raise BenchError(f"h2load: not all of {requests} requests succeeded:\n{text}")
        if at_origin != requests:
            raise BenchError(f"h2load made {requests} requests, the origin saw {at_origin}")


class IdleHttp3:
    """So many connections of HTTP/3 by h2load. Each has one response, waits, and asks once more, which shows that it is still
    there."""
    EACH_SECOND, PAUSE_MS = 500, 25000      # h2load gives a connection up after 30 s without a packet

    def __init__(self, proxy, load_run, connections, limit):
        self.load, self.connections, self.begun_at = load_run, connections, served(load_run.origin_port)
        script = load_run.log.with_name(f"idle-{connections}.script")
        asked = url(proxy, "h3", "/12")
        script.write_text(f"0\t{asked}\n{self.PAUSE_MS}\t{asked}\n")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(load_run.cpu), *h2load("h3"), "-t1", f"-c{connections}", f"-r{min(self.EACH_SECOND, connections)}", "-m1",
             *H2_TLS, f"--timing-script-file={script}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=load_run.material.environment)
        try:
            wait_until("every connection to have a response", self.is_settled, limit=limit)
            self.check_waiting()
        except BenchError:
            self.stop()
            raise

    def answered(self):
        return served(self.load.origin_port) - self.begun_at

    def is_settled(self):
        return self.answered() >= self.connections or self.process.poll() is not None

    def check_waiting(self, others=0):
        """All have had one response, none has asked again. `others`: responses to other connections that began later."""
        if self.process.poll() is not None:
            raise BenchError(f"h2load ended with {self.process.returncode}:\n{self.process.stdout.read()}")
        if self.answered() != self.connections + others:
            raise BenchError(f"{self.answered()} responses to {self.connections + others} connections that are to wait")

    def finish(self, limit):
        """All ask once more, and end."""
        try:
            text = self.process.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"h2load does not end with {self.connections} connections") from error
        if succeeded(text, "h3") != 2 * self.connections:
            raise BenchError(f"h2load: not all of {self.connections} connections had two responses:\n{text}")

    def stop(self):
        """Whatever became of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def h2load(kind):
    """How its command begins."""
    if kind != "h3":
        return ["h2load"]
    if not h2load_with_http3():
        raise BenchError("no h2load with HTTP/3: tests/http3_peers/build_h2load builds it")
    return [h2load_with_http3(), "--alpn-list=h3"]


def url(proxy, kind, path):
    plain = {"h1": proxy.port, "to-h3": proxy.far_port}
    return f"http://127.0.0.1:{plain[kind]}{path}" if kind in plain else f"https://127.0.0.1:{proxy.tls_port}{path}"


def outcomes(text):
    """How many requests h2load reports as succeeded, failed, errored, and timed out."""
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    if not done:
        raise BenchError(f"h2load said:\n{text}")
    return tuple(map(int, done.groups()))


def succeeded(text, protocol):
    """The number of requests that h2load reports, all of them successful and over that protocol."""
    if f"Application protocol: {protocol}\n" not in text:
        raise BenchError(f"h2load did not speak {protocol}:\n{text}")
    good, *bad = outcomes(text)
    status = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    if good == 0 or any(bad) or not status or any(map(int, status.groups())):
        raise BenchError(f"h2load saw errors:\n{text}")
    return good


def logged(path):
    """What h2load's --log-file says of each response: (microseconds since 1970 when it was asked for, status, microseconds
    that it took), as text."""
    return [line.split("\t") for line in path.read_text().splitlines()]


def p99_ms(microseconds):
    """Infinite where nothing was answered."""
    ordered = sorted(microseconds)
    return ordered[len(ordered) * 99 // 100] / 1000 if ordered else math.inf


def check_counts(program, requests, at_origin):
    """Those under way when a generator stops are answered by the origin and not counted by the generator."""
    if requests == 0 or not requests <= at_origin <= requests + UNDER_WAY_MAX:
        raise BenchError(f"{program} counted {requests} responses, the origin made {at_origin}")
