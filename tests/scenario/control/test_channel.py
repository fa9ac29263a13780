"""Control plane and real data planes: pushes over two of them, refusals, deaths at every moment, TLS.

Two data planes on one machine cannot both listen on one TCP address, which is what the refusals here are made of.
"""
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from planes import PATIENCE, PROGRAMS, free_port, get, kill_data_plane, site_of, wait_until

FIRST = site_of("127.0.0.1:9001")
SECOND = site_of("127.0.0.1:9002")


def result_of(reply, node):
    return next(r for r in reply["data_planes"] if r["node"] == node)


def answering(port):
    """A configuration that answers on the port by itself."""
    return {
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}", "route-table": "site"}],
        "route-tables": [{"name": "site", "hosts": [
            {"domains": ["*"], "rules": [{"respond": {"status": 200, "body": "here\n"}}]}]}],
    }


@pytest.fixture
def pair(site):
    """A site with two data planes in sync with version 1."""
    site.push(FIRST)
    for node in ("a", "b"):
        setattr(site, node, site.start_data_plane(node))
    for node in ("a", "b"):
        site.wait_data_plane(node, version=1)
    return site


def test_a_push_switches_both(pair):
    pushed = pair.push(SECOND)
    assert pushed.code == 0 and pushed.json["outcome"] == "committed", pushed
    for node in ("a", "b"):
        assert result_of(pushed.json, node)["state"] == "acked"
        assert pair.wait_data_plane(node, version=2)
    log = pair.ok("log", "-o", "json").json["versions"]
    assert sorted(log[0]["nodes"]) == ["a", "b"] and log[1]["nodes"] == []
    assert pair.metric("data_planes", state="in-sync") == 2


def test_one_refusal_stops_it_for_both(pair):
    port = free_port()
    pushed = pair.push(answering(port))
    assert pushed.code == 1 and pushed.json["outcome"] == "refused", pushed
    states = sorted(r["state"] for r in pushed.json["data_planes"])
    assert states == ["nacked", "ready"]
    refusal = next(r for r in pushed.json["data_planes"] if r["state"] == "nacked")["reasons"][0]
    assert refusal["kind"] == "listener" and refusal["name"] == "web" and refusal["code"] == "address-in-use"
    assert pair.version() == 1 and len(pair.ok("log", "-o", "json").json["versions"]) == 1
    for node in ("a", "b"):
        assert pair.wait_data_plane(node, version=1)
    wait_until("nobody listens there", lambda: not is_open(port))  # the holder closes its copy a moment later
    text = pair.headgate("push", pair.write("again.json", answering(port)))
    assert text.code == 1 and "listener/web" in text.out and "refused" in text.out
    assert pair.push(SECOND).code == 0


def test_dry_run_asks_both_and_changes_nothing(pair):
    assert [r["state"] for r in pair.push(SECOND, "--dry-run").json["data_planes"]] == ["ready", "ready"]
    assert pair.push(answering(free_port()), "--dry-run").code == 1
    assert pair.version() == 1
    for node in ("a", "b"):
        assert pair.data_plane(node)["serving"]["version"] == 1


def test_the_system_picks_ports_for_admin_and_listener(site):
    """Both ask for port 0 of one address: the holder must not mix them up."""
    site.start_data_plane("a", workers=2)
    wait_until("a is there", lambda: site.data_plane("a"))
    assert site.push(answering(0)).code == 0
    report = wait_until("a reports", lambda: (site.data_plane("a").get("report") or {}).get("listeners"))
    assert get(report[0]["addresses"][0]) == ("HTTP/1.1 200 OK", "here\n")


def test_a_late_data_plane_that_refuses_is_shown_and_left_alone(site):
    port = free_port()
    site.start_data_plane("a")
    wait_until("a is there", lambda: site.data_plane("a"))
    assert site.push(answering(port)).code == 0
    assert get(f"127.0.0.1:{port}") == ("HTTP/1.1 200 OK", "here\n")
    site.start_data_plane("b")
    late = site.wait_data_plane("b", state="nacked")
    assert late["reasons"][0]["name"] == "web"
    assert any("b refuses the current snapshot" in p["message"] for p in site.status()["problems"])
    before = site.metric("transfers_total")
    # Nothing is sent again until there is something new; then it is brought along.
    assert site.push(FIRST).code == 0
    site.wait_data_plane("b", version=2)
    assert site.metric("transfers_total") == before + 2


