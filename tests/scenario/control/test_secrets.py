"""Certificates, keys and authorities: read, refused, rotated, sent along, kept; and never shown."""
import base64
import concurrent.futures
import json
import shutil
import socket
import ssl
import threading
import time
import urllib.request

import pytest

from certificates import Authority, fingerprint, openssl, swap_link
from planes import PATIENCE, site_of, wait_until

NAMES = ["example.com", "*.example.com"]


@pytest.fixture
def authority(folders):
    return Authority(folders.folder / "authority")


@pytest.fixture
def certs(folders):
    return folders.folder / "etc/certs"


@pytest.fixture
def rooted(folders):
    """A control plane that reads files below etc."""
    (folders.folder / "etc").mkdir()
    folders.start_control_plane("--files-root", folders.folder / "etc")
    return folders


def secure(*pairs, **tls):
    """One listener with certificates: (certificate, key) or with an OCSP response behind."""
    files = [dict(zip(("certificate", "key", "ocsp"), pair)) for pair in pairs]
    return site_of("127.0.0.1:1", listeners=["127.0.0.1:0"]) | {
        "listeners": [{"name": "web", "address": "127.0.0.1:0", "route-table": "site", "tls": {"certificates": files, **tls}}]}


SITE = ("certs/site.pem", "certs/site.key")


def certificates(site):
    return site.status().get("certificates", [])


def the_fingerprint(site):
    return certificates(site)[0]["fingerprint"]


def generation(site):
    return site.status()["generation"]


def problems(site):
    return [p["message"] for p in site.status().get("problems", []) if "no data plane" not in p["message"]]


def private_number(key):
    """Of an EC key of P-256, as every encoding of it has it."""
    secret = openssl("pkcs8", "-topk8", "-nocrypt", "-in", key, "-outform", "PEM")
    return base64.b64decode("".join(secret.splitlines()[1:-1]))[36:68]


def files_with(key, folder):
    """Those that hold this key. Files come and go meanwhile."""
    number, found = private_number(key), []
    for path in folder.rglob("*"):
        try:
            found += [path] if path.is_file() and number in path.read_bytes() else []
        except FileNotFoundError:
            continue
    return found


def accept(site, *arguments, **how):
    ran = site.push(*arguments, **how)
    assert ran.code == 0, ran
    return ran.json


def rename_over(source, path):
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(source.read_bytes())
    fresh.rename(path)


# ---- what is told of them


def test_a_certificate_is_told_of_and_its_key_is_not(rooted, authority, certs):
    certificate, key = authority.pair(certs, "site", NAMES + ["10.1.2.3"])
    accept(rooted, secure(SITE))
    found = certificates(rooted)
    assert len(found) == 1
    assert found[0]["names"] == sorted(NAMES + ["10.1.2.3"]) and found[0]["key"] == "EC P-256"
    assert found[0]["fingerprint"] == fingerprint(certificate) and found[0]["used_by"] == ["listener/web"]
    assert not problems(rooted)
    name = found[0]["name"]
    shown = rooted.ok("show", f"secret/{name}").out
    assert fingerprint(certificate) in shown and 'subject: "CN=example.com"' in shown and "chain: 2" in shown
    people = rooted.ok("status").out
    assert "89" in people and "certs/site.pem" in people and "listener/web" in people
    der = private_number(key)
    said = people + shown + rooted.ok("show").out + rooted.headgate("diff").out + rooted.control.text()
    assert key.read_text().splitlines()[1] not in said and "PRIVATE" not in said
    for path in (rooted.state / "store").rglob("*"):
        if path.is_file() and der in path.read_bytes():
            assert path.name == "state" and path.stat().st_mode & 0o777 == 0o600
    assert der in (rooted.state / "store/state").read_bytes()


def test_what_is_shown_makes_the_same_again(rooted, authority, certs):
    authority.pair(certs, "site", NAMES)
    accept(rooted, secure(SITE))
    before = generation(rooted)
    again = rooted.headgate("push", rooted.write("again.yaml", rooted.ok("show").out), "-o", "json")
    assert again.json["outcome"] == "unchanged" and generation(rooted) == before


