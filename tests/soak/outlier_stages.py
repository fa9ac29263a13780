"""Origins that die or dawdle under load. Each stage yields (what, figure as text, whether it is as wanted)."""
import contextlib
import os
import pathlib
import signal
import statistics
import sys
import time

import load
from gateway import Gateway
from processes import Begun, BenchError, Program, free_port, wait_until
from site_under_load import BackgroundLoad, failures, kill_and_wait, load_alone, one_host

HERE = pathlib.Path(__file__).resolve().parent
WORKERS, THRESHOLD, LEFT_MAX_MS, AFTERWARDS_SECONDS = 2, 5, 30, 0.5
DELAY, SHARE_MAX = 0.02, 100 / 9        # seconds; percent: a third of an even share
BALANCERS = ("round-robin", "least-request", "peak-ewma")

RETRY, NO_RETRY = ", retry: {retries: 2, on: [connect-failure, reset]}", ", retry: {retries: 0}"
BUDGET = f", circuit-breakers: {{min-retries: {load.CONNECTIONS}}}"     # for all that is under way


def detecting(row, more=""):
    return (f", outlier-detection: {{consecutive-5xx: {row}, consecutive-gateway-failures: {row}, "
            f"consecutive-local-failures: {row}, base-ejection: 60s{more}}}")


DETECTION = detecting(THRESHOLD)
# With a row of one a worker begins nothing on the endpoint after the first failure that it sees: either it is out, or there is
# room for this worker to eject it. No answer that is good and late breaks such a row.
AT_ONCE = detecting(1, ", max-ejected-percent: 100")
# With least connections one of three has at most a third of what a worker has under way, rounded up, at every moment.
ON_ONE_MAX = (load.CONNECTIONS + 2 * WORKERS) // 3


class Site(Begun):
    """A gateway; each round has a cluster and origins of its own."""

    def __init__(self, run):
        self.work, self.tools = run.work, run.programs.parent / "bench"
        self.port, self.rounds = free_port(), 0
        self.gateway = Gateway(run.programs, run.work, workers=WORKERS)

    def begin(self):
        self.gateway.start()
        self.gateway.wait_connected()

    def stop(self):
        self.gateway.stop()

    @contextlib.contextmanager
    def origins(self, *commands):
        started = []
        try:
            for i, command in enumerate(commands):
                started.append(Program(f"origin-{i}", command, None, self.work / f"origin-{i}.log", prints_port=True))
            yield started
        finally:
            for program in started:
                program.stop()

    def fast(self):
        return [self.tools / "origin", "12"]

    def troubled(self, delay, times):
        return [sys.executable, HERE / "troubled_origin.py", delay, times]

    def serve(self, origins, balancer="round-robin", detection=DETECTION, retry=""):
        self.rounds += 1
        name, endpoints = f"c{self.rounds}", ", ".join(f'"127.0.0.1:{origin.port}"' for origin in origins)
        cluster = f"{{name: {name}, balancer: {balancer}, endpoints: [{endpoints}]{detection}{BUDGET}}}"
        self.gateway.push(one_host(self.port, [f"{{cluster: {name}{retry}}}"], [cluster]))

    def metric(self, name):
        return self.gateway.metric(f"headgate_{name}") or 0

    def ejections(self):
        return self.metric("ejections_total")

    def wait_ejection(self, before):
        """And some load without the endpoint, in which whatever still goes there is seen."""
        wait_until("the ejection", lambda: self.ejections() > before, self.gateway.holder)
        time.sleep(AFTERWARDS_SECONDS)


def wait_load(site, origin):
    wait_until("load", lambda: load.served(origin.port) > 1000, site.gateway.holder)


def broken_origin(site):
    """An origin begins to reset every connection: (milliseconds from the failure that is one too many to its last request,
    requests that it saw after that one)."""
    times = site.work / "times"
    with site.origins(site.fast(), site.fast(), site.troubled(0, times)) as origins:
        site.serve(origins)
        before = site.ejections()
        with BackgroundLoad(site.port):
            wait_load(site, origins[2])
            os.kill(origins[2].process.pid, signal.SIGUSR1)
            site.wait_ejection(before)
        seen = [int(line) / 1e6 for line in times.read_text().splitlines()]
    if len(seen) < THRESHOLD:
        raise BenchError(f"it saw only {len(seen)} requests")
    return seen[-1] - seen[THRESHOLD - 1], len(seen) - THRESHOLD


def killed_origin(site, balancer, detection, retry):
    """An origin is killed: requests that failed."""
    with site.origins(*[site.fast()] * 3) as origins:
        site.serve(origins, balancer, detection, retry)
        before = site.ejections()
        with BackgroundLoad(site.port) as background:
            wait_load(site, origins[1])
            kill_and_wait(origins[1])
            site.wait_ejection(before)
            return failures(background.stop())


def dying_origins(run):
    """One of three origins dies under load: how long traffic goes on to it after the failure that is one too many."""
    rounds = max(2, run.amounts.kills // 10)
    with Site(run) as site:
        broken = [broken_origin(site) for _ in range(rounds)]
        left, seen = zip(*broken)
        killed = [killed_origin(site, "least-connections", AT_ONCE, NO_RETRY) for _ in range(rounds)]
        retried = [killed_origin(site, "round-robin", DETECTION, RETRY) for _ in range(rounds)]
    yield f"from the threshold to the last request on it, {rounds} times (at most {LEFT_MAX_MS} ms)", \
        f"median {statistics.median(left):.1f} ms, max {max(left):.1f} ms", max(left) <= LEFT_MAX_MS
    yield f"requests that it saw after the threshold (at most the {load.CONNECTIONS} under way)", \
        f"median {statistics.median(seen):.0f}, max {max(seen)}", max(seen) <= load.CONNECTIONS
    yield f"failed when one was killed, {rounds} times (at most the {ON_ONE_MAX} of {load.CONNECTIONS} that least connections " \
        "gives to one)", f"median {statistics.median(killed):.0f}, max {max(killed)}", max(killed) <= ON_ONE_MAX
    yield f"failed when one was killed and they may be sent again, {rounds} times", f"{sum(retried)}", sum(retried) == 0


def slow_origin(run):
    """One of three origins is slow: its share of the requests, by balancer, without outlier detection."""
    with Site(run) as site:
        for balancer in BALANCERS:
            with site.origins(site.fast(), site.fast(), site.troubled(DELAY, "/dev/null")) as origins:
                site.serve(origins, balancer, detection="")
                report = load_alone(site.port, run.amounts.quiet_seconds)
                counts = [load.served(origin.port) for origin in origins]
            share = 100 * counts[2] / sum(counts)
            is_wanted = share <= SHARE_MAX if balancer != "round-robin" else share > 30
            yield f"its share, {balancer} (at most {SHARE_MAX:.0f} %, round-robin a third)", \
                f"{share:.1f} % of {sum(counts):,}, {DELAY * 1000:.0f} ms each; {failures(report)} failed", \
                is_wanted and failures(report) == 0


STAGES = {"dying-origins": dying_origins, "slow-origin": slow_origin}