def test_the_data_plane_serves_on_without_a_control_plane(site):
    port = free_port()
    holder = site.start_data_plane("a")
    wait_until("a is there", lambda: site.data_plane("a"))
    site.push(answering(port))
    site.control.kill()
    assert get(f"127.0.0.1:{port}")[1] == "here\n"
    kill_data_plane(holder)
    assert wait_until("it serves again", lambda: serves(port))
    site.start_control_plane()
    site.wait_data_plane("a", version=1)
    assert site.metric("transfers_total") == 0  # it held everything


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        return True
    except ConnectionError:
        return False


def serves(port):
    try:
        return get(f"127.0.0.1:{port}")[1] == "here\n"
    except OSError:
        return False


def test_a_data_plane_that_was_away_catches_up(pair):
    pair.b.stop()
    wait_until("b is gone", lambda: not pair.data_plane("b"))
    away = pair.status()["away"]
    assert [(a["node"], a["version"]) for a in away] == [("b", 1)]
    assert 0 <= time.time() - away[0]["seen_at"] / 1e6 < PATIENCE and away[0]["software"].startswith("headgate ")
    text = pair.ok("status").out
    assert "data planes that are away" in text and "ago" in text.split("that are away")[1]
    assert pair.push(SECOND).code == 0
    pair.start_data_plane("b")
    assert pair.wait_data_plane("b", version=2)
    assert "away" not in pair.ok("status").out and not pair.status().get("away")


def test_a_killed_data_plane_comes_back_in_sync(pair):
    def is_back():
        now = pair.data_plane("a")
        return now and now["state"] == "in-sync" and now["connected_at"] > before

    for _ in range(3):
        before = pair.wait_data_plane("a")["connected_at"]
        kill_data_plane(pair.a)
        wait_until("a is back, over another connection", is_back)
    assert pair.push(SECOND).code == 0


def test_a_node_name_in_use_is_refused(site):
    site.push(FIRST)
    site.start_data_plane("a")
    site.wait_data_plane("a")
    other = site.start("headgate-holder", "--dataplane", PROGRAMS / "headgate-dataplane", "--node", "a", "--workers", 1,
                       "--state-dir", site.folder, "--admin-listen", "127.0.0.1:0", log="other")
    wait_until("it is told why", lambda: "in use by a live stream" in other.text())
    assert len(site.status()["data_planes"]) == 1
    assert site.metric("refusals_total") >= 1


def test_a_stopped_data_plane_stops_a_push_in_time(site):
    site.control.stop()
    site.start_control_plane("--prepare-timeout", 2)
    holder = site.start_data_plane("a")
    wait_until("a is there", lambda: site.data_plane("a"))
    wait_until("the first is taken", lambda: site.push(FIRST).code == 0)  # a may be too slow for it, and catches up
    site.wait_data_plane("a", version=1)
    pid = int(open(f"/proc/{holder.pid}/task/{holder.pid}/children", encoding="ascii").read().split()[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        refused = site.push(SECOND)
        assert refused.code == 1 and result_of(refused.json, "a")["state"] == "lost", refused
        assert "in time" in result_of(refused.json, "a")["reasons"][0]["message"]
        assert site.push(SECOND).json["outcome"] == "stored"  # it does not count any more
    finally:
        os.kill(pid, signal.SIGCONT)
    site.wait_data_plane("a", version=2)


def test_kills_in_the_middle_of_pushes(site):
    """KILL to the control plane at any moment: what was acknowledged is there, nothing is there in part."""
    path = site.write("first.json", FIRST)
    site.ok("push", path)
    site.start_data_plane("a")
    site.wait_data_plane("a", version=1)
    acknowledged, stop = [1], threading.Event()

    def push_all_the_time():
        n = 0
        while not stop.is_set():
            n += 1
            ran = site.push(site_of(f"127.0.0.1:{10000 + n}"))
            if ran.code == 0:
                acknowledged.append(ran.json["version"])

    pusher = threading.Thread(target=push_all_the_time)
    pusher.start()
    try:
        for _ in range(10):
            count = len(acknowledged)
            wait_until("a push is acknowledged", lambda: len(acknowledged) > count)
            site.control.kill()
            site.start_control_plane()
    finally:
        stop.set()
        pusher.join()
    versions = {v["version"] for v in site.ok("log", "-n", 10000, "-o", "json").json["versions"]}
    assert set(acknowledged) <= versions and versions == set(range(1, max(versions) + 1))
    assert acknowledged == sorted(set(acknowledged))
    assert site.ok("verify", "-o", "json").json["problems"] == []
    site.wait_data_plane("a", version=max(versions))


def test_term_ends_a_control_plane_in_order(pair):
    assert pair.control.stop() == 0
    assert not (pair.runtime / "control.sock").exists() and not (pair.runtime / "dataplane.sock").exists()
    pair.start_control_plane()
    for node in ("a", "b"):
        pair.wait_data_plane(node, version=1)


# ---- TLS


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_authority(folder, ca):
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")


def issue(folder, name, ca):
    """NAME.pem and NAME.key, for NAME.test."""
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}.test", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-days", "2",
            "-copy_extensions", "copy", "-out", f"{name}.pem")


