"""What a change of one endpoint's health costs among very many that are checked, and how fast it is everywhere. Each stage
yields (what, figure as text, whether it is as wanted).

All is real: the checks are HTTP requests of the control plane to every endpoint, all of which one nginx is, at as many
addresses of loopback; an endpoint becomes unwell when nginx finds a file of its address. Load goes to the clusters whose
endpoints change."""
import statistics
import time

import changes
from changes import APART_SECONDS, CHANGE_MAX_MS, CPU_GROWTH_MAX, Watch, describe, growth
from gateway import Gateway
from health_stages import start_nginx
from processes import Begun, free_port, wait_until
from site_under_load import BackgroundLoad, failures, load_alone
from stages import milliseconds, percentile, tails

EACH = 100                      # endpoints of a cluster
CHANGING = 2                    # clusters whose endpoints change
ROUNDS = 5
CHECKED_SECONDS = 120
SLOW_CHECKS = "{interval: 60s, timeout: 10s, http: /health}"
FAST_CHECKS = ("{interval: 200ms, unhealthy-interval: 200ms, timeout: 10s, unhealthy-after: 1, healthy-after: 1, "
               "http: /health}")


def address(cluster, endpoint):
    return changes.address(cluster * EACH + endpoint + 1)


def cluster_text(cluster, port):
    endpoints = ", ".join(f'"{address(cluster, i)}:{port}"' for i in range(EACH))
    checks = FAST_CHECKS if cluster < CHANGING else SLOW_CHECKS
    return f"{{name: c{cluster}, health: {checks}, endpoints: [{endpoints}]}}"


class Checked(Begun):
    """A gateway of two workers, and clusters whose endpoints are all checked; a folder of the addresses that are down."""

    def __init__(self, run, clusters):
        self.run, self.clusters, self.port, self.origin_port = run, clusters, free_port(), free_port()
        self.work = run.work / f"of-{clusters}"
        self.work.mkdir(mode=0o755)
        self.down = run.work / "down"
        self.down.mkdir(exist_ok=True)
        self.gateway = Gateway(run.programs, self.work, workers=2, log_level="debug")
        self.watch, self.nginx = Watch(self.gateway, limit=10), None

    def begin(self):
        self.nginx = start_nginx(self.run, None, self.origin_port)
        self.gateway.start()
        self.gateway.wait_connected()
        self.gateway.push(changes.configuration(self.port, [cluster_text(i, self.origin_port) for i in range(self.clusters)]))
        wait_until("every endpoint to be found well", self.is_all_known, self.gateway.control_plane, self.gateway.holder,
                   limit=CHECKED_SECONDS)
        self.watch.settle()

    def stop(self):
        self.gateway.stop()
        if self.nginx:
            self.nginx.stop()
        for path in self.down.iterdir():
            path.unlink()

    def is_all_known(self):
        metric = self.gateway.control_metric
        return metric("headgate_controlplane_health_changes_total") >= self.clusters * EACH and \
            metric("headgate_controlplane_data_planes") == 1 and self.gateway.connected()

    def flip(self, number):
        """One endpoint becomes unwell, or well again; returns the microseconds until all workers had it."""
        path = self.down / address(number // 2 % CHANGING, number // 2 % EACH)
        if number % 2:
            path.unlink()
        else:
            path.touch()
        taken = [line["us"] for line in self.watch.wait_change()]
        time.sleep(APART_SECONDS)
        self.run.progress(f"change {number + 1} with {self.clusters:,} clusters")
        return taken

    def flips(self, count):
        return [us for number in range(count) for us in self.flip(number)]


def cost(site, count):
    """(what a change costs, microseconds of each)."""
    taken = []
    return site.watch.cost(count, lambda: taken.extend(site.flips(count))), taken


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
    costs, taken_alone = {}, {}
    for clusters in sizes:
        run.progress(f"{clusters * EACH:,} endpoints in {clusters:,} clusters")
        with Checked(run, clusters) as site:
            costs[clusters], taken_alone[clusters] = cost(site, run.amounts.flips)
            yield f"CPU and bytes of one change, {clusters:,} clusters of {EACH} endpoints", describe(costs[clusters]), True
            if clusters == sizes[-1]:
                quiet, churn, taken = under_load(site, run.amounts.flips, run.amounts.quiet_seconds)
    grown, alone = growth(costs[sizes[0]], costs[sizes[-1]]), taken_alone[sizes[-1]]
    yield f"its CPU, {sizes[-1]:,} clusters to {sizes[0]:,} (at most {CPU_GROWTH_MAX})", f"{grown:.2f}", grown <= CPU_GROWTH_MAX
    yield f"one of {sizes[-1] * EACH:,} endpoints, from its check to all workers, {len(alone)} times (max at most " \
        f"{CHANGE_MAX_MS} ms)", milliseconds(alone), max(alone) <= CHANGE_MAX_MS * 1000
    yield f"the same under load, {len(taken)} times (p95 at most {CHANGE_MAX_MS} ms)", milliseconds(taken), \
        percentile(taken, 0.95) <= CHANGE_MAX_MS * 1000
    yield "p99 without changes", tails(quiet), not any(map(failures, quiet))
    yield "p99 while they change", tails(churn), not any(map(failures, churn))
    yield "median of both", f"{statistics.median(r['p99_ms'] for r in quiet):.2f} and " \
        f"{statistics.median(r['p99_ms'] for r in churn):.2f} ms", True


STAGES = {"health-changes": health_changes}
