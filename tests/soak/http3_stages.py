"""HTTP/3 at length: all pairs of versions with large bodies, and what attacks over QUIC cost everybody else. Each stage yields
(what, figure as text, whether it is as wanted)."""
import math
import os
import re
import subprocess
import sys

import load
from attack_stages import HERE, Attack, Site, finish, one_after_the_other
from processes import BenchError
from site_under_load import parse_h2load

CONNECTIONS, STREAMS, VICTIMS = 8, 50, 4
PAIRS_SECONDS = 3600
SPREAD_OVER, SPREAD_CONNECTIONS, SPREAD_REQUESTS, SPREAD_SECONDS = (1, 2, 4), 256, 100, 60
FAULTS = ("quic_protocol_errors_total", "h3_faults_total")
UNKNOWN = ("quic_unknown_total", "quic_malformed_total", "quic_resets_sent_total", "quic_version_negotiations_total",
           "quic_unanswered_total", "quic_overload_total", "quic_retries_total")  # none that honest load raises, too
ENDED = (*FAULTS, "quic_handshakes_total")
ATTACKS = [
    *[Attack(name, "secure", 64, UNKNOWN) for name in (
        "Initials", "broken Initials", "unknown versions", "datagrams of no connection")],
    *[Attack(name, "secure", 48, FAULTS) for name in (
        "rapid reset", "NEW_CONNECTION_ID", "ACK of unsent packets", "RETIRE_CONNECTION_ID of none", "reserved frames",
        "PRIORITY_UPDATE", "empty DATA", "bad instructions of QPACK", "bad increments of QPACK", "blocked streams of QPACK",
        "critical streams reopened", "critical streams closed")],
    *[Attack(name, "secure", 48, ENDED) for name in (
        "handshakes", "PING", "PATH_CHALLENGE", "MAX_STREAM_DATA", "entries of QPACK")],
]


class Http3Site(Site):
    """Whoever is attacked, and everybody else, is a client of HTTP/3."""
    PROTOCOLS = {"secure": "h3"}

    def describe(self, certificate, key):
        configuration = super().describe(certificate, key)
        configuration["listeners"][1]["protocols"] = ["http1", "http2", "http3"]
        return configuration

    def h2load(self, *arguments):
        return self.on_load_cpu(*load.h2load("h3"), "-t1", *arguments,
                                f"https://127.0.0.1:{self.ports['secure']}/12")

    def honest(self, listener, seconds):
        return self.h2load(f"-c{CONNECTIONS}", f"-m{STREAMS}", f"-D{seconds}")

    def attack(self, attack, seconds):
        return self.on_load_cpu(sys.executable, HERE / "http3_attack_client.py", attack.name, self.ports["secure"], seconds)

    def victims(self, seconds):
        log = self.work / "victims.log"
        log.unlink(missing_ok=True)
        return parse_h2load(finish(self.h2load(f"-c{VICTIMS}", "-m1", f"-D{seconds}", f"--log-file={log}"), seconds), log)


class SpreadSite(Http3Site):
    """Several workers, and deadlines that nobody meets."""

    def describe(self, certificate, key):
        return {**super().describe(certificate, key), "timeouts": {}}

    def each_connection_asks(self, connections, times):
        """Requests of each worker, for that."""
        before = self.gateway.metric_of_workers("headgate_worker_requests_total")
        text = finish(self.h2load(f"-c{connections}", "-m2", f"-n{connections * times}"), SPREAD_SECONDS)
        if load.succeeded(text, "h3") != connections * times:
            raise BenchError(f"h2load said:\n{text}")
        return [now - was for was, now in zip(before, self.gateway.metric_of_workers("headgate_worker_requests_total"))]


def http3_workers(run):
    """Requests over HTTP/3 spread over workers: as many connections as the kernel's hash gives each of them."""
    for workers in SPREAD_OVER:
        work = run.work / str(workers)
        work.mkdir(mode=0o755)
        with SpreadSite(run.programs, work, workers=workers) as site:
            counts = site.each_connection_asks(SPREAD_CONNECTIONS, SPREAD_REQUESTS)
            share = max(counts) / sum(counts)
            # connections fall on workers by chance: five standard deviations beyond the mean
            most = 1 / workers + 5 * math.sqrt((1 - 1 / workers) / workers / SPREAD_CONNECTIONS)
            yield f"{workers} workers: requests of each", ", ".join(f"{count:,}" for count in counts), \
                len(counts) == workers and sum(counts) == SPREAD_CONNECTIONS * SPREAD_REQUESTS
            yield f"{workers} workers: the busiest one's share (at most {100 * most:.0f} %)", f"{100 * share:.1f} %", share <= most
            astray = site.metric("quic_astray_total")
            yield f"{workers} workers: datagrams that came to another worker than their connection's", f"{astray:.0f}", astray == 0


def http3_attacks(run):
    """Every flood over QUIC beside other clients: their tail, compared with the tail beside equal honest load."""
    with Http3Site(run.programs, run.work) as site:
        yield from one_after_the_other(run, site, ["secure"], ATTACKS)


def http3_pairs(run):
    """All pairs of versions, with bodies of 100 MiB over HTTP/3, too, and on a bad network."""
    environment = {**os.environ, "HEADGATE_LONG": "1", "HEADGATE_BIN": str(run.programs), "PYTHONDONTWRITEBYTECODE": "1"}
    log = run.work / "pairs.log"
    with open(log, "wb") as output:
        done = subprocess.run([run.project / "tests/alone", sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short",
                               run.project / "tests/scenario/versions"], stdin=subprocess.DEVNULL, stdout=output,
                              stderr=subprocess.STDOUT, env=environment, timeout=PAIRS_SECONDS, check=False)
    text = log.read_text(errors="replace")
    last = text.strip().splitlines()[-1]
    for line in re.findall(r"(?m)^(?:FAILED|ERROR) .*", text):
        yield "a scenario", line, False
    yield "scenarios of all pairs", last, done.returncode == 0 and " passed" in last


STAGES = {"http3-workers": http3_workers, "http3-attacks": http3_attacks, "http3-pairs": http3_pairs}
