"""What a change of one endpoint's health costs among very many that are checked, and how fast it is everywhere. Each stage
yields (what, figure as text, whether it is as wanted).

All is real: the checks are HTTP requests of the control plane to every endpoint, all of which one nginx is, at as many
addresses of loopback; an endpoint becomes unwell when nginx finds a file of its address. Load goes to the clusters whose
endpoints change."""
import json
import pathlib
import statistics
import time

from gateway import Gateway
from health_stages import start_nginx
from processes import BenchError, free_port, wait_until
from site_under_load import BackgroundLoad, failures, load_alone
from stages import milliseconds, percentile, tails

EACH = 100                      # endpoints of a cluster
CHANGING = 2                    # clusters whose endpoints change
CHANGE_MAX_MS = 10
CPU_GROWTH_MAX = 1.5            # of the cost of a change, from the fewest clusters to a hundred times as many
APART_SECONDS = 0.06            # changes that are closer to each other go out together
ROUNDS = 5
CHECKED_SECONDS = 120
# Threads that do not carry changes: the checks; and what is written to disk a while later, for many changes together.
BESIDES = ("health-checks", "state-saver", "last-good")

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
SLOW_CHECKS = "{interval: 60s, timeout: 10s, http: /health}"
FAST_CHECKS = ("{interval: 200ms, unhealthy-interval: 200ms, timeout: 10s, unhealthy-after: 1, healthy-after: 1, "
               "http: /health}")


def address(cluster, endpoint):
    number = cluster * EACH + endpoint + 1
    return f"127.{1 + number // 65536}.{number // 256 % 256}.{number % 256}"


def cluster_text(cluster, port):
    endpoints = ", ".join(f'"{address(cluster, i)}:{port}"' for i in range(EACH))
    checks = FAST_CHECKS if cluster < CHANGING else SLOW_CHECKS
    return f"  - {{name: c{cluster}, health: {checks}, endpoints: [{endpoints}]}}"


def configuration(port, origin_port, clusters):
    rules = "\n".join(f"          - {{match: {{path: {{prefix: /c{i}/}}}}, cluster: c{i}}}" for i in range(clusters))
    return CONFIGURATION.format(port=port, rules=rules,
                                clusters="\n".join(cluster_text(i, origin_port) for i in range(clusters)))


