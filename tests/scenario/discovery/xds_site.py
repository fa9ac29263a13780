"""A gateway that asks management servers, and resources for them to have."""

import grpc

from planes import PATIENCE, Site, get, wait_until


class XdsSite(Site):
    """Processes with --xds-bootstrap."""

    def bootstrap(self, *servers, credentials=None, **more):
        """gRPC's form. `servers` are ManagementServers or addresses."""
        credentials = credentials or [{"type": "insecure"}]
        return self.write("bootstrap.json", {"node": {"id": "gw", "cluster": "edge"}, "xds_servers": [
            {"server_uri": s if isinstance(s, str) else f"127.0.0.1:{s.port}", "channel_creds": credentials} for s in servers],
            **more})

    def envoy_bootstrap(self, server, api_type="GRPC", tls=None, clusters=(), is_aggregated=True, layers=(), **more):
        """Envoy's form; `tls` is an UpstreamTlsContext; `clusters` are static ones besides that of the server; `layers` are of
        runtime values; `more` stands in the source of listeners and clusters."""
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
        socket = {"transport_socket": {"name": "tls", "typed_config": {"@type": kind, **tls}}} if tls else {}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": server.port}}
        api = {"api_type": api_type, "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}
        source = {"resource_api_version": "V3", **({"ads": {}} if is_aggregated else {"api_config_source": api}), **more}
        return self.write("bootstrap.json", {
            "node": {"id": "gw", "cluster": "edge"}, "layered_runtime": {"layers": list(layers)},
            "dynamic_resources": {
                **({"ads_config": api} if is_aggregated else {}), "lds_config": source, "cds_config": source},
            "static_resources": {"clusters": [*clusters, {
                "name": "xds", "connect_timeout": "5s", **socket,
                "load_assignment": {"cluster_name": "xds", "endpoints": [
                    {"lb_endpoints": [{"endpoint": {"address": address}}]}]}}]}})

    def start_all(self, bootstrap):
        self.start_control_plane("--xds-bootstrap", bootstrap)
        self.start_data_plane("gw")

    # ---- what `headgate status` says of servers

    def servers(self):
        return self.status().get("management_servers", [])

    def server(self, number=0):
        return self.servers()[number]

    def wait_server(self, number=0, **fields):
        def look():
            found = self.server(number)
            return found if all(found.get(key) == value for key, value in fields.items()) else None
        return wait_until(f"server {number} has {fields}", look)

    def problems(self):
        return "\n".join(p["message"] for p in self.status().get("problems", []))

    def client_status(self, messages):
        """The node, and {(type, name): what client status says of the resource}."""
        status = messages.load("envoy/service/status/v3/csds", "envoy.service.status.v3.ClientStatusResponse")
        with grpc.insecure_channel(f"unix:{self.runtime}/control.sock") as channel:
            fetch = channel.unary_unary("/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus")
            config = status.FromString(fetch(b"", timeout=PATIENCE)).config[0]
        return config.node, {(c.type_url.rsplit(".", 1)[1], c.name): c for c in config.generic_xds_configs}


# ---- resources in Envoy's JSON

def listener(name, port, routes):
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    return {"name": name, "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": {
                "@type": manager, "stat_prefix": "s", "codec_type": "AUTO",
                "rds": {"route_config_name": routes, "config_source": {"ads": {}, "resource_api_version": "V3"}},
                "http_filters": [{"name": "router", "typed_config": {"@type": router}}]}}]}]}


def routes(name, cluster):
    return {"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}]}


def answer(name, text):
    """A table that answers by itself."""
    return {"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}]}]}


def cluster(name):
    return {"name": name, "type": "EDS", "connect_timeout": "5s",
            "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}}}


def endpoints(name, *ports):
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in ports]}]}


def snapshot(port, text):
    """A listener on that port that answers with the text."""
    return {"listener": {"web": listener("web", port, "site")}, "routes": {"site": answer("site", text)}}


def body(port):
    """What is answered there now; None when nobody listens."""
    try:
        status, text = get(f"127.0.0.1:{port}")
    except OSError:
        return None
    return text if " 200 " in status else status


def wait_body(port, text):
    wait_until(f"port {port} answers {text}", lambda: body(port) == text)