def test_rsa_beside_ecdsa(rooted, authority, certs):
    authority.pair(certs, "site", NAMES)
    authority.pair(certs, "rsa", NAMES, kind="2048")
    authority.pair(certs, "elsewhere", ["example.org"], kind="2048")
    accept(rooted, secure(SITE, ("certs/rsa.pem", "certs/rsa.key"), ("certs/elsewhere.pem", "certs/elsewhere.key")))
    kinds = {c["name"].split("@")[0]: (c["key"], c.get("other_key")) for c in certificates(rooted)}
    assert kinds == {"certs/site.pem": ("EC P-256", "RSA 2048"), "certs/rsa.pem": ("RSA 2048", "EC P-256"),
                     "certs/elsewhere.pem": ("RSA 2048", None)}


def test_what_expires_soon_and_what_is_not_verified_is_said(rooted, authority, certs):
    authority.pair(certs, "site", NAMES, last=20.5)
    authority.pair(certs, "urgent", NAMES, last=3.5)
    configuration = secure(SITE, ("certs/urgent.pem", "certs/urgent.key"))
    configuration["clusters"].append({"name": "careless", "endpoints": ["127.0.0.1:1"], "tls": {"insecure": True}})
    accept(rooted, configuration)
    said = problems(rooted)
    assert any("site.pem" in p and "expires in 20 days" in p for p in said), said
    assert any("urgent.pem" in p and "expires in 3 days: renew it now" in p for p in said), said
    assert abs(rooted.metric("certificate_expiry_seconds") - time.time() - 3.5 * 86400) < 3600
    assert any("not verified" in p for p in said) and rooted.status()["insecure_clusters"] == ["careless"]


# ---- what is refused


@pytest.mark.parametrize("pair, words, at", [
    (("certs/site.pem", "certs/other.key"), "the key is not that of the certificate", "certs/other.key:1"),
    (("certs/old.pem", "certs/old.key"), "expired on", "certs/old.pem:1"),
    (("certs/early.pem", "certs/early.key"), "not valid before", "certs/early.pem:1"),
    (("certs/weak.pem", "certs/weak.key"), "an RSA key of 1024 bits is weak", "certs/weak.pem:1"),
    (("certs/none.pem", "certs/site.key"), "No such file or directory", "certs/none.pem"),
    (("certs/site.pem", "certs/locked.key"), "the key is encrypted", "certs/locked.key:1"),
    (("certs/site.key", "certs/site.key"), "no certificate in the file", "certs/site.key"),
    (("certs/torn.pem", "certs/site.key"), "the block has no END", "certs/torn.pem:3"),
    (("certs/upside-down.pem", "certs/site.key"), "the server's own comes first", "certs/site.key"),
    (("../authority/ca.pem", "certs/site.key"), "leads out of", "../authority/ca.pem"),
    (("certs/way-out.pem", "certs/site.key"), "leads out of", "certs/way-out.pem"),
    (("/etc/hostname", "certs/site.key"), "outside of", "/etc/hostname"),
    (("certs", "certs/site.key"), "not a file", "certs"),
])
def test_bad_pairs_are_refused(rooted, authority, certs, pair, words, at):
    certificate, _ = authority.pair(certs, "site", NAMES)
    authority.key(certs / "other.key")
    for name, how in (("old", {"first": -10, "last": -1}), ("early", {"first": 1, "last": 9}), ("weak", {"kind": "1024"})):
        if name in pair[0]:
            authority.pair(certs, name, NAMES, **how)
    openssl("pkcs8", "-topk8", "-in", certs / "site.key", "-out", certs / "locked.key", "-passout", "pass:x")
    leaf, ca = certificate.read_text().split("-----END CERTIFICATE-----\n")[:2]
    (certs / "upside-down.pem").write_text(f"{ca}-----END CERTIFICATE-----\n{leaf}-----END CERTIFICATE-----\n")
    (certs / "torn.pem").write_text("# a comment\n\n" + leaf)
    (certs / "way-out.pem").symlink_to(authority.pem)
    ran = rooted.push(secure(pair))
    assert ran.code == 1, ran
    problem = ran.json["problems"][0]
    assert words in problem["message"] and problem["message"].startswith(at), problem
    assert problem["line"] == 1 and problem["file"].endswith("push.json") and "tls.certificates[0]" in problem["path"]
    assert rooted.status().get("version", 0) == 0


