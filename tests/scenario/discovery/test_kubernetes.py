"""Services of Kubernetes as sources of endpoints: with an API server of Kubernetes' own libraries over etcd, and with a double
that fails in all the ways of one."""
import contextlib
import threading

import pytest

from certificates import Authority
from configuration import cluster, configure
from gateway import Gateway, wait_until
from kubernetes_server import KubernetesServer
from kubernetes_site import TOKEN, chosen, double, gateway_of
from load import Clients
from origins import Teller


@pytest.fixture(name="place", params=["double", "real"])
def make_place(request):
    with contextlib.ExitStack() as stack:
        api, gateway = stack.enter_context(chosen(request))
        yield api, gateway, [stack.enter_context(Teller(name)) for name in "abc"]


def serve(gateway, **where):
    gateway.serve(configure(gateway, [cluster("c", discovery={"kubernetes": {"service": "web", **where}})]))


def at(origin, **more):
    """An endpoint whose port is the origin's own: every origin is at 127.0.0.1, so each has a slice of its own."""
    return {"addresses": ["127.0.0.1"], "conditions": {"ready": True}, **more}


def slices(api, origins, **conditions):
    for origin in origins:
        api.slice(f"web-{origin.name}", "web", [at(origin, **({"conditions": conditions} if conditions else {}))],
                  ports=[("http", origin.port)])


def answered(gateway, count=12):
    """The names of who answers; the status where nobody does."""
    answers = [gateway.get() for _ in range(count)]
    return {answer["X-Origin"] if answer.status == 200 else answer.status for answer in answers}


def endpoints(gateway):
    return next(c for c in gateway.status()["clusters"] if c["name"] == "c").get("endpoints", [])


def used(gateway, origins):
    """Whom the control plane wants to be used."""
    names = {origin.endpoint: origin.name for origin in origins}
    return {names[e["address"]] for e in endpoints(gateway) if e.get("health") != "draining"}


def wait_answered(gateway, names):
    wait_until(f"{names} answer", lambda: answered(gateway) == set(names))


def wait_used(gateway, origins, names):
    """For when others ask, too: who answers a few requests is chance then."""
    wait_until(f"{names} are used", lambda: used(gateway, origins) == set(names))
    wait_until(f"only {names} answer", lambda: answered(gateway) <= set(names))


def test_slices_come_and_go(place):
    api, gateway, origins = place
    slices(api, origins[:1])
    serve(gateway)
    wait_answered(gateway, "a")
    assert [endpoint["source"] for endpoint in endpoints(gateway)] == ["kubernetes"]
    slices(api, origins)
    wait_answered(gateway, "abc")
    api.delete("endpointslices", "web-a")
    wait_answered(gateway, "bc")
    api.slice("web-b", "web", [], ports=[])
    wait_answered(gateway, "c")
    api.slice("web-c", "web", [], ports=[])
    wait_answered(gateway, [503])  # scaled to nothing
    slices(api, origins[:1])
    wait_answered(gateway, "a")
    assert api.counted("limit=") == 1


def test_pages_make_one_list(place):
    api, gateway, origins = place
    api.pages_of(1)
    slices(api, origins)
    serve(gateway)
    wait_answered(gateway, "abc")
    assert api.counted("continue=") == 2


@pytest.mark.parametrize("conditions, names", [
    ({"ready": True}, "abc"), ({}, "abc"), ({"ready": False}, "bc"), ({"ready": False, "serving": False, "terminating": True}, "bc"),
    ({"ready": False, "serving": True, "terminating": True}, "bc"),
])
def test_conditions(place, conditions, names):
    api, gateway, origins = place
    slices(api, origins)
    serve(gateway)
    wait_answered(gateway, "abc")
    api.slice("web-a", "web", [{"addresses": ["127.0.0.1"], "conditions": conditions}], ports=[("http", origins[0].port)])
    wait_answered(gateway, names)


def test_all_that_serve_terminate(place):
    """A roll-out in which the new ones are not ready yet: those that drain are better than nothing."""
    api, gateway, origins = place
    slices(api, origins[:2], ready=False, serving=True, terminating=True)
    serve(gateway)
    wait_answered(gateway, "ab")


@pytest.mark.parametrize("port, names", [("http", "a"), ("other", "b"), ("80", "a"), ("81", "b")])
def test_ports_by_name_and_number(place, port, names):
    api, gateway, origins = place
    api.service("web", [("http", 80), ("other", 81)])
    api.slice("web-1", "web", ["127.0.0.1"], ports=[("http", origins[0].port), ("other", origins[1].port)])
    serve(gateway, port=port)
    wait_answered(gateway, names)


def test_another_namespace(place):
    api, gateway, origins = place
    api.slice("web-1", "web", ["127.0.0.1"], ports=[("http", origins[0].port)])
    api.slice("web-1", "web", ["127.0.0.1"], ports=[("http", origins[1].port)], namespace="shop")
    serve(gateway, namespace="shop")
    wait_answered(gateway, "b")


def test_what_cannot_be_is_told(place):
    api, gateway, origins = place
    api.slice("web-1", "web", ["127.0.0.1"], ports=[("http", origins[0].port), ("other", origins[1].port)])
    serve(gateway)
    wait_until("the failure is told", lambda: "several ports" in gateway.headgate("status").stdout)
    serve(gateway, port="http")
    wait_answered(gateway, "a")
    serve(gateway, port="nothing")
    wait_until("the failure is told", lambda: "no TCP port nothing" in gateway.headgate("status").stdout)
    assert answered(gateway) == {"a"}  # the last good answer


