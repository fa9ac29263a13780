"""A fleet that shares etcd: what is pushed there is served by every node, whatever happens to etcd."""
import concurrent.futures
import contextlib
import json

import pytest

from certificates import Authority
from configuration import cluster, listener
from etcd_cluster import Etcd
from gateway import Gateway, wait_until
from load import Clients
from origins import Teller


@contextlib.contextmanager
def node(etcd, *more, address=None):
    """A gateway that follows etcd."""
    gateway = Gateway()
    gateway.control_arguments = ["--etcd", address or etcd.address(), *more]
    try:
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture(name="place")
def make_place(tmp_path):
    with Etcd(tmp_path / "etcd") as etcd, node(etcd) as gateway:
        yield etcd, gateway.start()


def saying(gateway, text, **more):
    """A configuration that answers by itself."""
    hosts = [{"domains": ["*"], "rules": [{"respond": {"status": 200, "body": text}}]}]
    return {"listeners": [listener(gateway)], "route-tables": [{"name": "site", "hosts": hosts}], **more}


def to_etcd(gateway, etcd, config, *more):
    """`headgate push --to`; what it printed as JSON, and the exit code."""
    path = gateway.folder / "fleet.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return gateway.headgate("push", "--to", etcd.address(), "-o", "json", *more, path)


def pushed(gateway, etcd, config, *more):
    done = to_etcd(gateway, etcd, config, *more)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def body(gateway):
    try:
        return gateway.get().body.decode()
    except OSError:
        return None


def wait_body(gateway, text):
    wait_until(f"{text} is answered", lambda: body(gateway) == text)


def seen(gateway):
    """What `status` says of etcd."""
    return gateway.status()["etcd"]


def wait_state(gateway, state):
    return wait_until(f"the configuration is {state}", lambda: seen(gateway) if seen(gateway)["state"] == state else None)


def problems(gateway):
    return [p for p in gateway.status().get("problems", []) if not p.get("is_warning")]


# ---- one member

def test_a_push_is_served_by_every_node(place):
    etcd, gateway = place
    wait_state(gateway, "empty")
    with node(etcd) as other:
        first = pushed(gateway, etcd, saying(gateway, "one"), "-m", "the first")
        assert first["outcome"] == "stored" and first["version"] == 1, first
        wait_body(gateway, "one")
        found = wait_state(gateway, "in-use")
        assert found["version"] == 1 and found["message"] == "the first", found
        layers = {layer["name"]: layer for layer in gateway.status()["layers"]}
        assert layers["etcd"]["resources"] == 2, layers
        other.start_control_plane()
        assert wait_state(other, "in-use")["version"] == 1
    assert pushed(gateway, etcd, saying(gateway, "one"))["outcome"] == "unchanged"
    for version in range(2, 5):
        assert pushed(gateway, etcd, saying(gateway, f"say {version}"))["version"] == version
        wait_body(gateway, f"say {version}")
    generations = {key.split("/")[4] for key in etcd.keys("/fleet/config/generations/")}
    assert len(generations) == 2, generations       # the one before stays, older ones go
    assert gateway.headgate("log", "-o", "json").stdout.count('"author":"etcd"') == 4


def of_etcd(gateway, etcd, command, *more):
    return gateway.headgate(command, "--to", etcd.address(), *more)


def test_what_etcd_has_is_shown_compared_and_gone_back_to(place):
    etcd, gateway = place
    assert "nothing was pushed" in of_etcd(gateway, etcd, "show").stderr
    pushed(gateway, etcd, saying(gateway, "first"))
    assert "no version from before" in of_etcd(gateway, etcd, "rollback").stderr
    second = gateway.folder / "second.json"
    second.write_text(json.dumps(saying(gateway, "second")))
    differing = of_etcd(gateway, etcd, "diff", second)
    assert differing.returncode == 1 and "route-table/site" in differing.stdout and "second" in differing.stdout, differing
    pushed(gateway, etcd, second.read_text())
    assert of_etcd(gateway, etcd, "diff", second).returncode == 0
    changed = json.loads(of_etcd(gateway, etcd, "diff", "-o", "json").stdout)
    assert [change["name"] for change in changed["changes"]] == ["site"], changed
    assert "second" in of_etcd(gateway, etcd, "show", "route-table/site").stdout
    assert "first" in of_etcd(gateway, etcd, "show", "1", "route-table/site").stdout
    none = of_etcd(gateway, etcd, "show", "7", "-o", "json")
    assert none.returncode == 1 and "not 7" in json.loads(none.stdout)["problems"][0]["message"], none
    shown = gateway.folder / "shown.json"
    shown.write_text(of_etcd(gateway, etcd, "show", "-o", "json").stdout)
    assert of_etcd(gateway, etcd, "diff", shown).returncode == 0
    wait_body(gateway, "second")
    assert of_etcd(gateway, etcd, "rollback", "7").returncode == 1
    assert json.loads(of_etcd(gateway, etcd, "rollback", "-o", "json").stdout)["version"] == 3
    wait_body(gateway, "first")
    assert seen(gateway)["message"] == "rollback to 1"
    assert of_etcd(gateway, etcd, "rollback", "2").returncode == 0
    wait_body(gateway, "second")


