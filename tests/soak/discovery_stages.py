"""Very many endpoints through servers of discovery: what it takes until all are served, and how fast one change is in all
workers. Each stage yields (what, figure as text, whether it is as wanted).

All is real: the management server is go-control-plane, the endpoints are one nginx at as many addresses of loopback, and
load goes to a cluster whose endpoints change. A change is one endpoint of one cluster that is another one afterwards."""
import contextlib
import datetime
import json
import pathlib
import re
import sys
import threading
import time

import load
from changes import (APART_SECONDS, CHANGE_MAX_MS, CPU_GROWTH_MAX, SETTLE_SECONDS, Watch, address, configuration, growth,
                     describe as cost_text)
from gateway import Gateway
from health_stages import start_nginx
from processes import Begun, BenchError, free_port, memory, wait_until
from site_under_load import BackgroundLoad, failures
from stages import describe, milliseconds, percentile

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "scenario/discovery"))

import envoy  # noqa: E402  (found by the line above)
from kubernetes_api import ApiServer  # noqa: E402
from management import ManagementServer  # noqa: E402

MIB = 2 ** 20
# In the state of the world a server sends all assignments for a change of one; each costs to be received and compared.
GROWTH_MAX = {"delta-ads": CPU_GROWTH_MAX, "ads": 5}
START_SECONDS = 300
TRAFFIC_SECONDS = 0.002
LOADED = 0                      # the cluster that has load


class Endpoints:
    """Which addresses each cluster has."""

    def __init__(self, clusters, each, port):
        self.port, self.last = port, clusters * each
        self.of = [[1 + cluster * each + i for i in range(each)] for cluster in range(clusters)]

    def change(self, number):
        """One endpoint of a cluster becomes another; returns the cluster. Every other time it is the one under load."""
        cluster = LOADED if number % 2 else number * 37 % len(self.of)
        self.last += 1
        self.of[cluster][number * 7 % len(self.of[cluster])] = self.last
        return cluster

    def addresses(self, cluster):
        return {address(number) for number in self.of[cluster]}

    def listed(self, cluster):
        return [f"{address(number)}:{self.port}" for number in self.of[cluster]]


def described(run):
    return f"{run.amounts.endpoints:,} endpoints in {run.amounts.clusters:,} clusters"


class Place:
    """A gateway of two workers, nginx, and the endpoints. What says them is the caller's."""

    def __init__(self, run, name, clusters, each):
        self.run, self.clusters, self.port = run, clusters, free_port()
        self.work = run.work / name
        self.work.mkdir(mode=0o755)
        self.endpoints = Endpoints(clusters, each, free_port())
        self.gateway = Gateway(run.programs, self.work, workers=2, log_level="debug")
        self.watch, self.nginx = Watch(self.gateway, limit=30), None

    def start(self, configuration=None):
        """Seconds until every cluster is served; a configuration is pushed meanwhile."""
        self.nginx = start_nginx(self.run, None, self.endpoints.port)
        started = time.monotonic()
        self.gateway.start()
        if configuration:
            self.gateway.wait_connected()
            self.gateway.push(configuration)
        self.wait_all_served()
        return time.monotonic() - started

    def stop(self):
        self.gateway.stop()
        if self.nginx:
            self.nginx.stop()

    def wait_all_served(self):
        for cluster in reversed(range(self.clusters)):
            wait_until(f"cluster {cluster} to be served", lambda c=cluster: load.answers(self.port, f"/c{c}/"),
                       self.gateway.holder, limit=START_SECONDS)
            self.run.progress(f"cluster {cluster} of {self.clusters:,} is served")

    def restart(self, has_control_plane):
        """Seconds until every cluster is served, with what is on disk."""
        self.gateway.stop()
        started = time.monotonic()
        if has_control_plane:
            self.gateway.start_control_plane()
        self.gateway.start_holder()
        self.wait_all_served()
        return time.monotonic() - started

    def memory(self):
        """Texts, for people."""
        for name, program in (("holder and data plane", self.gateway.holder), ("control plane", self.gateway.control_plane)):
            resident, proportional = memory(program.pids())
            yield f"memory, {name}", f"{resident / MIB:.1f} MiB RSS, {proportional / MIB:.1f} MiB PSS"

    def answering(self, cluster):
        """The addresses that answer for a cluster."""
        found = set()
        with load.connect(self.port) as connection:
            for _ in range(3 * len(self.endpoints.of[cluster])):
                status, head, _ = load.exchange(connection, f"/c{cluster}/")
                if status == 200:
                    found.add(re.search(r"(?im)^x-address: *(\S+)", head)[1])
        return found


