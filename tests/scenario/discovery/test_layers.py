"""What is pushed and what a management server says stand beside each other."""
import json
import socket
import ssl

import pytest

from certificates import Authority
from planes import free_port, wait_until
from xds_site import answer, body, listener, snapshot, wait_body

OURS = {"route-tables": [{"name": "site", "hosts": [{"domains": ["*"], "rules": [{"respond": {"status": 200, "body": "ours"}}]}]}]}


@pytest.fixture
def port():
    return free_port()


def layer(gateway, name):
    return next((found for found in gateway.status().get("layers", []) if found["name"] == name), None)


def test_what_is_pushed_hides_what_a_server_says(gateway, servers, port):
    server = servers(snapshot(port, "theirs"))
    gateway.start_all(gateway.bootstrap(server))
    wait_body(port, "theirs")
    pushed = gateway.push(OURS)
    assert pushed.code == 0, pushed
    wait_body(port, "ours")
    found = layer(gateway, "xds")
    assert found["hidden"] == 1 and found["items"][0] == {"kind": "route-table", "name": "site", "hidden_by": "pushed"}
    assert {"kind": "listener", "name": "web"} in found["items"]
    text = gateway.ok("status").out
    assert "where resources come from" in text and "route-table/site by pushed" in text, text
    server.set(**snapshot(port, "theirs again"))
    wait_until("the server's new word is held", lambda: gateway.status()["version"] > pushed.json["version"])
    assert body(port) == "ours"
    gateway.ok("delete", "route-table/site")
    wait_body(port, "theirs again")
    assert layer(gateway, "xds")["hidden"] == 0


def test_people_do_not_change_what_a_server_says(gateway, servers, port):
    server = servers(snapshot(port, "theirs"))
    gateway.start_all(gateway.bootstrap(server))
    wait_body(port, "theirs")
    refused = gateway.headgate("delete", "listener/web")
    assert refused.code != 0 and "it comes from xds, and is changed there" in refused.err + refused.out, refused
    history = gateway.ok("log", "-o", "json").json["versions"]
    assert history[0]["author"] == "xds" and "added" in history[0]["message"]
    assert "listeners" in gateway.ok("show").out and "listeners" not in gateway.ok("show", "--pushed").out
    changes = gateway.headgate("diff", gateway.write("ours.json", OURS), "-o", "json").json["changes"]
    assert [(c["what"], c["name"]) for c in changes] == [("added", "site")]     # nothing of the server's goes


def test_a_restart_with_the_server_down_serves_what_there_was(gateway, servers, port):
    server = servers(snapshot(port, "theirs"))
    bootstrap = gateway.bootstrap(server)
    gateway.start_all(bootstrap)
    wait_body(port, "theirs")
    assert gateway.push(OURS).code == 0
    wait_body(port, "ours")
    version = gateway.status()["version"]
    server.stop()
    gateway.control.stop()
    gateway.start_control_plane("--xds-bootstrap", bootstrap)
    gateway.wait_data_plane("gw", version=version)
    assert layer(gateway, "xds")["hidden"] == 1
    gateway.ok("delete", "route-table/site")
    wait_body(port, "theirs")       # hidden, and known all the same
    gateway.ok("verify")
    server.start()
    server.set(**snapshot(port, "back"))
    wait_body(port, "back")


# ---- secrets that a server gives

def secure(name, port, secret):
    tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    found = listener(name, port, "site")
    found["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": {"@type": tls, "common_tls_context": {
        "tls_certificate_sds_secret_configs": [{"name": secret, "sds_config": {"ads": {}, "resource_api_version": "V3"}}]}}}
    return found


def secret(name, pair):
    return {"name": name, "tls_certificate": {"certificate_chain": {"inline_string": pair[0].read_text()},
                                              "private_key": {"inline_string": pair[1].read_text()}}}


def connect(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="site.example")


def shown(port):
    """The certificate that is shown now, as PEM; None when nobody listens."""
    try:
        with connect(port) as connection:
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))
    except OSError:
        return None


def ask(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n")
    return connection.recv(4096).split(b"\r\n")[0]


def leaf(pair):
    end = "-----END CERTIFICATE-----\n"      # the authority follows
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(pair[0].read_text().split(end)[0] + end))


@pytest.fixture
def pairs(tmp_path):
    authority = Authority(tmp_path / "authority")
    return [authority.pair(tmp_path, name, ["site.example"]) for name in ("first", "second")]


def test_a_given_certificate_is_served_rotated_and_never_shown(gateway, servers, port, pairs):
    server = servers({"listener": {"web": secure("web", port, "site-tls")}, "routes": {"site": answer("site", "x")},
                      "secret": {"site-tls": secret("site-tls", pairs[0])}})
    bootstrap = gateway.bootstrap(server)
    gateway.start_all(bootstrap)
    wait_until("the first certificate is shown", lambda: shown(port) == leaf(pairs[0]))
    with connect(port) as held:
        assert b" 200 " in ask(held)
        version = gateway.status()["version"]
        server.set(secret={"site-tls": secret("site-tls", pairs[1])})
        wait_until("the second certificate is shown", lambda: shown(port) == leaf(pairs[1]))
        assert b" 200 " in ask(held)        # drained by nothing
        assert gateway.status()["version"] == version
    key = "".join(pairs[1][1].read_text().splitlines()[1:3])
    said = gateway.ok("show").out + gateway.ok("status", "-o", "json").out + gateway.ok("show", "secret/sds:site-tls").out
    assert key[:40] not in said and "PRIVATE" not in said
    assert "sds:site-tls" in json.dumps(gateway.status()["certificates"])
    server.stop()
    gateway.control.stop()
    gateway.start_control_plane("--xds-bootstrap", bootstrap)
    gateway.wait_data_plane("gw", version=version)
    assert shown(port) == leaf(pairs[1])