def thread_seconds(pid):
    """CPU seconds of a process by its threads, but for those besides. Threads that have ended do not count."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            if (task / "comm").read_text().strip() not in BESIDES:
                total += int((task / "schedstat").read_text().split()[0])
        except OSError:         # it has just ended
            continue
    return total / 1e9


class Checked:
    """A gateway of two workers, and clusters whose endpoints are all checked; a folder of the addresses that are down."""

    def __init__(self, run, clusters):
        self.run, self.clusters, self.port, self.origin_port = run, clusters, free_port(), free_port()
        self.work = run.work / f"of-{clusters}"
        self.work.mkdir(mode=0o755)
        self.down = run.work / "down"
        self.down.mkdir(exist_ok=True)
        self.gateway = Gateway(run.programs, self.work, workers=2, log_level="debug")
        self.nginx, self.read = None, 0

    def __enter__(self):
        try:
            self.nginx = start_nginx(self.run, None, self.origin_port)
            self.gateway.start()
            self.gateway.wait_connected()
            self.gateway.push(configuration(self.port, self.origin_port, self.clusters))
            wait_until("every endpoint to be found well", self.is_all_known, self.gateway.control_plane, self.gateway.holder,
                       limit=CHECKED_SECONDS)
            time.sleep(2)       # the state is stored a second after its last change
            self.new_changes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.gateway.stop()
        if self.nginx:
            self.nginx.stop()
        for path in self.down.iterdir():
            path.unlink()

    def is_all_known(self):
        metric = self.gateway.control_metric
        return metric("headgate_controlplane_health_changes_total") >= self.clusters * EACH and \
            metric("headgate_controlplane_data_planes") == 1 and self.gateway.connected()

    def new_changes(self):
        """Microseconds of the changes that have become known to every worker since the last time this was asked."""
        with open(self.gateway.work / "controlplane.log", "rb") as log:
            log.seek(self.read)
            text = log.read()
        whole = text[:text.rindex(b"\n") + 1] if b"\n" in text else b""
        self.read += len(whole)
        lines = [json.loads(line) for line in whole.splitlines() if b"changed endpoints are served" in line]
        return [line["us"] for line in lines]

    def flip(self, number):
        """One endpoint becomes unwell, or well again; returns the microseconds until all workers had it."""
        path = self.down / address(number // 2 % CHANGING, number // 2 % EACH)
        if number % 2:
            path.unlink()
        else:
            path.touch()
        taken, deadline = [], time.monotonic() + 10
        while not taken:
            if time.monotonic() > deadline:
                raise BenchError("a change was not served within ten seconds")
            time.sleep(0.005)
            taken = self.new_changes()
        time.sleep(APART_SECONDS)
        self.run.progress(f"change {number + 1} with {self.clusters:,} clusters")
        return taken

    def flips(self, count):
        return [us for number in range(count) for us in self.flip(number)]

    def cpu(self):
        """Seconds of the control plane, and of the data plane."""
        return thread_seconds(self.gateway.control_plane.process.pid), thread_seconds(self.gateway.dataplane_pid())

    def sent(self):
        return self.gateway.control_metric("headgate_controlplane_sent_bytes_total")


def cost(site, count):
    """What a change costs, in milliseconds of CPU of the control plane and of the data plane, and bytes on the channel; what
    as much time costs in which nothing changes is subtracted."""
    sent, before, started = site.sent(), site.cpu(), time.monotonic()
    taken = site.flips(count)
    seconds, after, sent = time.monotonic() - started, site.cpu(), site.sent() - sent
    quiet = min(seconds, 10)
    idle_before = site.cpu()
    time.sleep(quiet)
    idle = [(b - a) * seconds / quiet for a, b in zip(idle_before, site.cpu())]
    control, data = (1000 * (b - a - i) / len(taken) for a, b, i in zip(before, after, idle))
    return {"control": control, "data": data, "bytes": sent / len(taken), "taken": taken}


def describe(figures):
    return f"control plane {figures['control']:.2f} ms, data plane {figures['data']:.2f} ms, {figures['bytes']:,.0f} bytes"


def under_load(site, flips, seconds):
    """(reports of rounds without changes, with changes, microseconds of the changes)."""
    quiet, churn, taken = [], [], []
    for _ in range(ROUNDS):
        quiet.append(load_alone(site.port, seconds / ROUNDS, "/c0/"))
        with BackgroundLoad(site.port, "/c0/") as background:
            taken += site.flips(flips // ROUNDS // 2 * 2)
            churn.append(background.stop())
    return quiet, churn, taken


def health_changes(run):
    """One endpoint of very many changes its health: how fast all workers know, what it costs, and what requests feel."""
    sizes = [max(CHANGING, run.amounts.clusters // part) for part in (100, 10, 1)]
    costs = {}
    for clusters in sizes:
        run.progress(f"{clusters * EACH:,} endpoints in {clusters:,} clusters")
        with Checked(run, clusters) as site:
            costs[clusters] = cost(site, run.amounts.flips)
            yield f"CPU and bytes of one change, {clusters:,} clusters of {EACH} endpoints", describe(costs[clusters]), True
            if clusters == sizes[-1]:
                quiet, churn, taken = under_load(site, run.amounts.flips, run.amounts.quiet_seconds)
    first, last = (costs[sizes[i]]["control"] + costs[sizes[i]]["data"] for i in (0, -1))
    yield f"its CPU, {sizes[-1]:,} clusters to {sizes[0]:,} (at most {CPU_GROWTH_MAX})", f"{last / first:.2f}", \
        last <= CPU_GROWTH_MAX * first
    alone = costs[sizes[-1]]["taken"]
    yield f"one of {sizes[-1] * EACH:,} endpoints, from its check to all workers, {len(alone)} times (p95 at most " \
        f"{CHANGE_MAX_MS} ms)", milliseconds(alone), percentile(alone, 0.95) <= CHANGE_MAX_MS * 1000
    yield f"the same under load, {len(taken)} times", milliseconds(taken), True
    yield "p99 without changes", tails(quiet), not any(map(failures, quiet))
    yield "p99 while they change", tails(churn), not any(map(failures, churn))
    yield "median of both", f"{statistics.median(r['p99_ms'] for r in quiet):.2f} and " \
        f"{statistics.median(r['p99_ms'] for r in churn):.2f} ms", True


STAGES = {"health-changes": health_changes}
