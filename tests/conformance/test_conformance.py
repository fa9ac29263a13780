"""All cases against the gateway, with an origin behind it that takes whole requests: on a listener that speaks nothing
but HTTP/2, on one that speaks HTTP/1.1 too, and over TLS."""
import json
import re
import subprocess

import pytest
from configuration import cluster, configure, listener
from gateway import Gateway, Push
from origins import Teller

from dialogue import Target, hold
from suite import NAMES, all_cases

LISTENERS = ("plain", "both", "tls")


def make_certificate(folder):
    """Signed by itself: these clients do not look at it."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", "/CN=test.example", "-addext", "subjectAltName=DNS:test.example", "-days", "2",
                    "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
                   check=True, capture_output=True)
    return [{"certificate": "certificate.pem", "key": "key.pem"}]


def listeners(gateway):
    def speaks(name, *protocols, **more):
        return listener(gateway, name=name, address=f"127.0.0.1:{gateway.port_of(name)}", protocols=protocols, **more)

    return [speaks("plain", "http2"), speaks("both", "http1", "http2"),
            speaks("tls", "http2", tls={"certificates": make_certificate(gateway.folder)})]


def serve(gateway, config):
    """The files of the certificate go with the push."""
    path = gateway.folder / "gateway.json"
    path.write_text(json.dumps(config))
    pushed = Push(gateway.headgate("push", path, "--embed", "--output", "json"))
    assert pushed.is_committed, pushed


@pytest.fixture(scope="session")
def gateway():
    gateway = Gateway()
    try:
        with Teller("a") as origin:
            serve(gateway.start(), configure(gateway, [cluster("origin", origin)], listeners=listeners(gateway)))
            yield gateway
    finally:
        gateway.stop()


@pytest.fixture(scope="session")
def cases(gateway):
    """By listener, then by name."""
    return {name: (target, all_cases(target)) for name in LISTENERS
            for target in [Target(port=gateway.port_of(name), is_tls=name == "tls")]}


@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.parametrize("case", NAMES)
def test_case(cases, name, case):
    target, by_name = cases[name]
    wrong = hold(by_name[case], target)
    assert not wrong, wrong


REASONS = {"PING": "ping", "SETTINGS": "settings", "PRIORITY": "priority", "WINDOW_UPDATE": "window-update",
           "unknown frames": "other-frame", "empty DATA": "empty-frame", "padding": "empty-frame"}


def count_floods(gateway, reason):
    """What is answered may also be more than can be answered in one turn."""
    reasons = f"{reason}|answer" if reason in ("ping", "settings") else reason
    found = re.findall(rf'h2_faults_total{{side="clients",reason="(?:{reasons})-flood"}} (\d+)', gateway.metrics_text())
    return sum(map(int, found))


@pytest.mark.parametrize("flood", REASONS)
def test_a_flood_is_counted_by_its_reason(gateway, cases, flood):
    target, by_name = cases["plain"]
    before = count_floods(gateway, REASONS[flood])
    assert not hold(by_name[f"RFC 9113 10.5: flood of {flood}"], target)
    assert count_floods(gateway, REASONS[flood]) == before + 1