def test_authorities(rooted, authority, certs):
    authority.pair(certs, "site", NAMES)
    (certs / "ca.pem").write_bytes(authority.pem.read_bytes())
    (certs / "bad.pem").write_text("nothing\n")
    mutual = {"client-certificates": {"mode": "required", "ca": "certs/ca.pem"}}
    accept(rooted, secure(SITE, **mutual))
    ran = rooted.push(secure(SITE, **{"client-certificates": {"mode": "required", "ca": "certs/bad.pem"}}))
    assert ran.code == 1 and "there is no certificate in the file" in ran.json["problems"][0]["message"]
    assert ran.json["problems"][0]["path"] == "listeners[0].tls.client-certificates.ca"


def test_the_systems_authorities(folders, authority):
    folders.environment["SSL_CERT_FILE"] = str(authority.pem)
    folders.start_control_plane("--files-root", folders.folder)
    configuration = site_of("127.0.0.1:1")
    configuration["clusters"][0]["tls"] = {}
    accept(folders, configuration)
    assert "certificates: 1" in folders.ok("show", "secret/system-ca").out
    authority.pem.write_text("")
    wait_until("it is said", lambda: any("there is no certificate in the file" in p for p in problems(folders)))
    assert "certificates: 1" in folders.ok("show", "secret/system-ca").out


def test_ocsp(rooted, authority, certs):
    certificate, _ = authority.pair(certs, "site", NAMES)
    other, _ = authority.pair(certs, "other", NAMES)
    response = authority.ocsp(other, certs / "site.ocsp")
    accept(rooted, secure((*SITE, "certs/site.ocsp")))
    assert any("site.ocsp is not stapled: it is about another certificate" in p for p in problems(rooted))
    assert "ocsp_until" not in certificates(rooted)[0]
    before = generation(rooted)
    authority.ocsp(certificate, response)
    wait_until("it is stapled", lambda: certificates(rooted)[0].get("ocsp_until"))
    assert generation(rooted) > before and not problems(rooted)


def sign_ocsp(authority, certificate, signer, path):
    """What the authority knows, signed by another: (certificate, key)."""
    openssl("ocsp", "-index", authority.folder / "index", "-rsigner", signer[0], "-rkey", signer[1], "-CA", authority.pem,
            "-issuer", authority.pem, "-cert", certificate, "-respout", path, "-nmin", 60)


def responder(authority, usage):
    """A certificate of the authority's for signing OCSP, or for something else."""
    key, request = authority.key(authority.folder / f"{usage}.key"), authority.folder / f"{usage}.csr"
    path = authority.folder / f"{usage}.pem"
    openssl("req", "-new", "-key", key, "-subj", f"/CN={usage}", "-out", request)
    (authority.folder / "usage").write_text(f"extendedKeyUsage={usage}\n")
    openssl("x509", "-req", "-in", request, "-CA", authority.pem, "-CAkey", authority.folder / "ca.key", "-days", 2,
            "-extfile", authority.folder / "usage", "-out", path)
    return path, key