@pytest.fixture
def certificates(folders):
    """A folder with an authority `ca`, certificates `control` and `data` of it, and `alien` of another."""
    folder = folders.folder / "tls"
    folder.mkdir()
    for ca in ("ca", "other"):
        make_authority(folder, ca)
    for name, ca in (("control", "ca"), ("data", "ca"), ("alien", "other")):
        issue(folder, name, ca)
    return folder


def start_secure(folders, certificates, *arguments):
    """A control plane that data planes reach over TLS; `folders.tls_port` is where."""
    folders.start_control_plane("--dataplane-listen", "127.0.0.1:0", "--tls-cert", certificates / "control.pem",
                                "--tls-key", certificates / "control.key", "--tls-ca", certificates / "ca.pem", *arguments)
    folders.tls_port = folders.control.wait_record(message="listening for data planes over TLS")["port"]


@pytest.fixture
def secure(folders, certificates):
    start_secure(folders, certificates)
    return folders


NODE = "data.test"  # what the certificate `data` is for


def start_remote(site, certificates, node, name):
    """A data plane that comes over TLS with the certificate of that name."""
    for path in filter(pathlib.Path.is_file, certificates.iterdir()):
        path.chmod(0o644)  # the data plane may run as another user
    return site.start_data_plane(node, "--control-plane", f"127.0.0.1:{site.tls_port}", "--tls-name", "control.test",
                                 "--tls-cert", certificates / f"{name}.pem", "--tls-key", certificates / f"{name}.key",
                                 "--tls-ca", certificates / "ca.pem")


def test_data_planes_over_tls_and_on_the_socket(secure, certificates):
    secure.push(FIRST)
    start_remote(secure, certificates, NODE, "data")
    secure.start_data_plane("near")
    for node in (NODE, "near"):
        secure.wait_data_plane(node, version=1)
    pushed = secure.push(SECOND)
    assert [r["state"] for r in pushed.json["data_planes"]] == ["acked", "acked"], pushed


def test_a_node_name_belongs_to_its_certificate(secure, certificates):
    """A name that is not in the certificate is refused, and both ends say why; the common name counts too."""
    secure.push(FIRST)
    impostor = start_remote(secure, certificates, "near", "data")
    reason = "the node calls itself near, but its certificate is for data.test, data"
    impostor.wait_record(message="the control plane refuses this data plane", reason=reason)
    secure.control.wait_record(message="stream of a data plane is ended", reason=reason)
    assert secure.metric("refusals_total") >= 1
    secure.start_data_plane("near")  # the true one
    start_remote(secure, certificates, "data", "data")
    for node in ("near", "data"):
        secure.wait_data_plane(node, version=1)


def test_any_name_when_told_so(folders, certificates):
    start_secure(folders, certificates, "--tls-any-name")
    folders.push(FIRST)
    start_remote(folders, certificates, "far", "data")
    folders.wait_data_plane("far", version=1)


def test_a_data_plane_with_an_alien_certificate_gets_nothing(secure, certificates):
    secure.push(FIRST)
    alien = start_remote(secure, certificates, "alien", "alien")
    wait_until("it is turned away", lambda: alien.text().count("no control plane") >= 1)
    assert not secure.data_plane("alien") and secure.metric("streams_total") == 0


OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\x08\7\0\0\0\0" + 8 * b"\0"  # preface, SETTINGS, GOAWAY
ACKNOWLEDGED = b"\0\0\0\4\1"  # SETTINGS


def open_http2(port, authority, certificate=None):
    """What the server says to a client with this certificate, until it acknowledges the client's SETTINGS or ends."""
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain:
        with context.wrap_socket(plain, server_hostname="control.test") as secured:
            assert secured.selected_alpn_protocol() == "h2"
            try:
                secured.sendall(OPENING)
                while ACKNOWLEDGED not in said and (more := secured.recv(65536)):
                    said += more
            except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
                pass  # refused: in TLS 1.3 that comes after the client's side of the handshake
    return said


def test_only_clients_with_a_certificate_get_a_stream_over_tls(secure, certificates):
    def connect(*certificate):
        return open_http2(secure.tls_port, certificates / "ca.pem", *certificate)

    assert ACKNOWLEDGED in connect(certificates / "data.pem")
    assert connect() == connect(certificates / "alien.pem") == b""


class Secret:
    """A folder of files as Kubernetes mounts a secret: renewed all at once, by a link that is renamed."""

    def __init__(self, folder, source):
        self.folder, self.generation = folder, 0
        folder.mkdir()
        self.renew(source)
        for path in source.iterdir():
            (folder / path.name).symlink_to(f"..data/{path.name}")

    def renew(self, source):
        self.generation += 1
        shutil.copytree(source, self.folder / f"..{self.generation}")
        for path in self.folder.glob(f"..{self.generation}/*"):
            path.chmod(0o644)
        (self.folder / "..tmp").symlink_to(f"..{self.generation}")
        os.rename(self.folder / "..tmp", self.folder / "..data")


@pytest.fixture
def renewed(folders):
    """Two generations of everything, with an authority of its own each."""
    sources = []
    for generation in ("first", "second"):
        sources.append(folders.folder / generation)
        sources[-1].mkdir()
        make_authority(sources[-1], "ca")
        for name in ("control", "data", "late"):
            issue(sources[-1], name, "ca")
    return sources


def test_renewed_certificates_count_at_both_ends(folders, renewed):
    """Without a restart of either, from the next connection on; what cannot be used is told and passed over."""
    first, second = renewed
    here, there = Secret(folders.folder / "here", first), Secret(folders.folder / "there", first)
    start_secure(folders, here.folder)
    folders.push(FIRST)
    data = start_remote(folders, there.folder, NODE, "data")
    folders.wait_data_plane(NODE, version=1)
    # The control plane: one that knows the second generation only gets in.
    here.renew(second)
    late = start_remote(folders, second, "late.test", "late")
    folders.wait_data_plane("late.test", version=1)
    folders.control.wait_record(message="certificates are read again")
    assert folders.wait_data_plane(NODE, version=1)  # its connection stays
    # The data plane: a control plane that knows the second generation only is trusted, and trusts it.
    there.renew(second)
    folders.control.stop()
    port = folders.tls_port
    folders.start_control_plane("--dataplane-listen", f"127.0.0.1:{port}", "--tls-cert", second / "control.pem",
                                "--tls-key", second / "control.key", "--tls-ca", second / "ca.pem")
    folders.wait_data_plane(NODE, version=1)
    data.wait_record(message="certificates are read again")
    assert late.is_running()


def test_unusable_renewed_certificates_are_passed_over(folders, renewed):
    first, second = renewed
    here = Secret(folders.folder / "here", first)
    start_secure(folders, here.folder)
    folders.push(FIRST)
    shutil.copy(first / "control.pem", second / "control.pem")  # not of the second's key
    here.renew(second)
    start_remote(folders, first, NODE, "data")
    folders.wait_data_plane(NODE, version=1)
    said = folders.control.wait_record(message="the certificates of before are used on")
    assert "is not the key of the certificate" in said["reason"]


def test_tls_options_go_together(folders):
    process = folders.start("headgate-controlplane", "--dataplane-listen", "127.0.0.1:0", log="wrong")
    assert process.process.wait(PATIENCE) == 2
    assert "go together" in process.text()