def test_a_watch_that_is_cut_goes_on_where_it_was(place):
    api, gateway, origins = place
    slices(api, origins[:2])
    serve(gateway)
    wait_answered(gateway, "ab")
    with Clients(gateway, threads=2) as clients:
        for names in ("abc", "ab", "abc"):
            api.cut()
            if "c" in names:
                slices(api, origins[2:])
            else:
                api.delete("endpointslices", "web-c")
            wait_used(gateway, origins, names)
    assert clients.answered and not clients.failures and not clients.refused
    assert api.counted("limit=") == 1 and api.counted("watch=") == 4


def counter(gateway, name):
    return gateway.metric(f"controlplane_kubernetes_{name}_total", gateway.control_admin_port)


def test_bookmarks_keep_the_place(place):
    """Nothing of ours changes while others do; then the past is forgotten, and nothing has to be listed again."""
    api, gateway, origins = place
    slices(api, origins[:1])
    serve(gateway)
    wait_answered(gateway, "a")
    api.bookmark_soon()
    events, before = counter(gateway, "events"), counter(gateway, "bookmarks")
    api.slice("another-1", "another", [], [])
    wait_until("there is a watch", lambda: counter(gateway, "events") > events)
    api.change_elsewhere()
    wait_until("the bookmark has come", lambda: counter(gateway, "bookmarks") > before)
    api.forget_before()
    slices(api, origins[:2])
    wait_answered(gateway, "ab")
    assert api.counted("limit=") == 1


def test_410_gone_is_listed_again(place):
    """What was deleted while nobody looked is gone then; what stayed was never away."""
    api, gateway, origins = place
    slices(api, origins)
    serve(gateway)
    wait_answered(gateway, "abc")
    with Clients(gateway, threads=2) as clients:
        api.gate.clear()
        api.cut()
        api.delete("endpointslices", "web-a")
        api.forget()
        api.gate.set()
        wait_used(gateway, origins, "bc")
    assert not clients.failures and not clients.refused
    assert api.counted("limit=") == 2


def test_a_slow_server_takes_nothing_away(place):
    api, gateway, origins = place
    slices(api, origins)
    serve(gateway)
    wait_answered(gateway, "abc")
    api.pages_of(1)
    api.gate.clear()
    asked = api.counted("")
    api.forget()
    api.cut()
    wait_until("it is asked again", lambda: api.counted("") > asked)
    assert answered(gateway) == set("abc")
    threading.Timer(0.1, api.gate.set).start()
    wait_until("it has been listed again", lambda: api.counted("limit=") >= 4)
    wait_answered(gateway, "abc")


def test_the_token_is_rotated(place):
    api, gateway, origins = place
    slices(api, origins[:1])
    serve(gateway)
    wait_answered(gateway, "a")
    api.only_token("another")
    api.cut()
    refused = "the API server answers 401: Unauthorized"
    wait_until("it is refused", lambda: refused in gateway.headgate("status").stdout)
    assert answered(gateway) == {"a"}
    (gateway.folder / "token").write_text("another\n")
    slices(api, origins[:2])
    wait_answered(gateway, "ab")
    wait_until("all is well again", lambda: refused not in gateway.headgate("status").stdout)


def test_a_token_that_may_list_and_not_watch():
    """What each list has is used, and the operator is told what is wrong."""
    with double() as (api, gateway), Teller("a") as a, Teller("b") as b:
        api.may_watch = False
        slices(api, [a])
        serve(gateway)
        wait_answered(gateway, "a")
        refused = "the API server answers 403: endpointslices is forbidden"
        wait_until("it is told", lambda: refused in gateway.headgate("status").stdout)
        slices(api, [a, b])
        wait_answered(gateway, "ab")
        assert refused in gateway.headgate("status").stdout
        api.may_watch = True
        wait_until("all is well", lambda: refused not in gateway.headgate("status").stdout)


def test_it_starts_with_the_server_down(place):
    """The endpoints of before are served, and followed when the server is back."""
    api, gateway, origins = place
    slices(api, origins[:2])
    serve(gateway)
    wait_answered(gateway, "ab")
    gateway.kill_control_plane()
    api.gate.clear()
    api.cut()
    gateway.start_control_plane()
    assert answered(gateway) == set("ab")
    api.delete("endpointslices", "web-a")
    api.gate.set()
    wait_answered(gateway, "b")


def test_over_tls(tmp_path):
    authority = Authority(tmp_path / "authority")
    pair = authority.pair(tmp_path, "api", ["127.0.0.1"])
    with double(pair, authority.pem) as (api, gateway), Teller("a") as origin:
        slices(api, [origin])
        serve(gateway)
        wait_answered(gateway, "a")
    with double(pair) as (api, gateway):  # nobody vouches for it
        serve(gateway)
        wait_until("it is not believed", lambda: "certificate" in gateway.headgate("status").stdout)
        assert api.counted("") == 0


def test_etcd_has_forgotten():
    """An API server that asks etcd itself for each watch, and etcd has been compacted."""
    with contextlib.ExitStack() as stack:
        api = KubernetesServer(["--no-watch-cache"])
        stack.callback(api.finish)
        api.reset(TOKEN)
        gateway = stack.enter_context(gateway_of(api, api.ca))
        origins = [stack.enter_context(Teller(name)) for name in "ab"]
        slices(api, origins)
        serve(gateway)
        wait_answered(gateway, "ab")
        api.gate.clear()
        api.cut()
        api.delete("endpointslices", "web-a")
        api.change_elsewhere()
        api.compact()
        api.gate.set()
        wait_answered(gateway, "b")
        assert api.counted("limit=") == 2


def test_no_server_is_known():
    gateway = Gateway()
    try:
        gateway.start()
        serve(gateway)
        wait_until("it is told", lambda: "--kubernetes-server" in gateway.headgate("status").stdout)
    finally:
        gateway.stop()