def test_who_signs_an_ocsp_response(rooted, authority, certs):
    """The issuer, or whom it has given the right. Any other is not stapled."""
    certificate, _ = authority.pair(certs, "site", NAMES)
    stranger = Authority(rooted.folder / "stranger")
    response = certs / "site.ocsp"
    sign_ocsp(authority, certificate, (stranger.pem, stranger.folder / "ca.key"), response)
    accept(rooted, secure((*SITE, "certs/site.ocsp")))
    assert any("site.ocsp is not stapled: it is signed neither by the issuer" in p for p in problems(rooted))
    assert "ocsp_until" not in certificates(rooted)[0]
    sign_ocsp(authority, certificate, responder(authority, "OCSPSigning"), response)
    wait_until("it is stapled", lambda: certificates(rooted)[0].get("ocsp_until"))
    sign_ocsp(authority, certificate, responder(authority, "serverAuth"), response)
    wait_until("it is not stapled any more", lambda: not certificates(rooted)[0].get("ocsp_until"))
    assert any("it is signed neither by the issuer" in p for p in problems(rooted))


def test_ocsp_without_the_issuer(rooted, authority, certs):
    certificate, _ = authority.pair(certs, "site", NAMES)
    authority.ocsp(certificate, certs / "site.ocsp")
    chain = certificate.read_text()
    end = "-----END CERTIFICATE-----\n"
    certificate.write_text(chain[:chain.index(end) + len(end)])
    accept(rooted, secure((*SITE, "certs/site.ocsp")))
    assert any("the issuer's certificate is not in the chain" in p for p in problems(rooted))
    assert "ocsp_until" not in certificates(rooted)[0]


# ---- what changes


def test_a_rotated_pair_is_a_new_generation_of_the_same_version(rooted, authority, certs):
    authority.pair(certs, "site", NAMES)
    new, new_key = authority.pair(rooted.folder / "new", "site", NAMES)
    accept(rooted, secure(SITE))
    rooted.start_data_plane("a")
    rooted.wait_data_plane("a", version=1)
    before = generation(rooted)
    rename_over(new, certs / "site.pem")  # half of it: the pair does not match
    wait_until("half a pair is told of", lambda: any("the key is not that" in p for p in problems(rooted)))
    assert generation(rooted) == before
    rename_over(new_key, certs / "site.key")
    wait_until("the new one is current", lambda: the_fingerprint(rooted) == fingerprint(new))
    assert not problems(rooted) and rooted.version() == 1
    wait_until("the data plane has it", lambda: rooted.data_plane("a")["serving"]["generation"] == generation(rooted) > before)
    assert rooted.metric("version") == 1


def test_a_volume_of_kubernetes(rooted, authority, certs):
    """Links to ..data, which is swapped: the pair is never half old, half new."""
    pairs = [authority.pair(certs / f"..{n}", "tls", NAMES) for n in range(4)]
    (certs / "..data").symlink_to("..0")
    for name in ("tls.pem", "tls.key"):
        (certs / name).symlink_to(f"..data/{name}")
    accept(rooted, secure(("certs/tls.pem", "certs/tls.key")))
    for certificate, _ in pairs[1:] + pairs[:2]:
        swap_link(certs / "..data", certificate.parent.name)
        wait_until("the pair is swapped", lambda c=certificate: the_fingerprint(rooted) == fingerprint(c))
    assert not [r for r in rooted.control.records() if "not that of the certificate" in str(r)]


def test_a_restart_changes_nothing(rooted, authority, certs):
    authority.pair(certs, "site", NAMES)
    accept(rooted, secure(SITE))
    before = rooted.status()
    tickets = rooted.ok("show", "secret/ticket-keys").out
    stored = (rooted.state / "store/state").read_bytes()
    rooted.control.stop()
    rooted.start_control_plane("--files-root", rooted.folder / "etc")
    after = rooted.status()
    assert after["generation"] == before["generation"] and after["certificates"] == before["certificates"]
    assert rooted.ok("show", "secret/ticket-keys").out == tickets
    assert (rooted.state / "store/state").read_bytes() == stored


def test_a_restart_without_the_files_keeps_what_there_was(rooted, authority, certs):
    certificate, _ = authority.pair(certs, "site", NAMES)
    accept(rooted, secure(SITE))
    rooted.control.stop()
    (certs / "site.key").unlink()
    rooted.start_control_plane("--files-root", rooted.folder / "etc")
    assert the_fingerprint(rooted) == fingerprint(certificate)
    assert any("site.key" in p and "No such file" in p for p in problems(rooted))
    assert rooted.metric("certificate_problems") == 1


