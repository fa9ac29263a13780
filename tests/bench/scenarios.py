"""What is measured. Every function takes a started proxy and returns figures as a flat dictionary."""
import re
import signal
import subprocess

import load
from processes import BenchError, cpu_seconds, memory, settled_memory, wait_until


class Traffic:
    """What a throughput scenario sends, and the goals of the gateway: CPU of at most so many times another's."""

    def __init__(self, kind, size, title, to_best, to_floor=None):
        self.kind, self.size, self.title, self.to_best, self.to_floor = kind, size, title, to_best, to_floor


THROUGHPUT = {
    "h1": Traffic("h1", 12, "HTTP/1.1, 12-byte bodies", 1.0, 1.15),
    "h1-64k": Traffic("h1", 65536, "HTTP/1.1, 64 KiB bodies", 0.7),
    "h1-tls": Traffic("h1-tls", 12, "HTTP/1.1 over TLS, 12-byte bodies", 1.0),
    "h2": Traffic("h2", 12, "HTTP/2 over TLS, 12-byte bodies", 0.8),
    "h2-64k": Traffic("h2", 65536, "HTTP/2 over TLS, 64 KiB bodies", 1.0),
    "h3": Traffic("h3", 12, "HTTP/3, 12-byte bodies", 0.8),
    "h3-64k": Traffic("h3", 65536, "HTTP/3, 64 KiB bodies", 0.8),
    "full": Traffic("full", 12, "A TLS 1.3 connection for each request, full handshakes", 1.0),
    "resumed": Traffic("resumed", 12, "A TLS 1.3 connection for each request, resumed sessions", 1.0),
}
OTHERS = {
    "idle": "bytes per idle connection",
    "idle-tls": "bytes per idle connection with TLS",
    "idle-h2": "bytes per idle connection of HTTP/2 with TLS",
    "idle-h3": "bytes per idle connection of HTTP/3",
    "allocations": "heap allocations per request",
    "syscalls": "system calls per request",
    "growth": "growth of memory over many requests",
}


# What is counted for "allocations": {name: (kind of load, bytes, title)}.
COUNTED = {
    **{name: (THROUGHPUT[name].kind, THROUGHPUT[name].size, THROUGHPUT[name].title)
       for name in ("h1", "h1-tls", "h2", "h2-64k", "h3", "h3-64k")},
    "to-h3": ("to-h3", 12, "HTTP/1.1 to HTTP/3 to HTTP/1.1, 12-byte bodies"),
    "to-h3-64k": ("to-h3", 65536, "HTTP/1.1 to HTTP/3 to HTTP/1.1, 64 KiB bodies"),
}

IDLE_LIMIT = 10      # seconds in which a connection is made, or a request is answered
IDLE_HTTP3_LIMIT = 60 # in which all of them have an answer, or end


class Amounts:
    """How much of everything a run does."""

    def __init__(self, rounds=3, seconds=3, warm_up=1, idle=3000, steady=8000, traced=20000, growth=(100000, 1000000),
                 thesis=(20, 100000)):
        self.rounds, self.seconds, self.warm_up = rounds, seconds, warm_up
        self.idle, self.steady, self.traced, self.growth = idle, steady, traced, growth
        self.thesis_runs, self.thesis_requests = thesis


SELF_CHECK = Amounts(rounds=1, seconds=1, warm_up=0, idle=50, steady=400, traced=400, growth=(500, 2000), thesis=(1, 1000))


def throughput(proxy, load_run, scenario, amounts):
    """Speed, and what it costs the proxy, with connections that are never idle."""
    traffic = THROUGHPUT[scenario]
    has_tls = traffic.kind != "h1"
    load.check_response(proxy.tls_port if has_tls else proxy.port, traffic.size, proxy.signs,
                        proxy.material.client() if has_tls else None)
    if amounts.warm_up:
        load_run.for_seconds(proxy, traffic.kind, traffic.size, amounts.warm_up)
    pids = proxy.pids()
    before = cpu_seconds(pids)
    requests, seconds, p99 = load_run.for_seconds(proxy, traffic.kind, traffic.size, amounts.seconds)
    after = cpu_seconds(pids)
    user, system = ((b - a) / requests * 1e6 for a, b in zip(before, after))
    resident, proportional = memory(proxy.traffic_pids())
    return {"requests": requests, "requests_per_second": requests / seconds, "cpu_us": user + system, "user_us": user,
            "system_us": system, "p99_ms": p99, "rss_bytes": resident, "pss_bytes": proportional}


def open_connections(make, count):
    """Connections that have each had one response."""
    made = []
    for _ in range(count):
        made.append(make())
        if not made[-1].get():
            raise BenchError(f"connection {len(made)} of {count} was not answered with 200")
    return made


def check_open(connections):
    """They must still be there, or idle memory was measured of fewer."""
    for connection in connections:
        if not connection.get():
            raise BenchError("an idle connection was not answered with 200")


