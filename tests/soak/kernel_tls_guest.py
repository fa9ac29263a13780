"""Runs in the virtual machine of kernel_tls_stages.py: a gateway, an origin, and a client that checks every byte.

    kernel_tls_guest.py STATE PROGRAMS      STATE: what the gateway has to say of this kernel, "used" or why not

Prints one line "RESULT [what, figure, is as wanted]" in JSON for each figure, and "DONE"."""
import contextlib
import encodings.idna  # noqa: F401  (the only one that connecting needs; it has to be found beforehand)
import fcntl
import hashlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

from openssl_client import Client, TlsError

SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
SIZES = (0, 1, 1000, 16383, 16384, 16385, 100_000, 2_000_000)
KEY_UPDATES, READY_SECONDS = 5, 120
AROUND = range(-60_000, 30_000, 3_001)  # what a record more or less is, and some
PORT, ADMIN, ORIGIN = 8443, 9901, 8080
FORGED = b"\x17\x03\x03\x00\x20" + bytes(32)


def content(n):
    return hashlib.shake_128(b"%d" % n).digest(n) if n else b""


def tell(what, figure, is_wanted):
    print("RESULT", json.dumps([what, str(figure), bool(is_wanted)]), flush=True)


# ---- the origin

def read_head(stream):
    lines = []
    for line in iter(stream.readline, b"\r\n"):
        if not line:
            return None, ""
        lines.append(line.decode().strip())
    return lines[0].split()[1], "\n".join(lines).lower()


def serve(connection):
    """GET /N: N bytes. PUT: the digest of what came. Until the gateway goes."""
    with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as stream:
        while True:
            path, head = read_head(stream)
            if not path:
                return
            length = re.search(r"content-length: *(\d+)", head)
            taken = stream.read(int(length[1])) if length else b""
            body = hashlib.sha256(taken).hexdigest().encode() if path == "/sum" else content(int(path[1:]))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def start_origin():
    listening = socket.create_server(("127.0.0.1", ORIGIN), backlog=64)

    def accept():
        while True:
            threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


# ---- the gateway

CONFIGURATION = {
    "listeners": [{"name": "web", "address": f"127.0.0.1:{PORT}", "protocols": ["http1", "http2"], "route-table": "site",
                   "tls": {"certificates": [{"certificate": "/site/site.pem", "key": "/site/site.key"}]}}],
    "route-tables": [{"name": "site", "hosts": [{"domains": ["*"], "rules": [{"cluster": "web"}]}]}],
    "clusters": [{"name": "web", "endpoints": [f"127.0.0.1:{ORIGIN}"]}],
}


def admin(path):
    """The body of a 200; None for anything else."""
    try:
        with socket.create_connection(("127.0.0.1", ADMIN), timeout=10) as s, s.makefile("rb") as stream:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
            answer = stream.read().decode()
            return answer.partition("\r\n\r\n")[2] if " 200 " in answer.partition("\r\n")[0] else None
    except OSError:
        return None


def metric(name, labels=""):
    values = re.findall(rf"(?m)^headgate_{name}(?:{{[^}}]*{labels}[^}}]*}})? (\d+)$", admin("/metrics"))
    return sum(map(int, values))


def settled_metric(name):
    """When it has stopped changing: a worker counts after the client has what is counted."""
    values = [metric(name)]
    while len(values) < 3 or len(set(values[-3:])) > 1:
        values.append(metric(name))
    return values[-1]