def test_a_rollback_brings_no_old_key_back(rooted, authority, certs):
    authority.pair(certs, "site", NAMES)
    new, new_key = authority.pair(rooted.folder / "new", "site", NAMES)
    accept(rooted, secure(SITE))
    accept(rooted, secure(SITE, tickets=False))
    assert rooted.headgate("show", "secret/ticket-keys").code == 1
    rename_over(new_key, certs / "site.key")
    rename_over(new, certs / "site.pem")
    wait_until("the new one is current", lambda: the_fingerprint(rooted) == fingerprint(new))
    rooted.ok("rollback", "1")
    assert rooted.version() == 3 and the_fingerprint(rooted) == fingerprint(new)
    assert "keys: 1" in rooted.ok("show", "secret/ticket-keys").out


def test_a_dry_run_changes_nothing(rooted, authority, certs):
    authority.pair(certs, "site", NAMES)
    assert accept(rooted, secure(SITE), "--dry-run")["outcome"] == "checked"
    assert not certificates(rooted) and not (rooted.state / "store/state").exists()


# ---- what is sent along


def test_embedded_files(rooted, authority):
    """The control plane can read none of them."""
    beside = rooted.folder / "laptop/certs"
    first = fingerprint(authority.pair(beside, "site", NAMES)[0])
    path = rooted.write("laptop/gateway.json", secure(SITE))
    assert rooted.headgate("push", path).code == 1
    rooted.ok("push", path, "--embed")
    assert the_fingerprint(rooted) == first
    shown = rooted.ok("show").out
    assert "embedded:certs/site.pem" in shown and "PRIVATE" not in shown
    before = generation(rooted)
    second, _ = authority.pair(beside, "site", NAMES)
    ran = rooted.ok("push", path, "--embed", "-o", "json").json
    assert ran["outcome"] == "unchanged" and generation(rooted) > before
    assert the_fingerprint(rooted) == fingerprint(second)
    rooted.control.stop()
    rooted.start_control_plane("--files-root", rooted.folder / "etc")
    assert the_fingerprint(rooted) == fingerprint(second) and not problems(rooted)
    path = rooted.write("shown.yaml", shown)
    rooted.ok("validate", path)
    rooted.ok("push", path)


def test_a_rollback_to_what_was_sent_along(rooted, authority):
    certificate, _ = authority.pair(rooted.folder / "laptop/certs", "site", NAMES)
    rooted.ok("push", rooted.write("laptop/gateway.json", secure(SITE)), "--embed")
    accept(rooted, site_of("127.0.0.1:1"))
    accept(rooted, site_of("127.0.0.1:2"))
    assert not certificates(rooted)
    rooted.control.stop()
    rooted.start_control_plane("--files-root", rooted.folder / "etc")
    rooted.ok("rollback", "1")
    assert the_fingerprint(rooted) == fingerprint(certificate)


def test_what_cannot_be_sent_along_is_said(rooted):
    ran = rooted.headgate("push", rooted.write("laptop/gateway.json", secure(SITE)), "--embed")
    assert ran.code == 1 and "certs/site.pem: cannot be read: No such file or directory" in ran.err, ran


# ---- validate and run


def test_validate_looks_at_the_files(folders, authority):
    authority.pair(folders.folder / "conf/certs", "site", NAMES)
    path = folders.write("conf/gateway.json", secure(SITE))
    folders.ok("validate", path)
    (folders.folder / "conf/certs/site.key").write_text("")
    ran = folders.headgate("validate", path)
    assert ran.code == 1 and "there is no private key in the file" in ran.err and "gateway.json:1:" in ran.err, ran


