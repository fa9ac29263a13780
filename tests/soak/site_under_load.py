"""A gateway under load for the long runs: configurations that differ by a number, and wrk that is stopped when all is done."""
import math
import os
import pathlib
import re
import signal
import subprocess
import time

import load
from gateway import Gateway
from processes import Begun, Place, Program, free_port, wait_until

CONFIGURATION = """
access-log: {{format: "off"}}
limits: {{connections-per-ip: 4000}}
listeners:
  - {{name: web, address: "127.0.0.1:{port}", route-table: site}}
route-tables:
  - name: site
    hosts:
      - domains: ["*"]
        rules:
{rules}
clusters:
{clusters}
"""


def one_host(port, rules, clusters):
    """The text of a configuration with these rules and clusters, each a line without its dash."""
    return CONFIGURATION.format(port=port, rules="\n".join(f"          - {rule}" for rule in rules),
                                clusters="\n".join(f"  - {cluster}" for cluster in clusters))


def number_rule(number):
    """Says which configuration it is: Site.number."""
    return f'{{match: {{path: {{exact: /number}}}}, respond: {{status: 200, body: "{number}"}}}}'


def cluster_rules(count):
    """Cluster cN has what is below /cN/."""
    return [f"{{match: {{path: {{prefix: /c{i}/}}}}, cluster: c{i}}}" for i in range(count)]


def configuration(port, origins, number):
    """Number `number`: says so at /number, and differs from its neighbours in routes, endpoints and weights."""
    rules = [f"{{match: {{path: {{prefix: /old-{n}/}}}}, redirect: {{prefix: /new/, status: 308}}}}" for n in range(number % 7)]
    used = origins if number % 3 else origins[:1]
    endpoints = ", ".join(f'{{address: "127.0.0.1:{origin}", weight: {1 + (number + i) % 4}}}'
                          for i, origin in enumerate(used))
    return one_host(port, [number_rule(number), *rules, "{cluster: web}"], [f"{{name: web, endpoints: [{endpoints}]}}"])


class Site(Begun):
    """Two origins and a gateway on a port of its own, in a folder that is the caller's."""

    def __init__(self, programs, work, workers=2):
        self.port = free_port()
        self.place = Place(None, work)
        tools = pathlib.Path(programs).parent / "bench"
        self.origins = []
        for name in ("origin-1", "origin-2"):
            self.origins.append(Program(name, [tools / "origin", "12", "65536"], None, pathlib.Path(work) / f"{name}.log",
                                        prints_port=True))
        self.gateway = Gateway(programs, work, workers=workers)

    def begin(self):
        self.gateway.start()
        self.gateway.wait_connected()
        self.push(0)
        self.wait_number(0)

    def stop(self):
        self.gateway.stop()
        for origin in self.origins:
            origin.stop()

    def push(self, number):
        """Commits configuration `number`; returns the reply."""
        return self.gateway.push(configuration(self.port, [origin.port for origin in self.origins], number))

    def number(self):
        """The number of the configuration that answers, or None while nothing does."""
        try:
            status, _, body = load.get(self.port, "/number")
        except (OSError, load.BenchError):
            return None
        return int(body) if status == 200 else None

    def wait_number(self, number):
        wait_until(f"configuration {number} to be served", lambda: self.number() == number, self.gateway.holder)


class BackgroundLoad:
    """wrk with 64 connections from here until `stop`."""

    def __init__(self, port, path="/12"):
        self.process = subprocess.Popen(
            ["wrk", "-t1", f"-c{load.CONNECTIONS}", "-d24h", "--timeout", "10s", "--latency", f"http://127.0.0.1:{port}{path}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.report = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """{requests, p99_ms, bad_statuses, connect, read, write, timeout}: the last four are socket errors."""
        if self.report is None:
            self.process.send_signal(signal.SIGINT)
            text, _ = self.process.communicate(timeout=60)
            self.report = parse_wrk(text)
            if not self.report["requests"]:
                raise load.BenchError(f"nobody was answered:\n{text}")
        return self.report


def parse_wrk(text):
    done = re.search(r"(\d+) requests in", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", text)
    if not done or not p99:
        raise load.BenchError(f"wrk said:\n{text}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    kinds = ("connect", "read", "write", "timeout")
    return {"requests": int(done[1]), "p99_ms": float(p99[1]) * load.MILLISECONDS[p99[2]],
            "bad_statuses": int(bad[1]) if bad else 0,
            **{kind: int(errors[i + 1]) if errors else 0 for i, kind in enumerate(kinds)}}


def parse_h2load(text, log, first=0, last=math.inf):
    """Likewise, but what failed is of all that was asked, and the rest of what began between two times."""
    _, failed, errored, late = load.outcomes(text)
    times = [int(row[2]) for row in load.logged(log) if first <= int(row[0]) / 1e6 <= last]
    return {"requests": len(times), "p99_ms": load.p99_ms(times), "bad_statuses": failed, "connect": errored, "read": 0,
            "write": 0, "timeout": late}


def failures(report):
    return sum(report[kind] for kind in ("bad_statuses", "connect", "read", "write", "timeout"))


def load_alone(port, seconds, path="/12"):
    """The report of a run in which nothing else happens."""
    with BackgroundLoad(port, path) as background:
        time.sleep(seconds)
        return background.stop()


def kill_and_wait(program):
    """KILL to a program of ours and its children."""
    for pid in program.pids():
        os.kill(pid, signal.SIGKILL)
    program.process.wait()
