"""Values of runtime layers: what goes by them changes with them, and no request fails."""
import pytest

from test_resources import Load, Origin
from xds_site import body, cluster, endpoints, listener, wait_body
from planes import free_port, wait_until


@pytest.fixture
def origins():
    started = [Origin("one"), Origin("two")]
    yield started
    for origin in started:
        origin.stop()


def rtds_layer(name):
    return {"name": name, "rtds_layer": {"name": name, "rtds_config": {"ads": {}, "resource_api_version": "V3"}}}


def site(port, origins):
    """A table whose shares and weights values decide."""
    weighted = {"runtime_key_prefix": "share", "clusters": [{"name": o.name, "weight": {"value": 1}} for o in origins]}
    hidden = {"default_value": {"numerator": 0}, "runtime_key": "hidden"}
    return {"listener": {"web": listener("web", port, "site")},
            "routes": {"site": {"name": "site", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/", "runtime_fraction": hidden},
                 "direct_response": {"status": 200, "body": {"inline_string": "hidden"}}},
                {"match": {"prefix": "/"}, "route": {"weighted_clusters": weighted}}]}]}},
            "cluster": {o.name: cluster(o.name) for o in origins},
            "endpoints": {o.name: endpoints(o.name, o.port) for o in origins}}


def runtime(**layers):
    return {name: {"name": name, "layer": values} for name, values in layers.items()}


@pytest.mark.parametrize("api_type", ["GRPC", "DELTA_GRPC"])
def test_layers_of_the_file_and_of_the_server(gateway, servers, origins, api_type):
    port = free_port()
    static = {"name": "file", "static_layer": {"share": {"one": 0}, "hidden": 0}}
    last = {"name": "last", "static_layer": {"hidden": "0"}}
    server = servers({**site(port, origins), "runtime": runtime(base={"overload": True})})
    gateway.start_all(gateway.envoy_bootstrap(server, api_type, layers=[static, rtds_layer("base"), last]))
    wait_body(port, "two")          # the file's
    assert {body(port) for _ in range(8)} == {"two"}
    traffic = Load(port)
    try:
        server.set(runtime=runtime(base={"share": {"one": "3", "two": 0}, "hidden": 100}))
        wait_body(port, "one")
        assert {body(port) for _ in range(8)} == {"one"}    # and nothing hidden: the layer behind it counts
        server.set(runtime=runtime(base={"share": {"one": 3, "two": 2}}))
        wait_until("both answer", lambda: {body(port) for _ in range(16)} == {"one", "two"})
        server.set(runtime=runtime(base={"share": [1, 2]}))
        assert "has a list or nothing as the value \"share\"" in server.wait_nack("runtime").error_detail.message
        assert {body(port) for _ in range(64)} == {"one", "two"}
    finally:
        traffic.stop()
    assert traffic.answers and traffic.failures == []
