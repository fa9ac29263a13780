"""Very many endpoints that have registered themselves in a real etcd: discovery_stages.py has what is measured, and how."""
import time

from changes import CPU_GROWTH_MAX, SETTLE_SECONDS
from discovery_stages import Changes, Told, changes_with_traffic, described, grown, restarts
from etcd_cluster import Etcd
from health_stages import start_nginx


class Registered(Told):
    """A place whose endpoints have registered themselves in a real etcd."""

    def __init__(self, run, clusters, each):
        super().__init__(run, "etcd", clusters, each)
        self.there = [set() for _ in range(clusters)]

    def start(self):
        """All register themselves while the gateway follows."""
        place, self.etcd = self.place, Etcd(self.place.work / "etcd")
        self.ends.callback(self.etcd.stop)
        place.gateway.control_arguments = ["--etcd", self.etcd.address()]
        place.nginx = start_nginx(place.run, None, place.endpoints.port)
        place.gateway.start()
        place.gateway.wait_connected()
        place.gateway.push(self.discovered("etcd"))
        begun = time.monotonic()
        for cluster in range(place.clusters):
            self.change(cluster)
        self.written_seconds = time.monotonic() - begun
        place.wait_all_served()
        self.started_seconds = time.monotonic() - begun

    def change(self, cluster):
        """Microseconds since 1970 when etcd was told."""
        begun = time.time() * 1e6
        wanted, there, below = set(self.place.endpoints.listed(cluster)), self.there[cluster], f"/fleet/endpoints/c{cluster}/"
        self.etcd.change({below + address: {"address": address} for address in wanted - there},
                         [below + address for address in there - wanted])
        self.there[cluster] = wanted
        return begun

    def listed(self):
        """Seconds from the push until all is served, by a gateway that finds all of it in etcd."""
        place = self.place
        place.gateway.stop()
        place.gateway.start()
        place.gateway.wait_connected()
        begun = time.monotonic()
        place.gateway.push(self.discovered("etcd"))
        place.wait_all_served()
        return time.monotonic() - begun


def discovery_scale_etcd(run):
    """Very many endpoints from etcd: their registration, one endpoint's change among them, a restart without etcd."""
    name, each = "etcd", run.amounts.endpoints // run.amounts.clusters
    with Registered(run, run.amounts.clusters // 10, each) as few_place:
        few = Changes(few_place.place, few_place.change).cost(run.amounts.flips)
    with Registered(run, run.amounts.clusters, each) as registered:
        place = registered.place
        yield f"{name}: {described(run)}, written in", f"{registered.written_seconds:.2f} s", True
        yield f"{name}: from the first of them until all are served", f"{registered.started_seconds:.2f} s", True
        yield from memories(name, place)
        many = Changes(place, registered.change).cost(run.amounts.flips)
        yield from grown(run, name, few, many, CPU_GROWTH_MAX)
        yield from changes_with_traffic(run, name, place, registered.change)
        yield f"{name}: another gateway, from the push until all are served", f"{registered.listed():.2f} s", True
        yield from memories(f"{name}, listed at once", place)
        time.sleep(SETTLE_SECONDS)
        registered.stop_server()
        yield from restarts(name, place)


def memories(name, place):
    for what, figure in place.memory():
        yield f"{name}: {what}", figure, True


STAGES = {"discovery-scale-etcd": discovery_scale_etcd}
