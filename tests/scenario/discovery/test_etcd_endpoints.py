"""Services that register themselves in etcd, with leases."""
import contextlib
import re
import subprocess

import pytest

from configuration import cluster, configure
from etcd_cluster import Etcd
from gateway import wait_until
from load import Clients
from origins import Teller
from test_etcd import node, problems


@pytest.fixture(name="place")
def make_place(tmp_path):
    with contextlib.ExitStack() as stack:
        etcd = stack.enter_context(Etcd(tmp_path / "etcd"))
        gateway = stack.enter_context(node(etcd)).start()
        yield etcd, gateway, [stack.enter_context(Teller(name)) for name in "abc"]


def register(etcd, origin, *words, service="web", **more):
    etcd.put(f"/fleet/endpoints/{service}/{origin.name}", {"address": origin.endpoint, **more}, *words)


def serve(gateway, service="web"):
    gateway.serve(configure(gateway, [cluster("c", discovery={"etcd": service})]))


def answered(gateway):
    answers = [gateway.get() for _ in range(8)]
    return {answer["X-Origin"] if answer.status == 200 else answer.status for answer in answers}


def wait_answered(gateway, names):
    wait_until(f"{names} answer", lambda: answered(gateway) == set(names))


def status(gateway):
    return next(c for c in gateway.status()["clusters"] if c["name"] == "c")


def discovery(gateway):
    return status(gateway)["discovery"]


def test_registrations_come_and_go_with_their_leases(place):
    etcd, gateway, origins = place
    register(etcd, origins[0])
    serve(gateway)
    wait_answered(gateway, "a")
    assert discovery(gateway)["kind"] == "etcd"
    assert [endpoint["source"] for endpoint in status(gateway)["endpoints"]] == ["etcd"]
    lease = etcd.run("lease", "grant", "6").stdout.split()[1]
    with subprocess.Popen(["etcdctl", "--endpoints", etcd.members[0].url, "lease", "keep-alive", lease], stdout=subprocess.PIPE,
                          env={**gateway.environment, "ETCDCTL_API": "3"}) as keeper:
        assert b"keepalived" in keeper.stdout.readline()
        register(etcd, origins[1], "--lease", lease)
        register(etcd, origins[2])
        wait_answered(gateway, "abc")
        keeper.kill()       # its process is gone: so is its lease, after some seconds
    with Clients(gateway, threads=2) as clients:
        wait_answered(gateway, "ac")
        etcd.delete("/fleet/endpoints/web/a")
        wait_answered(gateway, "c")
    assert not clients.failures, clients.failures[:3]


def test_very_many_registrations(place):
    """The short form of the soak's discovery-scale-etcd: all are there, one that changes is, and a gateway that comes later
    has them from a list."""
    etcd, gateway, origins = place
    services = [f"s{i}" for i in range(40)]
    gateway.serve(configure(gateway, [cluster("c", discovery={"etcd": "web"}),
                                      *(cluster(name, discovery={"etcd": name}) for name in services)]))
    register(etcd, origins[0])
    etcd.change({f"/fleet/endpoints/{name}/{i}": {"address": f"127.1.{n}.{i}:80"}
                 for n, name in enumerate(services) for i in range(1, 51)})

    def are_known():
        found = {c["name"]: c["endpoint_count"] for c in gateway.status()["clusters"]}
        return found == {"c": 1, **{name: 50 for name in services}}
    wait_until("all are known", are_known)
    wait_answered(gateway, "a")
    with Clients(gateway, threads=2) as clients:
        register(etcd, origins[1])
        wait_answered(gateway, "ab")
        etcd.change({"/fleet/endpoints/web/c": {"address": origins[2].endpoint}}, ["/fleet/endpoints/web/a"])
        wait_answered(gateway, "bc")
    assert not clients.failures and clients.answered, clients.failures[:3]
    gateway.kill_control_plane()
    etcd.change({"/fleet/endpoints/s0/51": {"address": "127.1.0.51:80"}}, ["/fleet/endpoints/web/b", "/fleet/endpoints/s0/1"])
    gateway.start_control_plane()
    wait_answered(gateway, "c")
    wait_until("all are known", are_known)


def test_what_cannot_be_read_is_told_and_the_rest_is_used(place):
    etcd, gateway, origins = place
    for origin in origins[:2]:
        register(etcd, origin)
    serve(gateway)
    wait_answered(gateway, "ab")
    etcd.put("/fleet/endpoints/web/a", '{"adress": "x"}')       # as it was before
    etcd.put("/fleet/endpoints/web/z", "nonsense")
    register(etcd, origins[2])
    wait_answered(gateway, "abc")
    wait_until("it is told", lambda: "endpoints/web/" in discovery(gateway).get("failure", ""))
    register(etcd, origins[0])
    etcd.delete("/fleet/endpoints/web/z")
    wait_until("all is well", lambda: not discovery(gateway).get("failure"))


def test_nothing_registered_takes_nothing_away(place):
    etcd, gateway, origins = place
    for origin in origins[:2]:
        register(etcd, origin)
    serve(gateway)
    wait_answered(gateway, "ab")
    with Clients(gateway, threads=2) as clients:
        etcd.wipe()
        wait_until("it is told", lambda: "no registration" in discovery(gateway).get("failure", ""))
        wait_answered(gateway, "ab")
        gateway.kill_control_plane()
        etcd.stop()
        gateway.start_control_plane()       # with etcd down
        wait_answered(gateway, "ab")
        etcd.start()
        register(etcd, origins[2])
        wait_answered(gateway, "c")         # what is there now counts
    assert not clients.failures and clients.answered, clients.failures[:3]
    etcd.compact()
    register(etcd, origins[0])
    wait_answered(gateway, "ac")
    assert not [p for p in problems(gateway) if "etcd" in p["message"]]


def followed(gateway, name):
    """A metric of the prefixes that are followed."""
    text = gateway.metrics_text(gateway.control_admin_port)
    return {of: int(n) for of, n in re.findall(rf'(?m)^headgate_controlplane_etcd_{name}{{of="(\w+)"}} (\d+)$', text)}


def of_both(number):
    return {"configuration": number, "endpoints": number}


def test_progress_keeps_the_place(tmp_path):
    """Nothing of ours changes while others do; then the past is compacted, and nothing has to be listed again."""
    with contextlib.ExitStack() as stack:
        etcd = stack.enter_context(Etcd(tmp_path / "etcd", arguments=["--experimental-watch-progress-notify-interval", "200ms"]))
        gateway = stack.enter_context(node(etcd)).start()
        origins = [stack.enter_context(Teller(name)) for name in "ab"]
        register(etcd, origins[0])
        serve(gateway)
        wait_answered(gateway, "a")
        wait_until("both are watched", lambda: followed(gateway, "watches_total") == of_both(1))
        for number in range(3):
            etcd.put("/elsewhere", str(number))
        wait_until("the place has moved", lambda: followed(gateway, "revision") == of_both(etcd.revision()))
        etcd.compact()
        with Clients(gateway, threads=2) as clients:
            etcd.stop()
            etcd.start()
            wait_until("both are watched again", lambda: min(followed(gateway, "watches_total").values()) > 1)
            register(etcd, origins[1])
            wait_answered(gateway, "ab")
        assert clients.answered and not clients.failures and not clients.refused
        assert followed(gateway, "lists_total") == of_both(1)