def test_more_than_fits_into_one_answer_is_read_in_pages(place):
    etcd, gateway = place
    for i in range(20):     # of a megabyte each; 16 MiB are taken at once
        etcd.change({f"/fleet/config/generations/old/cluster/c{i}/0000": "x" * 1000000})
    assert pushed(gateway, etcd, saying(gateway, "one"), "--dry-run")["outcome"] == "checked"
    pushed(gateway, etcd, saying(gateway, "one"))
    wait_body(gateway, "one")


def test_generations_that_nobody_counts_go_with_the_next_push(place):
    etcd, gateway = place
    for text in ("first", "second", "third"):
        pushed(gateway, etcd, saying(gateway, text))
    wait_body(gateway, "third")
    etcd.delete("/fleet/config/current")
    assert pushed(gateway, etcd, saying(gateway, "anew"))["version"] == 1
    wait_body(gateway, "anew")
    assert len({key.split("/")[4] for key in etcd.keys("/fleet/config/generations/")}) == 1


def test_metrics_tell_of_etcd(place):
    etcd, gateway = place
    pushed(gateway, etcd, saying(gateway, "counted"))
    wait_body(gateway, "counted")
    wait_state(gateway, "in-use")
    text = gateway.metrics_text(gateway.control_admin_port)
    member = f'{{member="{etcd.endpoints}"'
    assert f'headgate_controlplane_etcd_member{member},used="yes",connected="yes"}} 1' in text
    assert f"headgate_controlplane_etcd_member_failures_total{member}}} 0" in text
    assert 'headgate_controlplane_etcd_configuration{state="in-use"} 1' in text
    assert "headgate_controlplane_etcd_version 1\n" in text and "headgate_controlplane_etcd_pushed_version 1\n" in text
    assert 'headgate_controlplane_etcd_lists_total{of="configuration"} 1' in text
    assert 'headgate_controlplane_etcd_lists_total{of="endpoints"} 0' in text
    assert "headgate_controlplane_etcd_registrations 0\n" in text


def test_what_is_pushed_here_hides_what_the_fleet_has(place):
    etcd, gateway = place
    pushed(gateway, etcd, saying(gateway, "fleet"))
    wait_body(gateway, "fleet")
    gateway.push(saying(gateway, "here"))
    wait_body(gateway, "here")
    hidden = next(layer for layer in gateway.status()["layers"] if layer["name"] == "etcd")
    assert hidden["hidden"] == 2, hidden
    assert gateway.headgate("delete", "listener/web").returncode == 0
    assert gateway.headgate("delete", "route-table/site").returncode == 0
    wait_body(gateway, "fleet")


def test_bad_content_is_told_by_key_and_field(place):
    etcd, gateway = place
    pushed(gateway, etcd, saying(gateway, "good"))
    wait_body(gateway, "good")
    key = next(key for key in etcd.keys("/fleet/config/") if "/listener/web/" in key)
    good = etcd.get(key)
    etcd.put(key, json.dumps({**json.loads(good), "adress": "127.0.0.1:1"}))
    wait_state(gateway, "invalid")
    found = problems(gateway)[0]
    assert found["file"] == key.removeprefix("/fleet/").removesuffix("/0000") and found["nearest"] == "address", found
    assert "adress" in found["path"], found
    etcd.put(key, "]}, {")
    wait_until("it is no JSON", lambda: "JSON object" in problems(gateway)[0]["message"])
    etcd.delete(key)
    wait_until("a value is missing", lambda: "has 1 values" in problems(gateway)[0]["message"])
    etcd.put("/fleet/config/current", '{"format": 2}')
    wait_until("nobody knows that form", lambda: problems(gateway)[0].get("path") == "format")
    assert body(gateway) == "good"
    assert pushed(gateway, etcd, saying(gateway, "mended"))["version"] == 1    # nothing that could be read was there
    wait_body(gateway, "mended")
    assert not problems(gateway)


def test_what_a_node_refuses_stays_out_and_is_tried_again(place):
    """Certificates are each node's own: the node that lacks one keeps what it had."""
    etcd, gateway = place
    pushed(gateway, etcd, saying(gateway, "plain"))
    wait_body(gateway, "plain")
    config = saying(gateway, "secure")
    config["listeners"][0]["tls"] = {"certificates": [{"certificate": "web.pem", "key": "web.key"}]}
    pushed(gateway, etcd, config)
    wait_state(gateway, "refused")
    found = problems(gateway)[0]
    assert found["file"].endswith("/listener/web") and "web.pem" in found["message"], found
    assert body(gateway) == "plain"
    Authority(gateway.folder / "ca").pair(gateway.folder, "web", ["localhost"])
    wait_state(gateway, "in-use")
    assert not problems(gateway)


