"""Secrets of Kubernetes as certificates and authorities: with an API server of Kubernetes' own libraries, and with a double."""
import base64
import contextlib
import hashlib
import http.client
import json
import ssl

import pytest

from certificates import Authority
from configuration import configure, listener
from gateway import wait_until
from kubernetes_site import TOKEN, chosen, double, gateway_of

PAIR = "kubernetes:default/web-tls"


@pytest.fixture(name="place", params=["double", "real"])
def make_place(request):
    with chosen(request) as both:
        yield both


@pytest.fixture(name="authority")
def make_authority(tmp_path):
    return Authority(tmp_path / "authority")


def pair(authority, folder, name):
    """What a Secret of that pair has."""
    certificate, key = authority.pair(folder, name, ["127.0.0.1"])
    return {"tls.crt": certificate.read_bytes(), "tls.key": key.read_bytes(), "ca.crt": authority.pem.read_bytes()}


def site(gateway, certificate=PAIR, **tls):
    secure = listener(gateway, tls={"certificates": [{"certificate": certificate, "key": certificate}], **tls})
    return configure(gateway, [], [{"respond": {"status": 204}}], listeners=[secure])


def connect(gateway, certificate=None):
    """A connection, and what the gateway shows on it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(*certificate)
    connection = http.client.HTTPSConnection("127.0.0.1", gateway.port, context=context, timeout=30)
    connection.connect()
    return connection, hashlib.sha256(connection.sock.getpeercert(binary_form=True)).digest()


def shown(gateway):
    connection, fingerprint = connect(gateway)
    connection.close()
    return fingerprint


def status_of(connection):
    connection.request("GET", "/")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def print_of(files):
    pem = files["tls.crt"].decode().split("-----END")[0] + "-----END CERTIFICATE-----\n"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()


def text_of(gateway):
    return gateway.headgate("status").stdout


def test_a_secret_is_served_and_rotated(place, authority, tmp_path):
    api, gateway = place
    first, second = pair(authority, tmp_path, "first"), pair(authority, tmp_path, "second")
    api.secret("web-tls", first)
    gateway.serve(site(gateway))
    connection, fingerprint = connect(gateway)
    assert fingerprint == print_of(first) and status_of(connection) == 204
    version = gateway.status()["version"]
    api.secret("web-tls", second)
    wait_until("the other is served", lambda: shown(gateway) == print_of(second))
    assert status_of(connection) == 204  # nothing was drained
    connection.close()
    assert gateway.status()["version"] == version
    assert [c["name"] for c in gateway.status()["certificates"]] == [PAIR]
    said = gateway.logs() + "".join(gateway.headgate(*words).stdout for words in (
        ["status", "--output", "json"], ["show", "--output", "json"], ["diff", "1"], ["log"]))
    assert PAIR in said
    for files in (first, second):
        lines = files["tls.key"].decode().splitlines()[1:-1]
        assert not any(line in said for line in lines + [base64.b64encode(files["tls.key"]).decode()[:40]])


def test_what_is_bad_changes_nothing(place, authority, tmp_path):
    api, gateway = place
    good, other = pair(authority, tmp_path, "good"), pair(authority, tmp_path, "other")
    api.secret("web-tls", good)
    gateway.serve(site(gateway))
    api.secret("web-tls", {**good, "tls.key": other["tls.key"]})
    wait_until("it is told", lambda: "does not belong" in text_of(gateway) or "key:1" in text_of(gateway))
    api.secret("web-tls", {"password": b"secret"})
    wait_until("it is told", lambda: f"{PAIR}: the Secret has no tls.crt" in text_of(gateway))
    api.delete("secrets", "web-tls")
    wait_until("it is told", lambda: f"{PAIR}: the Secret has been deleted" in text_of(gateway))
    assert shown(gateway) == print_of(good)
    api.secret("web-tls", other)
    wait_until("the other is served", lambda: shown(gateway) == print_of(other))
    assert PAIR + ":" not in text_of(gateway)


def test_it_has_to_be_there_first(place, authority, tmp_path):
    api, gateway = place
    refused = gateway.push(site(gateway))
    assert not refused.is_committed and f"{PAIR}: there is no such Secret" in repr(refused)
    api.gate.clear()
    answer = gateway.push(site(gateway))
    assert not answer.is_committed and f"{PAIR}: the API server has not answered in time" in repr(answer)
    api.gate.set()
    api.secret("web-tls", pair(authority, tmp_path, "late"))
    gateway.serve(site(gateway))
    assert api.counted("fieldSelector=metadata.name%3Dweb-tls") == api.counted("/secrets")


def test_a_watched_file_is_served_once_it_comes(authority, tmp_path):
    """Without anybody pushing it again."""
    with double() as (api, gateway):
        file = gateway.folder / "watched.json"
        file.write_text(json.dumps(site(gateway)))
        gateway.kill_control_plane()
        gateway.control_arguments += ["--config", file]
        gateway.start_control_plane()
        wait_until("it is told", lambda: f"{PAIR}: there is no such Secret" in text_of(gateway))
        late = pair(authority, tmp_path, "late")
        api.secret("web-tls", late)
        wait_until("it is served", lambda: gateway.status().get("version") == 1)
        assert shown(gateway) == print_of(late)


def test_others_are_forbidden(kubernetes):
    """deploy/kubernetes allows the one Secret alone."""
    kubernetes.reset(TOKEN)
    with gateway_of(kubernetes, kubernetes.ca) as gateway:
        kubernetes.secret("other-tls", {"tls.crt": b"", "tls.key": b""})
        refused = gateway.push(site(gateway, "kubernetes:default/other-tls"))
        assert not refused.is_committed and 'secrets "other-tls" is forbidden' in repr(refused)


def test_authorities_of_clients(place, authority, tmp_path):
    api, gateway = place
    files = pair(authority, tmp_path, "server")
    api.secret("web-tls", files)
    gateway.serve(site(gateway, **{"client-certificates": {"mode": "required", "ca": PAIR + "/ca.crt"}}))
    ours = authority.pair(tmp_path, "client", ["client.example"])
    connection, _ = connect(gateway, ours)
    assert status_of(connection) == 204
    connection.close()
    stranger = Authority(tmp_path / "stranger")
    api.secret("web-tls", {**files, "ca.crt": stranger.pem.read_bytes()})
    theirs = stranger.pair(tmp_path, "theirs", ["client.example"])

    def is_let_in():
        with contextlib.closing(connect(gateway, theirs)[0]) as connection:
            try:
                return status_of(connection) == 204
            except (OSError, http.client.HTTPException):
                return False
    wait_until("the other authority counts", is_let_in)


def test_it_starts_with_the_server_down(place, authority, tmp_path):
    api, gateway = place
    first, second = pair(authority, tmp_path, "first"), pair(authority, tmp_path, "second")
    api.secret("web-tls", first)
    gateway.serve(site(gateway))
    gateway.kill_control_plane()
    api.gate.clear()
    api.cut()
    gateway.start_control_plane()
    killed = gateway.kill_dataplane()
    wait_until("another data plane", lambda: gateway.dataplane_pid() not in (None, killed))
    wait_until("it serves", lambda: gateway.probe(gateway.admin_port, "readyz") == 200)
    gateway.wait_in_sync()
    assert shown(gateway) == print_of(first)
    changed = site(gateway)
    changed["clusters"] = [{"name": "new", "endpoints": ["127.0.0.1:1"]}]
    gateway.serve(changed)  # what is known need not be waited for
    api.secret("web-tls", second)
    api.gate.set()
    wait_until("the other is served", lambda: shown(gateway) == print_of(second))