class Traffic:
    """A request to the cluster with load every few milliseconds, from here until the end."""

    def __init__(self, port):
        self.port, self.is_over, self.asked, self.failed = port, threading.Event(), 0, 0
        self.thread = threading.Thread(target=self.ask, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()

    def ask(self):
        with load.connect(self.port) as connection:
            while not self.is_over.wait(TRAFFIC_SECONDS):
                self.asked += 1
                try:
                    self.failed += load.exchange(connection, f"/c{LOADED}/")[0] != 200
                except (OSError, BenchError):
                    self.failed += 1
                    return


class Changes:
    """Changes of one endpoint, one after another: how long each takes from the moment that the control plane had it received
    and from the moment that the server began to send it, CPU of both planes, and bytes."""

    def __init__(self, place, change):
        self.place, self.change = place, change
        self.received, self.sent, self.groups = [], [], 0

    def one(self, number):
        begun = self.change(self.place.endpoints.change(number))
        lines = self.place.watch.wait_change()
        self.groups += len(lines)
        self.received += [line["us"] for line in lines]
        served = datetime.datetime.fromisoformat(lines[-1]["time"].replace("Z", "+00:00")).timestamp()
        self.sent.append(max(0, served * 1e6 - begun))
        time.sleep(APART_SECONDS)
        self.place.run.progress(f"change {number + 1}")

    def some(self, count):
        for number in range(count):
            self.one(number)

    def cost(self, count):
        return self.place.watch.cost(count, lambda: self.some(count))

    def figures(self, name, count):
        yield f"{name}: a change, from received to all workers, {len(self.received)} times (p95 at most {CHANGE_MAX_MS} ms)", \
            milliseconds(self.received), percentile(self.received, 0.95) <= CHANGE_MAX_MS * 1000
        yield f"{name}: the same from when the server began to answer", milliseconds(self.sent), True
        yield f"{name}: changes that were served, each by itself", f"{self.groups} of {count}", self.groups == count


class Told(Begun):
    """A place whose endpoints a server tells the gateway of: `start` starts both, `change` changes one cluster."""

    def __init__(self, run, name, clusters, each):
        self.place, self.ends = Place(run, f"{name}-{clusters}", clusters, each), contextlib.ExitStack()

    def begin(self):
        self.start()
        self.place.watch.settle()

    def stop(self):
        self.place.stop()
        self.stop_server()

    def stop_server(self):
        self.ends.close()

    def discovered(self, kind):
        """A configuration in which each cluster has the endpoints of the service of its name."""
        return configuration(self.place.port, [f"{{name: c{i}, discovery: {{{kind}: {{service: c{i}}}}}}}"
                                               for i in range(self.place.clusters)])


# ---- a management server


class Managed(Told):
    """A place that go-control-plane tells of."""

    def __init__(self, run, mode, clusters, each):
        super().__init__(run, mode, clusters, each)
        self.mode, self.version, self.server = mode, 1, ManagementServer(ads=mode == "ads")

    def start(self):
        self.ends.callback(self.server.stop)
        self.server.start()
        self.server.serve(self.version, list(self.resources()))
        path = self.place.work / "bootstrap.json"
        path.write_text(json.dumps(envoy.bootstrap(self.mode, self.server.port)))
        self.place.gateway.control_arguments = ["--xds-bootstrap", path]
        self.started_seconds = self.place.start()

    def resources(self):
        place = self.place
        for cluster in range(place.clusters):
            yield envoy.cluster(f"c{cluster}", self.mode)
            yield self.assignment(cluster)
        yield envoy.routes("site", [(f"/c{cluster}/", f"c{cluster}") for cluster in range(place.clusters)])
        yield envoy.listener("web", place.port, "site", self.mode)

    def assignment(self, cluster):
        return envoy.assignment(f"c{cluster}", self.place.endpoints.listed(cluster))

    def change(self, cluster):
        """Microseconds since 1970 when the server began to answer."""
        before, self.version = self.server.count(), self.version + 1
        self.server.change(self.version, [self.assignment(cluster)])
        return self.server.wait(lambda e: e["event"] == "response" and e["type"].endswith("ClusterLoadAssignment"),
                                before)["us"]

    def unanswered(self):
        return len(self.server.unanswered())


def managed_scale(run, mode):
    each = run.amounts.endpoints // run.amounts.clusters
    with Managed(run, mode, run.amounts.clusters // 10, each) as managed:
        few = Changes(managed.place, managed.change).cost(run.amounts.flips)
    with Managed(run, mode, run.amounts.clusters, each) as managed:
        yield from started(run, mode, managed)
        many = Changes(managed.place, managed.change).cost(run.amounts.flips)
        yield from grown(run, mode, few, many, GROWTH_MAX[mode])
        yield from changes_with_traffic(run, mode, managed.place, managed.change)
        yield f"{mode}: answers that the server waits for, and refusals", \
            f"{managed.unanswered()}, {len(managed.server.refusals())}", \
            managed.unanswered() + len(managed.server.refusals()) == 0
        managed.stop_server()
        time.sleep(SETTLE_SECONDS)
        yield from restarts(mode, managed.place)


def discovery_scale_delta(run):
    """Very many endpoints from a management server in delta: the start, one endpoint's change among them, a restart without
    servers."""
    return managed_scale(run, "delta-ads")


def discovery_scale_world(run):
    """Very many endpoints from a management server in the state of the world: as in delta."""
    return managed_scale(run, "ads")


def started(run, name, served):
    place = served.place
    yield f"{name}: {described(run)}, from nothing to all served", f"{served.started_seconds:.2f} s", True
    yield f"{name}: bytes on the channel until then", f"{place.watch.sent() / MIB:.2f} MiB", place.watch.sent() > 0
    for what, figure in place.memory():
        yield f"{name}: {what}", figure, True


def grown(run, name, few, many, most):
    """What a change costs among few clusters and among many."""
    yield f"{name}: CPU of a change, {run.amounts.clusters // 10:,} clusters", cost_text(few), True
    yield f"{name}: CPU of a change, {run.amounts.clusters:,} clusters", cost_text(many), True
    yield f"{name}: growth of that (at most {most})", f"{growth(few, many):.2f}", growth(few, many) <= most


def changes_with_traffic(run, name, place, change):
    """With steady traffic, which leaves the machine time; then with as much as it bears."""
    steady, full = Changes(place, change), Changes(place, change)
    with Traffic(place.port) as traffic:
        for number in range(run.amounts.endpoint_changes):
            steady.one(number)
    yield from steady.figures(name, run.amounts.endpoint_changes)
    yield f"{name}: failed requests meanwhile", f"{traffic.failed} of {traffic.asked:,}", \
        traffic.failed == 0 < traffic.asked
    with BackgroundLoad(place.port, f"/c{LOADED}/") as background:
        for number in range(run.amounts.endpoint_changes // 5):
            full.one(number)
        report = background.stop()
    yield f"{name}: a change under full load, {len(full.received)} times", milliseconds(full.received), True
    yield f"{name}: failed requests meanwhile", describe(report), failures(report) == 0
    yield from are_right(name, place)


def are_right(name, place):
    wrong = [c for c in {LOADED, 37 % place.clusters} if place.answering(c) != place.endpoints.addresses(c)]
    yield f"{name}: clusters whose endpoints are not those that were said last", f"{len(wrong)}", not wrong


def restarts(name, place):
    """With every server down: the last-known-good."""
    yield f"{name}: restarted, the server down: until all is served", f"{place.restart(True):.2f} s", True
    yield from are_right(name, place)
    yield f"{name}: restarted, the control plane down as well: until all is served", f"{place.restart(False):.2f} s", True


# ---- Kubernetes


class Sliced(Told):
    """A place that a double of an API server tells of, with one EndpointSlice for each service."""

    def __init__(self, run, clusters, each):
        super().__init__(run, "kubernetes", clusters, each)

    def start(self):
        place, self.api = self.place, self.ends.enter_context(ApiServer())
        for cluster in range(place.clusters):
            self.change(cluster)
        place.gateway.control_arguments = ["--kubernetes-server", self.api.url]
        self.started_seconds = place.start(self.discovered("kubernetes"))

    def change(self, cluster):
        """Microseconds since 1970 when the server began to tell."""
        begun = time.time() * 1e6
        endpoints = self.place.endpoints
        self.api.slice(f"c{cluster}-x", f"c{cluster}", sorted(endpoints.addresses(cluster)), [("http", endpoints.port)])
        return begun


def discovery_scale_kubernetes(run):
    """Very many endpoints from EndpointSlices: the start, one endpoint's change among them, a restart without servers."""
    name, each = "EndpointSlices", run.amounts.endpoints // run.amounts.clusters
    with Sliced(run, run.amounts.clusters // 10, each) as sliced:
        few = Changes(sliced.place, sliced.change).cost(run.amounts.flips)
    with Sliced(run, run.amounts.clusters, each) as sliced:
        yield from started(run, name, sliced)
        many = Changes(sliced.place, sliced.change).cost(run.amounts.flips)
        yield from grown(run, name, few, many, CPU_GROWTH_MAX)
        yield from changes_with_traffic(run, name, sliced.place, sliced.change)
        sliced.stop_server()
        yield from restarts(name, sliced.place)


STAGES = {"discovery-scale-delta-ads": discovery_scale_delta, "discovery-scale-ads": discovery_scale_world,
          "discovery-scale-kubernetes": discovery_scale_kubernetes}