def test_a_watched_file_names_files_beside_it(folders, authority):
    certificate, _ = authority.pair(folders.folder / "conf/certs", "site", NAMES)
    path = folders.write("conf/gateway.json", secure(SITE))
    folders.start_control_plane("--config", path)
    wait_until("it is served", lambda: [c["fingerprint"] for c in certificates(folders)] == [fingerprint(certificate)])


def test_a_start_that_fails_takes_nothing(folders, authority):
    """Its file would be read, and its secrets be checked on a thread, while the rest is given up already."""
    authority.pair(folders.folder / "conf/certs", "site", NAMES)
    path, bad = folders.write("conf/gateway.json", secure(SITE)), folders.write("bootstrap.json", {})
    process = folders.start("headgate-controlplane", "--admin-listen", "off", "--config", path, "--xds-bootstrap", bad)
    assert process.process.wait(PATIENCE) == 1
    assert "cannot start" in process.text() and "Sanitizer" not in process.text(), process.text()
    folders.processes.remove(process)
    assert not [each for each in (folders.state / "store/objects").rglob("*") if each.is_file()], "something was stored"
    folders.start_control_plane()
    assert not folders.ok("log", "-o", "json").json.get("versions"), "one was stored"



# ---- with a data plane


# ---- many of them

def test_status_answers_while_thousands_are_checked(rooted, authority, certs):
    """The push is under way, status answers without it, and then it ends; another push waits for it."""
    pair = authority.pair(certs / "one", "site", NAMES)
    for n in range(2000):
        for file in pair:
            (certs / f"{n}{file.suffix}").hardlink_to(file)
    many = secure(*((f"certs/{n}.pem", f"certs/{n}.key") for n in range(2000)))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pushing = pool.submit(rooted.push, many)
        wait_until("the push is under way", lambda: rooted.metric("pushes") == 1 or pushing.done())
        assert not pushing.done(), "nothing was heard of the control plane while it checked"
        during = rooted.status()
        other = rooted.write("cluster.json", {"endpoints": ["127.0.0.1:2"]})
        setting = pool.submit(rooted.ok, "set", "cluster/other", other, "--if-version", 1)  # which is to come first
        assert pushing.result().code == 0, pushing.result()
        setting.result()
    assert during.get("version", 0) == 0, during
    after = rooted.status()
    assert (after["version"], len(after["certificates"])) == (2, 2000)


def listening(site, node):
    """The port that the system picked for its one listener."""
    return int(site.data_plane(node)["report"]["listeners"][0]["addresses"][0].rsplit(":", 1)[1])


def served(site, *nodes):
    """Data planes that answer "hello"."""
    configuration = secure(SITE)
    configuration["route-tables"][0]["hosts"][0]["rules"] = [{"respond": {"body": "hello\n"}}]
    accept(site, configuration)
    for node in nodes:
        site.start_data_plane(node)
    for node in nodes:
        site.wait_data_plane(node, version=1)
        wait_until("the port is told", lambda node=node: site.data_plane(node).get("report", {}).get("listeners"))


def measured(site, node, name):
    """The sum over all workers of a series of a data plane."""
    log = site.folder / f"{node}.log"
    records = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    address = next(r["address"] for r in records if r.get("message") == "admin listener")
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name + " "))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_session_of_one_machine_is_resumed_on_another(rooted, authority, certs, version):
    """Their ticket keys are those of the snapshot."""
    authority.pair(certs, "site", NAMES)
    served(rooted, "a", "b")
    context = ssl.create_default_context(cafile=authority.pem)
    context.minimum_version = context.maximum_version = version

    def ask(node, session=None):
        plain = socket.create_connection(("127.0.0.1", listening(rooted, node)), timeout=PATIENCE)
        with context.wrap_socket(plain, server_hostname="example.com", session=session) as connection:
            Client.ask(connection)
            return connection.session_reused, connection.session

    resumed = 'headgate_tls_handshakes_total{side="clients",result="resumed"}'
    is_reused, session = ask("a")
    assert not is_reused
    for node in "aba":
        is_reused, session = ask(node, session)
        assert is_reused, node
    assert (measured(rooted, "a", resumed), measured(rooted, "b", resumed)) == (2, 1)
    assert measured(rooted, "b", 'headgate_tls_handshake_seconds_count{side="clients"}') == 1


