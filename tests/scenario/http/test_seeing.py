"""What the gateway tells of its traffic: the access log in each format, and metrics."""
import datetime
import json
import os
import re
import signal
import socket

import pytest

from configuration import cluster, configure, listener, under
from gateway import wait_until
from wire import head_of, request, response


def records(gateway, mark):
    """The whole lines of the access log that have this mark."""
    text = gateway.access_log.read_bytes().decode("latin-1") if gateway.access_log.exists() else ""
    return [line for line in text.split("\n")[:-1] if mark in line]


def record_of(gateway, mark):
    """The one record with this mark, once it is written."""
    lines = wait_until(f"the record of {mark}", lambda: records(gateway, mark))
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def logged(gateway, usual):
    """The usual configuration with another log format."""
    def serve(form):
        gateway.serve({**usual, "access-log": {"format": form, "path": str(gateway.access_log)}})
    return serve


# ---- JSON

def test_json_record_of_an_exchange(gateway, logged, origin):
    logged("json")
    with gateway.connect() as client:
        client.send(request("POST", "/json?q=1", "User-Agent: a \"quoted\" agent",
                            "Referer: http://r.example/", "X-Request-Id: no",
                            host="Shop.Example:81", body="12345"))
        served = origin.accept()
        request_id = served.receive_request()["X-Request-Id"]
        served.send(response(201, body="1234567"))
        assert client.receive_response().status == 201
    record = json.loads(record_of(gateway, "/json?q=1"))
    now = datetime.datetime.now(datetime.timezone.utc)
    assert abs(now - datetime.datetime.fromisoformat(record.pop("time"))) < datetime.timedelta(minutes=1)
    assert 0 < record.pop("response_head_us") <= record.pop("duration_us")
    assert record == {
        "client": "127.0.0.1", "method": "POST", "host": "shop.example:81", "target": "/json?q=1",
        "protocol": "HTTP/1.1",
        "status": 201, "request_bytes": 5, "response_bytes": 7, "listener": "web", "route": record["route"],
        "cluster": "origin",
        "endpoint": origin.endpoint, "request_id": request_id, "user_agent": 'a "quoted" agent',
        "referer": "http://r.example/",
    }


QUOTED = r'"([^"\\]|\\.)*"'
NASTY = ['"', "\\", "\\\"", "\xff\xfe", "\xc3\xa9", "\t", "</script>", "%00", "${jndi:x}", "a" * 3000,
         "\x80\"\\", "{\"a\":1}", "'"]


@pytest.mark.parametrize("form", ["json", "text", "combined"])
def test_nasty_bytes_break_no_record(gateway, logged, origin, form):
    logged(form)
    with gateway.connect() as client:
        for number, value in enumerate(NASTY):
            client.send(request("GET", f"/nasty-{form}-{number}-end", f"User-Agent: x{value}x",
                                f"Referer: y{value}y"))
            served, _ = origin.accept_request(f"/nasty-{form}-{number}-end")
            served.receive_request()
            served.send(response())
            assert client.receive_response().status == 200
    for number, value in enumerate(NASTY):
        line = record_of(gateway, f"/nasty-{form}-{number}-end")
        assert all(" " <= byte < "\x7f" for byte in line)
        if form == "json":
            record = json.loads(line)
            agent = record["user_agent"]
            assert agent == f"x{value}x"[:len(agent)] and len(agent) >= min(1000, len(value))
        if form == "combined":
            assert re.fullmatch(rf"127\.0\.0\.1 - - \[[^]]+\] {QUOTED} 200 0 {QUOTED} {QUOTED}", line)


@pytest.mark.parametrize("data, status, word", [
    (b"GET /bad-1 HTTP/1.1\r\nHost : a\r\n\r\n", 400, None), (b"G\x01T /bad-2 HTTP/1.1\r\n\r\n", 400, None),
    (b"GET /bad-3\"\\ HTTP/1.1\r\nHost: a\r\n\r\n", 400, None),
    (request(target="/none/x"), 503, "no-endpoint"),
    (request(target="/bad-4" + "a" * 4000), 414, None), (b"GET /bad-5 HTTP/3.0\r\n\r\n", 505, None),
])
def test_refused_requests_are_recorded(gateway, logged, origin, data, status, word):
    logged("json")
    size = gateway.access_log.stat().st_size if gateway.access_log.exists() else 0
    with gateway.connect() as client:
        assert client.exchange(data).status == status

    def fresh():
        with open(gateway.access_log, "rb") as file:
            file.seek(size)
            lines = file.read().decode().split("\n")[:-1]
        return [json.loads(line) for line in lines if f'"status":{status}' in line]

    record = wait_until("a record of the refusal", fresh)[0]
    assert record["status"] == status and record["error"] and (word is None or record["error"] == word)


