"""`headgate top`: what it counts agrees with what was sent, and the terminal is as it was afterwards."""
import fcntl
import http.server
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from planes import PATIENCE, PROGRAMS, get, wait_until


class Origin(http.server.ThreadingHTTPServer):
    def __init__(self, status):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.server_port}"


@pytest.fixture
def origins():
    servers = [Origin(200), Origin(503)]
    yield [s.address for s in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def configuration(origins):
    return {
        "listeners": [{"name": "web", "address": "127.0.0.1:0", "route-table": "site"}],
        "route-tables": [{"name": "site", "hosts": [{"domains": ["*"], "rules": [
            {"match": {"path": {"prefix": "/bad"}}, "cluster": "bad"},
            {"match": {"path": {"prefix": "/nobody"}}, "cluster": "nobody"},
            {"cluster": "good"},
        ]}]}],
        "clusters": [{"name": "good", "endpoints": [origins[0]]}, {"name": "bad", "endpoints": [origins[1]]},
                     {"name": "nobody", "endpoints": []}],
    }


def serve(site, origins, content=None):
    """A data plane that serves; the address of its listener."""
    site.start_data_plane("a", workers=2)
    site.wait_data_plane("a")
    assert site.push(content or configuration(origins)).code == 0
    site.wait_data_plane("a", version=1)
    return wait_until("a listener", lambda: site.data_plane("a").get("report", {}).get("listeners"))[0]["addresses"][0]


def top(site, *arguments):
    return site.ok("top", "--once", "-o", "json", *arguments).json


def test_counts_agree_with_what_was_sent(site, origins):
    address = serve(site, origins)
    before = {c["name"]: c for c in top(site)["clusters"]}
    assert sorted(before) == ["bad", "good", "nobody"]
    assert all(c["attempts"] == c["errors"] == 0 and c["attempts_per_second"] == 0 for c in before.values())
    for target, count in (("/", 30), ("/bad", 12), ("/nobody", 5)):
        for _ in range(count):
            get(address, target)
    seen = top(site)
    clusters = {c["name"]: c for c in seen["clusters"]}
    assert [(c["attempts"], c["errors"]) for c in map(clusters.get, ("good", "bad", "nobody"))] == [(30, 0), (12, 12), (0, 5)]
    assert all(c["under_way"] == 0 for c in clusters.values())
    assert (clusters["good"]["endpoints"], clusters["nobody"]["endpoints"]) == (1, 0)
    plane, = seen["data_planes"]
    assert (plane["node"], plane["state"], plane["requests"], plane["responses_5xx"]) == ("a", "measured", 47, 17)
    assert "good" in site.ok("top", "--once").out


def test_rates_and_times_while_there_is_traffic(site, origins):
    address = serve(site, origins)
    is_over = threading.Event()

    def ask():
        while not is_over.is_set():
            get(address)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        seen = wait_until("a rate", lambda: next((c for c in top(site)["clusters"] if c["attempts_per_second"] > 0), None))
    finally:
        is_over.set()
        thread.join()
    assert seen["name"] == "good" and seen["errors_per_second"] == 0
    assert 0 < seen["p50_us"] <= seen["p99_us"]


def test_a_control_plane_alone_and_a_data_plane_that_is_away(site, origins):
    assert top(site) == {"data_planes": [], "away": [], "clusters": []}
    serve(site, origins)
    site.processes[-1].stop()
    wait_until("it is away", lambda: not site.status()["data_planes"])
    assert top(site)["away"] == ["a"]
    assert top(site, "--node", "nobody")["data_planes"] == []
    assert "1 away: a" in site.ok("top", "--once").out


def test_wrong_usage_and_no_control_plane(folders):
    assert folders.headgate("top", "--once").code == 3
    assert folders.headgate("top", "--interval", "0").code == 2


def test_an_object_for_each_interval(site, origins):
    serve(site, origins)
    with subprocess.Popen([PROGRAMS / "headgate", "top", "-o", "json"], env=site.environment, stdout=subprocess.PIPE) as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.terminate()
    assert all(line["data_planes"][0]["state"] == "measured" for line in lines)


class Screen:
    """`headgate top` on a terminal of its own."""

    def __init__(self, site, rows=24, columns=100):
        self.terminal, self.inner = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.inner)
        self.shown = b""
        self.process = subprocess.Popen([PROGRAMS / "headgate", "top"], env=site.environment, stdin=self.inner, stdout=self.inner,
                                        stderr=self.inner, start_new_session=True)

    def resize(self, rows, columns):
        fcntl.ioctl(self.inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, text):
        """Reads until this has been shown; forgets it."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, f"{text} was not shown: {self.shown[-2000:]}"
            if select.select([self.terminal], [], [], left)[0]:
                self.shown += os.read(self.terminal, 65536)
        self.shown = self.shown.partition(text)[2]

    def press(self, keys):
        os.write(self.terminal, keys)

    def end(self):
        """The exit code; the terminal must be as it was."""
        self.wait(b"\x1b[?25h\x1b[?1049l")
        code = self.process.wait(PATIENCE)
        assert termios.tcgetattr(self.inner) == self.before
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.terminal)
        os.close(self.inner)


@pytest.fixture
def screen(site, origins):
    serve(site, origins)
    screen = Screen(site)
    yield screen
    screen.close()


def test_keys_and_q(screen):
    screen.wait(b"\x1b[?1049h\x1b[?25l")
    assert not termios.tcgetattr(screen.inner)[3] & (termios.ICANON | termios.ECHO)
    screen.wait(b"clusters by requests")
    screen.press(b"s")
    screen.wait(b"clusters by errors")
    screen.press(b"\x1b[B\x1b[A\x1b[6~")
    screen.wait(b"REQ/S")
    screen.press(b"q")
    assert screen.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(screen, number):
    screen.wait(b"clusters by requests")
    screen.process.send_signal(number)
    assert screen.end() == 0


def narrow(screen):
    """Whether the next frame fits into 40 columns."""
    screen.wait(b"\x1b[J")
    frame = screen.shown.partition(b"\x1b[J")[0]
    while b"\x1b[J" not in screen.shown:
        screen.shown += os.read(screen.terminal, 65536)
        frame = screen.shown.partition(b"\x1b[J")[0]
    return b"REQ/S" in frame and b"ENDPOINTS" not in frame


def test_a_window_that_changes(screen):
    screen.wait(b"ENDPOINTS")
    screen.resize(10, 40)
    screen.process.send_signal(signal.SIGWINCH)
    wait_until("fewer columns", lambda: narrow(screen))
    screen.press(b"q")
    assert screen.end() == 0


def test_a_control_plane_that_dies_meanwhile(site, screen):
    screen.wait(b"clusters by requests")
    site.control.kill()
    screen.wait(b"does not answer")
    site.processes.remove(site.control)
    site.start_control_plane()
    screen.wait(b"arrows: scroll")
    screen.press(b"q")
    assert screen.end() == 0


def test_unhealthy_and_ejected_endpoints(site, origins):
    content = configuration(origins)
    rules = content["route-tables"][0]["hosts"][0]["rules"]
    rules.insert(0, {"match": {"path": {"prefix": "/watched"}}, "cluster": "watched"})
    content["clusters"] += [
        {"name": "checked", "endpoints": origins, "health": {"http": "/", "interval": "200ms", "unhealthy-after": 1}},
        {"name": "watched", "endpoints": origins, "outlier-detection": {"consecutive-5xx": 2, "base-ejection": "5m"}},
    ]
    address = serve(site, origins, content)
    for _ in range(8):
        get(address, "/watched")

    def unwell(name):
        found = next(c for c in top(site)["clusters"] if c["name"] == name)
        return found["unhealthy"], found["ejected"], found["draining"], found["unwell"]

    wait_until("the check", lambda: unwell("checked") == (1, 0, 0, [{"address": origins[1], "why": "unhealthy"}]))
    assert unwell("watched") == (0, 1, 0, [{"address": origins[1], "why": "ejected"}])
    assert f"1 ejected: {origins[1]}" in site.ok("top", "--once").out
