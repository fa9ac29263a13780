"""What is measured. Every function takes a started proxy and returns figures as a flat dictionary."""
import re
import signal
import socket
import subprocess

import load
from processes import BenchError, cpu_seconds, memory, settled_memory, wait_until

THROUGHPUT = {
    # name: (bytes of body, what a reader sees)
    "h1": (12, "HTTP/1.1, 12-byte bodies"),
    "h1-64k": (65536, "HTTP/1.1, 64 KiB bodies"),
}
OTHERS = {
    "idle": "bytes per idle connection",
    "allocations": "heap allocations per request",
    "syscalls": "system calls per request",
    "growth": "growth of memory over many requests",
}
STEADY_CONNECTIONS = 8


class Amounts:
    """How much of everything a run does."""

    def __init__(self, rounds=3, seconds=3, warm_up=1, idle=3000, steady=8000, traced=20000, growth=(100000, 1000000)):
        self.rounds, self.seconds, self.warm_up = rounds, seconds, warm_up
        self.idle, self.steady, self.traced, self.growth = idle, steady, traced, growth


SELF_CHECK = Amounts(rounds=1, seconds=1, warm_up=0, idle=50, steady=400, traced=400, growth=(500, 2000))


def throughput(proxy, load_run, scenario, amounts):
    """Speed, and what it costs the proxy, with 64 connections that are never idle."""
    size = THROUGHPUT[scenario][0]
    path = f"/{size}"
    load.check_response(proxy.port, size, proxy.signs)
    if amounts.warm_up:
        load_run.for_seconds(proxy.port, path, amounts.warm_up)
    pids = proxy.pids()
    before = cpu_seconds(pids)
    requests, seconds, p99 = load_run.for_seconds(proxy.port, path, amounts.seconds)
    after = cpu_seconds(pids)
    user, system = ((b - a) / requests * 1e6 for a, b in zip(before, after))
    resident, proportional = memory(proxy.traffic_pids())
    return {"requests": requests, "requests_per_second": requests / seconds, "cpu_us": user + system, "user_us": user,
            "system_us": system, "p99_ms": p99, "rss_bytes": resident, "pss_bytes": proportional}


def open_connections(port, count):
    """Connections that have each had one response."""
    made = []
    for _ in range(count):
        made.append(socket.create_connection(("127.0.0.1", port), timeout=10))
        status, _, _ = load.exchange(made[-1], "/12")
        if status != 200:
            raise BenchError(f"connection {len(made)} of {count} was answered with {status}")
    return made


def check_open(connections):
    """They must still be there, or idle memory was measured of fewer."""
    for connection in connections:
        status, _, _ = load.exchange(connection, "/12")
        if status != 200:
            raise BenchError(f"an idle connection was answered with {status}")


def idle(proxy, _load_run, amounts):
    """Growth of PSS per connection that waits for its next request."""
    connections = open_connections(proxy.port, amounts.idle // 15 + 1)
    try:
        before = settled_memory(proxy.traffic_pids())
        connections += open_connections(proxy.port, amounts.idle)
        after = settled_memory(proxy.traffic_pids())
        check_open(connections)
    finally:
        for connection in connections:
            connection.close()
    return {"connections": amounts.idle, "bytes_per_connection": (after - before) / amounts.idle}


def allocations(proxy, _load_run, amounts):
    """Heap allocations of the gateway's own code, on connections that are warm. Reading the counter allocates, too:
    two readings in a row say how much."""
    name = "headgate_heap_allocations_total"
    connections = open_connections(proxy.port, STEADY_CONNECTIONS)
    try:
        check_open(connections)
        first = proxy.gateway.metric(name)
        if first is None:
            raise BenchError(f"the data plane has no metric {name}")
        second = proxy.gateway.metric(name)
        for _ in range(amounts.steady // STEADY_CONNECTIONS):
            check_open(connections)
        third = proxy.gateway.metric(name)
    finally:
        for connection in connections:
            connection.close()
    requests = amounts.steady // STEADY_CONNECTIONS * STEADY_CONNECTIONS
    return {"requests": requests, "allocations_per_request": ((third - second) - (second - first)) / requests}


def syscalls(proxy, load_run, amounts):
    """System calls of the data plane per request, as strace counts them; strace slows it down."""
    small, large = (traced_calls(proxy, load_run, amounts.traced, size) for size, _ in THROUGHPUT.values())
    return {"requests": amounts.traced, "calls_per_request": sum(small.values()), "calls": readable(small),
            "large_calls_per_request": sum(large.values()), "large_calls": readable(large)}


def readable(calls):
    return {name: round(count, 3) for name, count in calls.items() if count >= 0.005}


def traced_calls(proxy, load_run, requests, size):
    """{name: calls per request}, the most frequent first."""
    pid = proxy.gateway.dataplane_pid()
    report = proxy.place.work / "strace"
    tracer = subprocess.Popen(["strace", "-f", "-c", "-S", "calls", "-o", report, "-p", str(pid)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until("strace to attach", lambda: is_traced(pid) or tracer.poll() is not None)
        load_run.count(proxy.port, f"/{size}", requests)
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
        tracer.wait()
    text = report.read_text() if report.exists() else ""
    rows = re.findall(r"(?m)^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", text)
    calls = {name: int(count) / requests for count, name in rows if name != "total"}
    if not calls:
        raise BenchError(f"strace reported nothing: {text}")
    return calls


def is_traced(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return not re.search(r"(?m)^TracerPid:\s*0$", status.read())


def growth(proxy, load_run, amounts):
    """How much memory the gateway gains from one number of requests to the other."""
    first, last = amounts.growth
    load_run.count(proxy.port, "/12", first)
    before = settled_memory(proxy.traffic_pids())
    load_run.count(proxy.port, "/12", last - first)
    after = settled_memory(proxy.traffic_pids())
    return {"from_requests": first, "to_requests": last, "growth_bytes": after - before}


OTHER_FUNCTIONS = {"idle": idle, "allocations": allocations, "syscalls": syscalls, "growth": growth}
# What only this gateway is asked.
OURS_ONLY = {"allocations", "syscalls", "growth"}
