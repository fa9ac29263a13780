"""Members that die under traffic, users, certificates."""
import json
import os

import pytest

from certificates import Authority
from etcd_cluster import Etcd
from gateway import wait_until
from load import Clients
from test_etcd import body, node, problems, pushed, saying, seen, to_etcd, wait_body, wait_state


def used(gateway):
    return next(m["name"] for m in seen(gateway)["members"] if m.get("used"))


def by_name(etcd, name):
    return next(m for m in etcd.members if name.endswith(f":{m.port}"))


def test_members_die_under_traffic(tmp_path):
    with Etcd(tmp_path / "etcd", members=3) as etcd, node(etcd) as gateway:
        gateway.start()
        pushed(gateway, etcd, saying(gateway, "one"))
        wait_body(gateway, "one")
        with Clients(gateway, threads=2) as clients:
            for number, choose in enumerate((lambda: by_name(etcd, used(gateway)), etcd.leader)):
                victim = choose()
                victim.kill()
                pushed(gateway, etcd, saying(gateway, f"without {number}"))     # two of three are enough
                wait_body(gateway, f"without {number}")
                wait_until("another member is used", lambda: by_name(etcd, used(gateway)) is not victim)
                etcd.start()
            for member in etcd.members[1:]:
                member.kill()
            refused = to_etcd(gateway, etcd, saying(gateway, "nobody takes it"))
            assert refused.returncode == 3, refused     # one of three must not decide
            assert body(gateway) == "without 1"
            etcd.start()
            pushed(gateway, etcd, saying(gateway, "all again"))
            wait_body(gateway, "all again")
        assert not clients.failures and clients.answered, clients.failures[:3]
        assert not problems(gateway)


def test_a_user_whose_token_is_lost(tmp_path):
    with Etcd(tmp_path / "etcd") as etcd:
        etcd.run("user", "add", "root:root-secret")
        etcd.run("role", "add", "fleet")
        etcd.run("role", "grant-permission", "fleet", "--prefix=true", "readwrite", "/fleet/")
        etcd.run("user", "add", "gate:gate-secret")
        etcd.run("user", "grant-role", "gate", "fleet")
        etcd.run("auth", "enable")
        etcd.user = ["--user", "root:root-secret"]
        secret = tmp_path / "password"
        secret.write_text("wrong\n")
        user = ["--etcd-user", "gate", "--etcd-password-file", secret]
        with node(etcd, *user) as gateway:
            gateway.start()
            wait_until("the password is wrong", lambda: any("authentication failed" in p["message"] for p in problems(gateway)))
            refused = to_etcd(gateway, etcd, saying(gateway, "x"))
            assert refused.returncode == 1 and "user name is empty" in refused.stderr, refused
            secret.write_text("gate-secret\n")
            wait_state(gateway, "empty")
            pushed(gateway, etcd, saying(gateway, "known"), *user)
            wait_body(gateway, "known")
            logins = seen(gateway)["logins"]
            etcd.members[0].end()   # tokens are in its memory
            etcd.start()
            gateway.environment["HEADGATE_ETCD_PASSWORD"] = "gate-secret"
            pushed(gateway, etcd, saying(gateway, "anew"), "--etcd-user", "gate")
            wait_body(gateway, "anew")
            assert seen(gateway)["logins"] > logins
            etcd.run("role", "revoke-permission", "fleet", "/fleet/", "--prefix")
            denied = to_etcd(gateway, etcd, saying(gateway, "x"), *user)
            assert denied.returncode == 1 and "permission denied" in denied.stderr, denied
            assert body(gateway) == "anew"


@pytest.mark.parametrize("is_mutual", [False, True])
def test_certificates(tmp_path, is_mutual):
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other", "other")
    pair = authority.pair(tmp_path / "pairs", "etcd", ["127.0.0.1"])
    client = authority.pair(tmp_path / "pairs", "gate", ["gate"]) if is_mutual else None
    mine = ["--etcd-cert", client[0], "--etcd-key", client[1]] if is_mutual else []
    with Etcd(tmp_path / "etcd", pair=pair, ca=authority.pem, client=client) as etcd:
        with node(etcd, "--etcd-ca", authority.pem, *mine) as gateway:
            gateway.start()
            wait_state(gateway, "empty")
            pushed(gateway, etcd, saying(gateway, "over TLS"), "--etcd-ca", authority.pem, *mine)
            wait_body(gateway, "over TLS")
            stranger = to_etcd(gateway, etcd, saying(gateway, "x"), "--etcd-ca", other.pem, *mine)
            assert stranger.returncode == 3 and stranger.stderr.count("\n") == 1, stranger     # the reason, once
            if is_mutual:
                assert to_etcd(gateway, etcd, saying(gateway, "x"), "--etcd-ca", authority.pem).returncode == 3
            assert json.loads(etcd.get("/fleet/config/current"))["version"] == 1


def test_options_that_do_not_go_together(tmp_path):
    with Etcd(tmp_path / "etcd") as etcd, node(etcd) as gateway:
        config = saying(gateway, "x")
        for words in (["--etcd-ca", os.devnull], ["--etcd-user", "a"], ["--etcd-password-file", os.devnull], ["--embed"]):
            wrong = to_etcd(gateway, etcd, config, *words)
            assert wrong.returncode == 2 and "etcd" in wrong.stderr, wrong
        assert gateway.headgate("push", "--to", "somewhere:2379", gateway.folder / "fleet.json").returncode == 2
        ended = gateway.run_program("controlplane", "--etcd-user", "a")
        assert ended.wait(timeout=30) == 2 and "go with --etcd" in gateway.logs()