def test_a_client_that_leaves_is_recorded(gateway, logged, origin):
    logged("json")
    with gateway.connect() as client:
        client.send(request(target="/leaves"))
        served = origin.accept()
        served.receive_request()
        client.reset()
        served.expect_closed()
    record = json.loads(record_of(gateway, "/leaves"))
    assert record["status"] == 0 and record["error"] == "client-gone"


def test_a_response_that_breaks_off_is_recorded(gateway, logged, origin):
    logged("json")
    with gateway.connect() as client:
        client.send(request(target="/breaks"))
        served = origin.accept()
        served.receive_request()
        served.send(head_of("HTTP/1.1 200 OK", "Content-Length: 10"), b"half ")
        served.close()
        client.receive_head()
        client.expect(b"half ")
        client.expect_closed()
    record = json.loads(record_of(gateway, "/breaks"))
    assert (record["status"], record["response_bytes"]) == (200, 5)
    assert record["error"] in ("origin-reset", "origin-protocol")


def test_the_client_behind_a_trusted_proxy_is_recorded(gateway, usual, origin):
    gateway.serve({**usual, "trusted-hops": 1})
    gateway.get("/respond/trusted", "X-Forwarded-For: 192.0.2.33")
    record = json.loads(record_of(gateway, "/respond/trusted"))
    assert (record["client"], record["peer"]) == ("192.0.2.33", "127.0.0.1")


# ---- the other formats

def test_combined(gateway, logged, origin):
    logged("combined")
    gateway.get("/respond/combined?x", "User-Agent: agent", "Referer: http://r.example/")
    line = record_of(gateway, "/respond/combined?x")
    assert re.fullmatch(r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "
                        r'"GET /respond/combined\?x HTTP/1\.1" 200 5 "http://r\.example/" "agent"', line)
    gateway.get("/respond/bare", version="HTTP/1.0")
    assert record_of(gateway, "/respond/bare").endswith('"GET /respond/bare HTTP/1.0" 200 5 "-" "-"')


def test_text(gateway, logged, origin):
    logged("text")
    gateway.get("/respond/text", host="t.example")
    line = record_of(gateway, "/respond/text")
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.match(when + r" 127\.0\.0\.1 GET t\.example /respond/text 200 0/5 \d+\.\d{3}s ", line)


def test_off(gateway, logged, origin):
    logged("off")
    gateway.get("/respond/unseen")
    logged("json")
    gateway.get("/respond/seen")
    record_of(gateway, "/respond/seen")
    assert records(gateway, "/respond/unseen") == []


def test_the_log_can_be_moved_away(gateway, logged, origin):
    logged("json")
    gateway.get("/respond/before")
    record_of(gateway, "/respond/before")
    moved = gateway.access_log.with_suffix(".moved")
    gateway.access_log.rename(moved)
    os.kill(gateway.holder.pid, signal.SIGUSR1)
    wait_until("the log is opened anew", gateway.access_log.exists)

    def is_written_to():  # what was on its way when the file was made may still go to the old one
        gateway.get("/respond/after")
        return records(gateway, "/respond/after")

    wait_until("records in the new log", is_written_to)
    assert "/respond/before" in moved.read_text()


def test_every_request_has_one_record(gateway, logged, origin):
    logged("json")
    with gateway.connect() as client:
        client.send(*(request(target=f"/respond/count-{number}-") for number in range(500)))
        for _ in range(500):
            assert client.receive_response().status == 200
    wait_until("500 records", lambda: len(records(gateway, "/respond/count-")) >= 500)
    targets = [json.loads(line)["target"] for line in records(gateway, "/respond/count-")]
    assert sorted(targets) == sorted(f"/respond/count-{number}-" for number in range(500))


# ---- metrics

def change_of(gateway, names, act):
    """By how much these counters grow while `act` runs."""
    before = {name: gateway.metric(name) for name in names}
    act()
    return {name: gateway.metric(name) - before[name] for name in names}


def test_counters_move(gateway, client, origin):
    names = ["requests_total", "responses_2xx_total", "responses_4xx_total", "responses_5xx_total",
             "responses_1xx_total",
             "origin_connects_total", "origin_reuses_total", "client_protocol_errors_total",
             "no_endpoint_total", "no_route_total"]

    def traffic():
        served = None
        for _ in range(3):
            client.send(request())
            served = served or origin.accept()
            served.receive_request()
            served.send(head_of("HTTP/1.1 103 Early Hints"), response())
            assert client.receive_response().status == 200
        assert client.exchange(request(target="/none")).status == 503
        assert client.exchange(request(target="/\x01")).status == 400

    assert change_of(gateway, names, traffic) == {
        "requests_total": 5, "responses_2xx_total": 3, "responses_4xx_total": 1, "responses_5xx_total": 1,
        "responses_1xx_total": 3,
        "origin_connects_total": 1, "origin_reuses_total": 2, "client_protocol_errors_total": 1,
        "no_endpoint_total": 1,
        "no_route_total": 0}


