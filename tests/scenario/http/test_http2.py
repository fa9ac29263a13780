"""HTTP/2 in front, with clients that others have written: curl, and h2load for many streams at once."""
import os
import re
import subprocess
import threading

import pytest

from configuration import cluster, configure, listener, under
from load import Wrk
from wire import PATIENCE, chunked, head_of, request, response

BODY = os.urandom(3 << 20)


@pytest.fixture(name="site")
def site_over_both(gateway, scripted):
    """One listener for both versions, in front of the scripted origin."""
    gateway.serve(configure(gateway, [cluster("origin", scripted)],
                            [under("/here", {"respond": {"status": 200, "body": "here\n"}}),
                             under("/large", {"respond": {"status": 200, "body": "x" * 20000}})],
                            listeners=[listener(gateway, protocols=["http1", "http2"])]))
    yield scripted
    scripted.drop_connections()
    gateway.wait_metric("origin_connections", lambda count: count == 0)


class Curl:
    """curl by prior knowledge, as a process: head and body of its answer."""

    def __init__(self, gateway, target, *options, knows=True):
        version = ["--http2-prior-knowledge"] if knows else ["--http1.1"]
        self.process = subprocess.Popen(["curl", "-sS", "-i", "--max-time", str(PATIENCE), *version, *options,
                                         f"http://127.0.0.1:{gateway.port}{target}"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def answer(self):
        out, errors = self.process.communicate(timeout=PATIENCE + 5)
        assert self.process.returncode == 0, errors.decode()
        heads, _, rest = out.partition(b"\r\n\r\n")
        interims = []
        while heads.startswith(b"HTTP/2 1"):
            interims.append(heads)
            heads, _, rest = rest.partition(b"\r\n\r\n")
        return interims, heads.decode(), rest


def h2load(gateway, target, requests, connections, streams):
    """All requests must succeed."""
    done = subprocess.run(["h2load", "-t1", f"-n{requests}", f"-c{connections}", f"-m{streams}",
                           f"http://127.0.0.1:{gateway.port}{target}"],
                          capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
    assert re.search(rf"\b{requests} succeeded, 0 failed, 0 errored, 0 timeout", done.stdout), done.stdout


# ---- messages

def test_both_versions_on_one_listener(gateway, site):
    assert site
    for knows, version in ((True, "HTTP/2 200"), (False, "HTTP/1.1 200")):
        _, head, body = Curl(gateway, "/here", knows=knows).answer()
        assert head.startswith(version) and body == b"here\n"


def test_what_the_origin_sees(gateway, site):
    curl = Curl(gateway, "/a?b=c", "-H", "Cookie: a=1", "-H", "X-Any: thing")
    served = site.accept()
    got = served.receive_request()
    assert (got.method, got.target) == ("GET", "/a?b=c")
    assert got["host"] == f"127.0.0.1:{gateway.port}"
    assert got["x-any"] == "thing" and got["cookie"] == "a=1"
    assert got["via"].startswith("2 ")
    assert not got.fields.all("transfer-encoding")
    served.send(response(body="seen"))
    _, head, body = curl.answer()
    assert body == b"seen" and "content-length: 4" in head and "connection" not in head
    assert gateway.wait_log(lambda record: "/a?b=c" in record.values())["protocol"] == "HTTP/2.0"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bodies_go_both_ways(gateway, site, tmp_path, framing):
    sent = tmp_path / "body"
    sent.write_bytes(BODY)
    more = ["-H", "Transfer-Encoding: chunked"] if framing == "chunked" else []
    curl = Curl(gateway, "/upload", *more, "-H", "Expect:", "--data-binary", f"@{sent}")
    served = site.accept()
    got = served.receive_request()
    assert got.body == BODY
    if framing == "chunked":
        served.send(head_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), chunked(BODY[:100], BODY[100:]))
    else:
        served.send(response(body=BODY))
    _, head, body = curl.answer()
    assert head.startswith("HTTP/2 200") and body == BODY


def test_interim_responses_arrive(gateway, site):
    curl = Curl(gateway, "/hints")
    served = site.accept()
    served.receive_request()
    served.send(head_of("HTTP/1.1 103 Early Hints", "Link: </style.css>"), response(body="x"))
    interims, _, body = curl.answer()
    assert len(interims) == 1 and b"link: </style.css>" in interims[0] and body == b"x"


def test_expect_continue_is_answered(gateway, site, tmp_path):
    sent = tmp_path / "body"
    sent.write_bytes(b"y" * 5000)
    curl = Curl(gateway, "/expect", "-H", "Expect: 100-continue", "--expect100-timeout", str(PATIENCE), "--data-binary",
                f"@{sent}")
    served = site.accept()
    assert served.receive_head()["expect"] == "100-continue"
    served.send(head_of("HTTP/1.1 100 Continue"))
    assert served.receive(5000) == b"y" * 5000
    served.send(response(body="thanks"))
    interims, _, body = curl.answer()
    assert len(interims) == 1 and body == b"thanks"


def test_a_client_that_goes_away_takes_its_request_with_it(gateway, site):
    curl = Curl(gateway, "/gone")
    served = site.accept()
    served.receive_request()
    curl.process.terminate()
    curl.process.communicate()
    served.expect_closed_or_reset()


# ---- many at once

def test_many_streams_on_few_connections(gateway, site):
    assert site
    h2load(gateway, "/here", 20000, 4, 100)
    h2load(gateway, "/large", 5000, 4, 30)


def test_pushes_do_not_disturb_streams(gateway, site):
    """Listeners, routes and clusters change all the time; no request notices."""
    rules = [under("/here", {"respond": {"status": 200, "body": "here\n"}})]
    running = threading.Thread(target=h2load, args=[gateway, "/here", 60000, 4, 20])
    running.start()
    for number in range(10):
        more = under(f"/{number}", {"respond": {"status": 204}})
        gateway.serve(configure(gateway, [cluster("origin", site)], [*rules, more],
                                listeners=[listener(gateway, protocols=["http1", "http2"])]))
    running.join()


def test_http1_beside_http2(gateway, site):
    assert site
    with Wrk(gateway.port, "/here") as wrk:
        h2load(gateway, "/here", 10000, 4, 20)
        requests, failures = wrk.stop()
    assert requests > 0 and failures == 0


# ---- what is not served

def test_a_listener_for_http1_only(gateway, origin):
    assert origin
    with gateway.connect() as client:
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.receive_response().status in (400, 505)


def test_a_listener_for_http2_only(gateway, scripted):
    gateway.serve(configure(gateway, [cluster("origin", scripted)], [under("/here", {"respond": {"body": "here\n"}})],
                            listeners=[listener(gateway, protocols=["http2"])]))
    assert Curl(gateway, "/here").answer()[2] == b"here\n"
    with gateway.connect() as client:
        client.send(request())
        assert b"HTTP/1.1" not in client.receive_all_or_reset()