def test_an_etcd_that_is_empty_after_a_restart_takes_nothing_away(place):
    etcd, gateway = place
    pushed(gateway, etcd, saying(gateway, "kept"))
    wait_body(gateway, "kept")
    with Clients(gateway, threads=2) as clients:
        etcd.wipe()
        wait_state(gateway, "empty")
        assert body(gateway) == "kept"
        gateway.kill_control_plane()
        gateway.start_control_plane()
        wait_state(gateway, "empty")
        assert pushed(gateway, etcd, saying(gateway, "kept"))["version"] == 1
        wait_state(gateway, "in-use")
    assert not clients.failures and clients.answered, clients.failures[:3]
    pushed(gateway, etcd, {"listeners": [], "route-tables": []})      # who means it says so
    wait_until("nothing is served", lambda: body(gateway) is None)


def test_compaction_and_a_restart_lose_nothing(place):
    etcd, gateway = place
    pushed(gateway, etcd, saying(gateway, "before"))
    wait_body(gateway, "before")
    lists = seen(gateway)["lists"]
    etcd.stop()
    wait_until("it is told", lambda: any("etcd cannot be followed" in p["message"] for p in problems(gateway)))
    gateway.kill_control_plane()
    gateway.start_control_plane()       # everything is down: the last known good is served
    assert body(gateway) == "before" and seen(gateway)["state"] == "connecting"
    etcd.start()
    wait_state(gateway, "in-use")
    gateway.control_plane.send_signal(19)
    try:
        for number in range(3):
            pushed_by = to_etcd(gateway, etcd, saying(gateway, f"later {number}"))
            assert pushed_by.returncode == 0, pushed_by
        etcd.compact()
        etcd.stop()
        etcd.start()
    finally:
        gateway.control_plane.send_signal(18)
    wait_body(gateway, "later 2")
    assert seen(gateway)["lists"] >= lists and not problems(gateway)


# ---- pushes

def test_a_push_that_is_not_valid_is_not_written(place):
    etcd, gateway = place
    refused = to_etcd(gateway, etcd, {**saying(gateway, "x"), "listeners": [{"name": "web", "address": "127.0.0.1:1",
                                                                              "route-table": "nowhere"}]})
    assert refused.returncode == 1 and "nowhere" in refused.stdout and not etcd.keys("/fleet/"), refused
    refused = to_etcd(gateway, etcd, saying(gateway, "x", timeouts={"request": "3s"}))
    assert refused.returncode == 1 and "each node's own" in refused.stdout and not etcd.keys("/fleet/"), refused
    assert json.loads(to_etcd(gateway, etcd, saying(gateway, "x"), "--dry-run").stdout)["outcome"] == "checked"
    assert not etcd.keys("/fleet/")


def test_who_pushes_at_the_same_time_is_told(place):
    etcd, gateway = place
    paths = []
    for number in range(6):
        paths.append(gateway.folder / f"{number}.json")
        paths[-1].write_text(json.dumps(saying(gateway, f"from {number}")))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda p: gateway.headgate("push", "--to", etcd.address(), "-o", "json", p), paths))
    versions = sorted(json.loads(d.stdout)["version"] for d in done if d.returncode == 0)
    assert versions == list(range(1, len(versions) + 1)) and versions, done       # no version twice, none lost
    for conflict in (d for d in done if d.returncode):
        assert conflict.returncode == 1 and "meanwhile" in conflict.stdout, conflict
    assert len({key.split("/")[4] for key in etcd.keys("/fleet/config/generations/")}) <= 2
    late = to_etcd(gateway, etcd, saying(gateway, "late"), "--if-version", versions[-1] - 1)
    assert late.returncode == 1 and f"is {versions[-1]}" in late.stdout, late


def test_a_configuration_larger_than_a_transaction(place):
    etcd, gateway = place
    endpoints = [f"10.{i // 65536}.{i // 256 % 256}.{i % 256}:80" for i in range(40000)]
    clusters = [cluster("big", *endpoints), *(cluster(f"c{i}", "127.0.0.1:1") for i in range(300))]
    config = saying(gateway, "big", clusters=clusters)
    assert pushed(gateway, etcd, config)["version"] == 1
    parts = [key for key in etcd.keys("/fleet/config/") if "/cluster/big/" in key]
    assert len(parts) == 2, parts
    wait_body(gateway, "big")
    assert len(gateway.status()["clusters"]) == 301
    assert pushed(gateway, etcd, config)["outcome"] == "unchanged"