def test_a_copy_of_a_data_plane_keeps_keys_to_itself(rooted, authority, certs):
    _, key = authority.pair(certs, "site", NAMES)
    served(rooted, "a")
    for path in wait_until("the copy", lambda: files_with(key, rooted.folder / "a")):
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert key.read_text().splitlines()[1] not in (rooted.folder / "a.log").read_text()


def test_old_keys_leave_the_disk(rooted, authority, certs):
    """Of a pair that was rotated at most one old key is left: in the store the one before, in the copy of a data plane that of the
    last version that was on the disk for certain when another one came."""
    _, key = authority.pair(certs, "site", NAMES)
    keys = [rooted.folder / "first.key"]
    keys[0].write_bytes(key.read_bytes())
    served(rooted, "a")
    folders = [rooted.state, rooted.folder / "a"]
    for number in range(3):
        new, new_key = authority.pair(rooted.folder / f"new{number}", "site", NAMES)
        keys.append(new_key)
        rename_over(new_key, certs / "site.key")
        rename_over(new, certs / "site.pem")
        for folder in folders:
            wait_until("the newest is kept", lambda folder=folder: files_with(keys[-1], folder))
    for folder in folders:
        wait_until("no more than one is left", lambda folder=folder: sum(bool(files_with(old, folder)) for old in keys[:-1]) <= 1)
    assert not any(files_with(old, rooted.state) for old in keys[:-2])


class Client:
    """Requests over TLS to a listener, all with the same authority, on a thread of its own: new connections, and one that stays."""

    def __init__(self, port, authority):
        self.port, self.context = port, ssl.create_default_context(cafile=authority.pem)
        self.failures, self.handshakes, self.seen, self.is_over = [], 0, set(), threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return self.context.wrap_socket(plain, server_hostname="example.com")

    @staticmethod
    def ask(connection):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        answer = b""
        while not answer.endswith(b"hello\n"):
            piece = connection.recv(65536)
            assert piece, f"the connection was closed after {answer}"
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200 "), answer

    def run(self):
        try:
            with self.connect() as staying:
                while not self.is_over.is_set():
                    with self.connect() as fresh:
                        self.handshakes += 1
                        self.seen.add(fresh.getpeercert()["serialNumber"])
                        self.ask(fresh)
                    self.ask(staying)
        except (OSError, AssertionError) as error:
            self.failures.append(error)

    def stop(self):
        self.is_over.set()
        self.thread.join()


def test_a_hundred_rotations_under_load(rooted, authority, certs):
    """No handshake fails, no connection is closed, every certificate is served."""
    pairs = [authority.pair(rooted.folder / f"pairs/{n}", "site", NAMES) for n in range(10)]
    volumes = [certs / f"..{n}" for n in range(10)]
    for volume, pair in zip(volumes, pairs):
        shutil.copytree(pair[0].parent, volume)
    (certs / "..data").symlink_to("..0")
    for name in ("site.pem", "site.key"):
        (certs / name).symlink_to(f"..data/{name}")
    served(rooted, "a")
    client = Client(listening(rooted, "a"), authority)
    try:
        for n in range(1, 101):
            swap_link(certs / "..data", f"..{n % 10}")
            wait_until("it is current", lambda n=n: rooted.metric("generation") == n + 1 or client.failures)
            assert not client.failures, client.failures
        wait_until("the data plane has the last", lambda: rooted.data_plane("a")["serving"]["generation"] == generation(rooted))
        before = client.handshakes
        wait_until("handshakes go on", lambda: client.handshakes > before + 5 or client.failures)
    finally:
        client.stop()
    assert not client.failures, client.failures
    assert len(client.seen) == 10, client.seen
    print(f"{client.handshakes} handshakes over 100 rotations")