class Gateway:
    def __init__(self, programs, mode):
        self.log = open(f"/tmp/gateway-{mode}.log", "w+", encoding="utf-8")
        with open("/site/site.json", "w", encoding="utf-8") as file:
            json.dump(CONFIGURATION, file)
        self.process = subprocess.Popen(
            [f"{programs}/headgate", "run", "/site/site.json", "--state-dir", "/state", "--runtime-dir", "/run",
             "--workers", "1", "--user", "nobody", "--node", "guest", "--dataplane-admin", f"127.0.0.1:{ADMIN}",
             "--controlplane-admin", "off", "--kernel-tls", mode],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        until = time.monotonic() + READY_SECONDS
        while self.process.poll() is None and admin("/readyz") is None:
            if time.monotonic() > until:
                raise TimeoutError(f"the gateway is not ready:\n{self.text()}")
            time.sleep(0.2)
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        if kind:
            print(self.text())

    def text(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8") as file:
            return file.read()


# ---- what is tried

def request(client, method, path, body=b"", close=False):
    length = f"Content-Length: {len(body)}\r\n" if method == "PUT" else ""
    last = "Connection: close\r\n" if close else ""
    client.write(f"{method} {path} HTTP/1.1\r\nHost: site.test\r\n{length}{last}\r\n".encode())
    for at in range(0, len(body), 30_000):
        client.write(body[at:at + 30_000])


def answer(client, pause=0.0):
    """The body of the next response."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.read() or b"\r\n\r\n"
    head, _, rest = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
    pieces, got = [rest], len(rest)
    while got < length:
        piece = client.read()
        if not piece:
            break
        pieces.append(piece)
        got += len(piece)
        time.sleep(pause)
    return b"".join(pieces)


def is_sent(client, n):
    request(client, "GET", f"/{n}")
    return answer(client) == content(n)


def is_received(client, n):
    request(client, "PUT", "/sum", content(n))
    return answer(client) == hashlib.sha256(content(n)).hexdigest().encode()


def transfers(suite):
    """Downloads and uploads of all sizes that arrive whole, over one connection and over one that resumes it."""
    right = 0
    with Client(PORT, suite) as first:
        for n in SIZES:
            right += is_sent(first, n) + is_received(first, n)
        with Client(PORT, suite, session=first.session()) as second:
            for n in SIZES:
                right += is_sent(second, n)
            return right, second.is_resumed()


def key_updates(suite):
    with Client(PORT, suite) as client:
        right = 0
        for _ in range(KEY_UPDATES):
            client.ask_for_new_keys()
            right += is_sent(client, 100_000)
            client.ask_for_new_keys()
            right += is_received(client, 100_000)
        return right


def wait_full(client):
    """Until nothing more arrives at a socket that nobody reads."""
    seen, same = -1, 0
    while same < 5:
        now = struct.unpack("i", fcntl.ioctl(client.socket, termios.FIONREAD, b"\0" * 4))[0]
        seen, same = now, same + 1 if now == seen and now > 0 else 0
        time.sleep(0.02)


def slow_reader(n):
    """The gateway has long closed when the client reads the end, which must be there, with a close_notify behind it."""
    with Client(PORT, SUITES[0], receive_buffer=20_000) as client:
        request(client, "GET", f"/{n}", close=True)
        wait_full(client)
        if answer(client, pause=0.001) != content(n):
            raise TlsError("the response is not whole")
        try:
            return client.read() == b""
        except TlsError:
            raise TlsError("whole, but no close_notify behind it") from None


def most_unread():
    """How much the gateway can send to a client that does not read."""
    with Client(PORT, SUITES[0], receive_buffer=20_000) as client:
        before = metric("client_sent_bytes_total")
        request(client, "GET", "/8000000")
        wait_full(client)
        return settled_metric("client_sent_bytes_total") - before


def slow_readers():
    """Responses around the size at which the kernel's buffers are full with the last record: (figure, all are whole)."""
    most, right, reasons = most_unread(), 0, []
    for n in AROUND:
        try:
            right += slow_reader(most + n)
        except TlsError as error:
            reasons.append(f"{n}: {error}")
    return f"{right} of {len(AROUND)} of about {most:,} bytes {'; '.join(reasons)}", right == len(AROUND)


def alert_for_a_forged_record():
    with Client(PORT, SUITES[0]) as client:
        is_sent(client, 1000)
        client.socket.sendall(FORGED)
        try:
            client.read()
        except TlsError as error:
            return str(error)
    return "none"


def bytes_of_a_small_exchange():
    """What the gateway counts as sent for a small response and the close_notify behind it."""
    with Client(PORT, SUITES[0]) as client:
        is_sent(client, 1000)
        before = settled_metric("client_sent_bytes_total")
        is_sent(client, 1000)
        client.say_goodbye()
        return settled_metric("client_sent_bytes_total") - before


def over_http2():
    done = subprocess.run(["curl", "--silent", "--show-error", "--insecure", "--http2", "--output", "/tmp/h2",
                           "--write-out", "%{http_version}", f"https://127.0.0.1:{PORT}/2000000"],
                          capture_output=True, text=True, check=False)
    with open("/tmp/h2", "rb") as file:
        return f"version {done.stdout}{done.stderr}", done.stdout == "2" and file.read() == content(2_000_000)


# ---- all of it

def kernel_counter(name):
    with open("/proc/net/tls_stat", encoding="utf-8") as file:
        return int(re.search(rf"(?m)^{name}\s+(\d+)", file.read())[1])


def goodbye():
    with Client(PORT, SUITES[0]) as client:
        is_sent(client, 1000)
        client.say_goodbye()
    return "both ways"


def try_all(gateway, mode, state):
    """Returns the bytes of a small exchange."""
    is_used = state == "used"
    said = re.search(r'kernel TLS.*?state"?[=:] ?"?([a-z-]+)', gateway.text())
    tell(f"{mode}: the log says", said[1] if said else "nothing", said and said[1] == state)
    ciphers = metric("tls_kernel")
    tell(f"{mode}: ciphers in the kernel, by the metric", ciphers, ciphers == (len(SUITES) if is_used else 0))
    for suite in SUITES:
        started = time.monotonic()
        right, is_resumed = transfers(suite)
        tell(f"{mode}: {suite}: right transfers, {len(SIZES)} sizes down, up, and down when resumed",
             f"{right} of {3 * len(SIZES)}, {time.monotonic() - started:.1f} s", right == 3 * len(SIZES) and is_resumed)
        right = key_updates(suite)
        tell(f"{mode}: {suite}: right transfers with new keys for each", f"{right} of {2 * KEY_UPDATES}",
             right == 2 * KEY_UPDATES)
    tell(f"{mode}: responses that are whole for a client that reads after the end", *slow_readers())
    reason = alert_for_a_forged_record()
    tell(f"{mode}: a forged record is answered", reason, "alert bad record mac" in reason)
    tell(f"{mode}: and counted", metric("tls_failures_total", 'reason="bad-record"'),
         metric("tls_failures_total", 'reason="bad-record"') == 1)
    tell(f"{mode}: close_notify", goodbye(), True)
    tell(f"{mode}: 2 MB over HTTP/2", *over_http2())
    taken, handshakes = metric("tls_kernel_connections_total"), metric("tls_connections_total", 'version="1.3"')
    tell(f"{mode}: connections in the kernel", f"{taken} of {handshakes}", taken == (handshakes if is_used else 0))
    return bytes_of_a_small_exchange()


def kernel_counters(state):
    sent, updates = kernel_counter("TlsTxSw"), 2 * KEY_UPDATES * len(SUITES)
    tell("TlsTxSw", sent, (sent > 10) == (state == "used"))
    if state == "used":
        done, failed = kernel_counter("TlsTxRekeyOk"), kernel_counter("TlsTxRekeyError")
        tell("TlsTxRekeyOk, TlsTxRekeyError", f"{done}, {failed}", done >= updates and failed == 0)
    left = kernel_counter("TlsCurrTxSw")
    tell("TlsCurrTxSw after all", left, left == 0)


def main():
    state, programs = sys.argv[1:]
    start_origin()
    with Gateway(programs, "auto") as gateway:
        by_kernel = try_all(gateway, "auto", state)
    kernel_counters(state)
    with Gateway(programs, "off") as gateway:
        by_us = try_all(gateway, "off", "off")
    tell("bytes counted for one small response, kernel and ours", f"{by_kernel}, {by_us}", by_kernel == by_us > 1000)
    print("DONE", flush=True)
    os.sync()


if __name__ == "__main__":
    main()