def test_bytes_are_counted(gateway, client, origin):
    def traffic():
        client.send(request("POST", body="x" * 100000))
        served = origin.accept()
        served.receive_request()
        served.send(response(body="y" * 200000))
        client.receive_response()

    change = change_of(gateway, ["client_received_bytes_total", "client_sent_bytes_total",
                                 "origin_received_bytes_total",
                                 "origin_sent_bytes_total"], traffic)
    for name, least in (("client_received", 100000), ("origin_sent", 100000), ("origin_received", 200000),
                        ("client_sent", 200000)):
        assert least <= change[f"{name}_bytes_total"] < least + 1000


def test_gauges_go_both_ways(gateway, client, origin):
    client.send(request())
    served = origin.accept()
    served.receive_request()
    assert gateway.metric("exchanges") == 1
    assert gateway.metric("origin_connections") == 1
    assert gateway.metric("connections") >= 1
    served.send(response())
    client.receive_response()
    gateway.wait_metric("exchanges", lambda count: count == 0)
    gateway.wait_metric("origin_idle_connections", lambda count: count == 1)


NAME = "(?:headgate|process)_[a-z0-9_]+"


def series(gateway, port=None):
    names = set()
    for line in gateway.metrics_text(port).splitlines():
        if line.startswith("#"):
            assert re.fullmatch(rf"# (HELP|TYPE) {NAME} .+", line)
        else:
            match = re.fullmatch(rf"({NAME}(?:{{[^}}]*}})?) -?[0-9.e+-]+", line)
            assert match, line
            assert match[1] not in names
            names.add(match[1])
    return names


def test_metrics_are_well_formed_and_few(gateway, origin):
    gateway.get("/respond/first")
    before = series(gateway)
    for number in range(50):  # what clients choose makes no series
        gateway.get(f"/respond/{number}", f"X-{number}: y", host=f"h{number}.example")
    assert series(gateway) == before
    assert 30 < len(before) < 400


def test_what_is_configured_makes_no_series(gateway, teller):
    """Of either daemon, however many clusters, rules and listeners there are, and whatever comes to them."""
    daemons = (gateway.admin_port, gateway.control_admin_port)
    gateway.serve(configure(gateway, [cluster("first", teller)]))
    before = [series(gateway, port) for port in daemons]
    names = [f"name-{number}" for number in range(50)]
    ports = [gateway.port_of(name) for name in names[:5]]
    gateway.serve(configure(gateway, [cluster(name, teller) for name in names], [under(f"/{name}", name) for name in names],
                            listeners=[listener(gateway), *(listener(gateway, name=f"on-{port}", address=f"127.0.0.1:{port}")
                                                            for port in ports)]))
    for name in names:
        assert gateway.get(f"/{name}").status == 200
    assert [series(gateway, port) for port in daemons] == before
    assert all(30 < len(found) < 400 for found in before)


def test_probes(gateway, origin):
    for port in (gateway.admin_port, gateway.control_admin_port):
        for probe in ("livez", "readyz", "startupz"):
            assert gateway.probe(port, probe) == 200
        assert gateway.probe(port, "other") == 404


def test_statsd(gateway, usual, origin):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(20)
        gateway.serve({**usual, "statsd": {"address": "127.0.0.1:%d" % statsd.getsockname()[1],
                                           "interval": "100ms", "prefix": "edge"}})
        gateway.get("/respond")
        seen = 0
        while seen == 0:  # until a push counts the request
            for line in statsd.recv(65536).decode().splitlines():
                match = re.fullmatch(r"(edge\.[a-z0-9_.]+):(-?[0-9.]+)\|([cg]|ms)", line)
                assert match, line
                if match[1].endswith("requests_total") and match[3] == "c":
                    seen += float(match[2])
    gateway.serve(usual)


def test_status_knows_the_data_plane(gateway, usual, origin):
    gateway.serve(usual)
    (plane,) = gateway.status()["data_planes"]
    assert (plane["node"], plane["state"]) == ("test", "in-sync")


def test_a_port_that_the_system_picks_is_told(gateway, usual, origin):
    config = configure(gateway, [cluster("origin", origin)], [under("/respond",
                                                                    {"respond": {"body": "picked\n"}})])
    config["listeners"].append({"name": "picked", "address": "127.0.0.1:0", "route-table": "site"})
    gateway.serve(config)

    def picked_address():
        (plane,) = gateway.status()["data_planes"]
        listeners = {one["name"]: one["addresses"] for one in plane.get("report", {}).get("listeners", [])}
        return listeners.get("picked")

    (address,) = wait_until("the report of the listener", picked_address)
    host, port = address.rsplit(":", 1)
    assert host == "127.0.0.1" and port != "0"
    with gateway.connect(int(port)) as client:
        assert client.exchange(request(target="/respond")).body == b"picked\n"
