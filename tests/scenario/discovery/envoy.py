"""Resources as management servers send them, in the JSON of Envoy's messages, and bootstrap files."""

TYPE = "type.googleapis.com/"
MODES = {  # what `api_type` says, and whether one stream has all types
    "ads": ("GRPC", True),
    "xds": ("GRPC", False),
    "delta": ("DELTA_GRPC", False),
    "delta-ads": ("DELTA_GRPC", True),
    "rest": ("REST", False),
}
REFRESH = "0.1s"  # between polls


def source(mode):
    """Where a resource says that others come from."""
    api_type, is_aggregated = MODES[mode]
    if is_aggregated:
        return {"resource_api_version": "V3", "ads": {}}
    return {"resource_api_version": "V3", "api_config_source": api_source(api_type)}


def api_source(api_type):
    if api_type == "REST":
        return {"api_type": api_type, "transport_api_version": "V3", "cluster_names": ["xds_cluster"],
                "refresh_delay": REFRESH, "request_timeout": "10s"}
    return {"api_type": api_type, "transport_api_version": "V3", "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds_cluster"}}]}


def address(endpoint):
    host, port = endpoint.rsplit(":", 1)
    return {"socket_address": {"address": host, "port_value": int(port)}}


def bootstrap(mode, port, tls=None, node="test"):
    """As Envoy's YAML has it; JSON is YAML."""
    api_type, is_aggregated = MODES[mode]
    server = {"name": "xds_cluster", "connect_timeout": "1s",
              "load_assignment": assignment("xds_cluster", [f"127.0.0.1:{port}"])}
    del server["load_assignment"]["@type"]
    if api_type != "REST":
        server["http2_protocol_options"] = {}
    if tls:
        server["transport_socket"] = socket_of("Upstream", tls)
    dynamic = {"cds_config": source(mode), "lds_config": source(mode)}
    if is_aggregated:
        dynamic["ads_config"] = api_source(api_type)
    layer = {"name": "values", "rtds_layer": {"name": "values", "rtds_config": source(mode)}}
    return {"node": {"id": node, "cluster": "tests"}, "dynamic_resources": dynamic, "layered_runtime": {"layers": [layer]},
            "static_resources": {"clusters": [server]}}


def socket_of(side, context):
    """A transport socket of TLS, `side` being Upstream or Downstream."""
    return {"name": "envoy.transport_sockets.tls",
            "typed_config": {"@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.{side}TlsContext", **context}}


def cluster(name, mode, **more):
    return {"@type": f"{TYPE}envoy.config.cluster.v3.Cluster", "name": name, "type": "EDS", "connect_timeout": "5s",
            "eds_cluster_config": {"eds_config": source(mode)}, **more}


def assignment(name, endpoints):
    return {"@type": f"{TYPE}envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(e)}} for e in endpoints]}]}


def routes(name, rules):
    """`rules`: a list of (prefix, cluster)."""
    return {"@type": f"{TYPE}envoy.config.route.v3.RouteConfiguration", "name": name,
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": prefix}, "route": {"cluster": to}} for prefix, to in rules]}]}


ROUTER = {"@type": f"{TYPE}envoy.extensions.filters.http.router.v3.Router"}


def discovered(name, mode):
    """In a listener: a filter that comes by itself, which `extension` is."""
    return {"name": name, "config_discovery": {"config_source": source(mode), "type_urls": [ROUTER["@type"]]}}


def extension(name):
    return {"@type": f"{TYPE}envoy.config.core.v3.TypedExtensionConfig", "name": name, "typed_config": ROUTER}


def runtime(name, values):
    return {"@type": f"{TYPE}envoy.service.runtime.v3.Runtime", "name": name, "layer": values}


def listener(name, port, table, mode, secret=None, router=None):
    """With the filter `router`, where it is not to stand in it."""
    manager = {"@type": f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "stat_prefix": "http", "rds": {"config_source": source(mode), "route_config_name": table},
               "http_filters": [router or {"name": "router", "typed_config": ROUTER}]}
    chain = {"filters": [{"name": "manager", "typed_config": manager}]}
    if secret:
        chain["transport_socket"] = socket_of("Downstream", {"common_tls_context": {
            "tls_certificate_sds_secret_configs": [{"name": secret, "sds_config": source(mode)}]}})
    return {"@type": f"{TYPE}envoy.config.listener.v3.Listener", "name": name, "address": address(f"127.0.0.1:{port}"),
            "filter_chains": [chain]}


def secret(name, certificate, key):
    return {"@type": f"{TYPE}envoy.extensions.transport_sockets.tls.v3.Secret", "name": name, "tls_certificate": {
        "certificate_chain": {"inline_string": certificate.read_text()}, "private_key": {"inline_string": key.read_text()}}}