def growth_of_idle(proxy, amounts, make):
    """Growth of PSS per connection that waits for its next request."""
    connections = open_connections(make, amounts.idle // 15 + 1)
    try:
        before = settled_memory(proxy.traffic_pids())
        connections += open_connections(make, amounts.idle)
        after = settled_memory(proxy.traffic_pids())
        check_open(connections)
    finally:
        for connection in connections:
            connection.close()
    return {"connections": amounts.idle, "bytes_per_connection": (after - before) / amounts.idle}


def idle(proxy, _load_run, amounts):
    return growth_of_idle(proxy, amounts, lambda: load.Http1Connection(proxy.port, None, IDLE_LIMIT))


def idle_tls(proxy, _load_run, amounts):
    context = proxy.material.client()
    return growth_of_idle(proxy, amounts, lambda: load.Http1Connection(proxy.tls_port, context, IDLE_LIMIT))


def idle_h2(proxy, _load_run, amounts):
    context = proxy.material.client()
    context.set_alpn_protocols(["h2"])
    return growth_of_idle(proxy, amounts, lambda: load.Http2Connection(proxy.tls_port, context, IDLE_LIMIT))


def idle_h3(proxy, load_run, amounts):
    """As growth_of_idle, with connections that h2load makes; half as many, since all have to be there at once."""
    count, batches = amounts.idle // 2, []
    try:
        batches.append(load.IdleHttp3(proxy, load_run, count // 15 + 1, IDLE_HTTP3_LIMIT))
        before = settled_memory(proxy.traffic_pids())
        batches.append(load.IdleHttp3(proxy, load_run, count, IDLE_HTTP3_LIMIT))
        after = settled_memory(proxy.traffic_pids())
        batches[0].check_waiting(others=count)
        for batch in batches:
            batch.finish(IDLE_HTTP3_LIMIT)
    finally:
        for batch in batches:
            batch.stop()
    return {"connections": count, "bytes_per_connection": (after - before) / count}


def heap_allocations(proxy):
    name = "headgate_heap_allocations_total"
    found = proxy.gateway.metric(name)
    if found is None:
        raise BenchError(f"the data plane has no metric {name}")
    return found


def allocations(proxy, load_run, amounts):
    """Heap allocations of the gateway's own code and, through its free lists, of its libraries: more of them over many
    requests than over few, on as many connections. Reading the counter allocates, too, every time alike."""
    figures = {"requests": amounts.steady}
    few, many = amounts.steady // 4, amounts.steady // 4 + amounts.steady
    for name in counted():
        kind, size, _ = COUNTED[name]
        load_run.count(proxy, kind, size, few)
        counts = [heap_allocations(proxy)]
        for requests in (few, many):
            load_run.count(proxy, kind, size, requests)
            counts.append(heap_allocations(proxy))
        figures[name] = ((counts[2] - counts[1]) - (counts[1] - counts[0])) / amounts.steady
    figures["allocations_per_request"] = max(figures[name] for name in counted())
    return figures


def counted():
    """Without a generator for it HTTP/3 is left out, but not where it is our own on both sides."""
    return [name for name, (kind, _, _) in COUNTED.items() if kind != "h3" or load.h2load_with_http3()]


def traced():
    """The throughput scenarios over TCP whose connections are kept."""
    return [name for name, traffic in THROUGHPUT.items() if traffic.kind in ("h1", "h1-tls", "h2")]


def syscalls(proxy, load_run, amounts):
    """System calls of the data plane per request, as strace counts them; strace slows it down."""
    figures = {"requests": amounts.traced}
    for name in traced():
        calls = traced_calls(proxy, load_run, amounts.traced, THROUGHPUT[name])
        figures[f"{name} per request"] = sum(calls.values())
        figures[f"{name} calls"] = {call: round(count, 3) for call, count in calls.items() if count >= 0.005}
    figures["calls_per_request"] = figures["h1 per request"]
    return figures


def traced_calls(proxy, load_run, requests, traffic):
    """{name: calls per request}, the most frequent first."""
    pid = proxy.gateway.dataplane_pid()
    report = proxy.place.work / "strace"
    tracer = subprocess.Popen(["strace", "-f", "-c", "-S", "calls", "-o", report, "-p", str(pid)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until("strace to attach", lambda: is_traced(pid) or tracer.poll() is not None)
        load_run.count(proxy, traffic.kind, traffic.size, requests)
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
    load_run.count(proxy, "h1", 12, first)
    before = settled_memory(proxy.traffic_pids())
    load_run.count(proxy, "h1", 12, last - first)
    after = settled_memory(proxy.traffic_pids())
    return {"from_requests": first, "to_requests": last, "growth_bytes": after - before}


OTHER_FUNCTIONS = {"idle": idle, "idle-tls": idle_tls, "idle-h2": idle_h2, "idle-h3": idle_h3, "allocations": allocations,
                   "syscalls": syscalls, "growth": growth}
# What only this gateway is asked.
OURS_ONLY = {"allocations", "syscalls", "growth"}
