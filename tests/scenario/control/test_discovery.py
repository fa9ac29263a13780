"""Endpoints that are found: in DNS, with a real server whose answers change and fail, and in files."""
import http.server
import os
import shutil
import threading

import pytest

from dns_server import DnsServer, SlowDns
from planes import free_port, get, wait_until

if not shutil.which("unbound", path="/usr/sbin:/usr/bin"):
    pytest.skip("there is no unbound: deploy/bootstrap test installs it", allow_module_level=True)


class Origin(http.server.ThreadingHTTPServer):
    """Answers with its own address; one port, any address of 127.0.0.0/8."""

    daemon_threads = True

    class RequestHandlerClass(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.server.server_address[0].encode()
            # Checks alone are told that it is unwell: requests go on to work until it is left alone.
            is_check = self.headers.get("User-Agent", "").startswith("headgate")
            self.send_response(503 if is_check and body.decode() in self.server.sick else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    def __init__(self, host, port, sick):
        self.sick = sick
        super().__init__((host, port), Origin.RequestHandlerClass)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def stop(self):
        self.shutdown()
        self.server_close()
        self.thread.join()


class Load:
    """Requests one after the other until it is stopped; what came back."""

    def __init__(self, address):
        self.address, self.answers, self.failures, self.is_over = address, [], [], False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.is_over:
            status, body = get(self.address)
            (self.answers if " 200 " in status else self.failures).append(body if " 200 " in status else status)

    def wait_only(self, *hosts):
        """Until many answers in a row came from just these, and from all of them."""
        def look():
            recent = self.answers[-20:]
            return len(recent) == 20 and set(recent) == set(hosts)
        start = len(self.answers)
        wait_until("requests go on", lambda: len(self.answers) >= start + 20 or self.failures)
        wait_until(f"only {hosts} answer", look)

    def stop(self):
        self.is_over = True
        self.thread.join()


@pytest.fixture
def dns(folders):
    server = DnsServer(folders.folder)
    yield server
    server.stop()


@pytest.fixture
def slow(dns):
    """In front of `dns`."""
    server = SlowDns(dns)
    yield server
    server.stop()


@pytest.fixture
def origins():
    """A function that starts origins on addresses with one port; it returns the port. Those in its `sick` fail checks."""
    started, sick = [], set()

    def start(*hosts):
        while True:
            port = free_port()
            try:
                for host in hosts:
                    started.append(Origin(host, port, sick))
                return port
            except OSError:
                while started:
                    started.pop().stop()

    start.sick = sick
    yield start
    for origin in started:
        origin.stop()


def configuration(**cluster):
    """One listener, everything to one cluster."""
    return {
        "listeners": [{"name": "web", "address": "127.0.0.1:0", "route-table": "site"}],
        "route-tables": [{"name": "site", "hosts": [{"domains": ["*"], "rules": [{"cluster": "web"}]}]}],
        "clusters": [{"name": "web", **cluster}],
    }


def in_dns(dns, name, **more):
    return configuration(discovery={"dns": {"name": name, "servers": dns.address, "failure-refresh": "1s", "timeout": "1s",
                                            **more}})


def cluster(site, name="web"):
    return next(c for c in site.status()["clusters"] if c["name"] == name)


def addresses(site, name="web"):
    return sorted(e["address"] for e in cluster(site, name).get("endpoints", []))


def wait_addresses(site, *expected):
    wait_until(f"the endpoints are {expected}", lambda: addresses(site) == sorted(expected))


def wait_failure(site, text):
    wait_until(f"a failure says {text!r}", lambda: text in cluster(site).get("discovery", {}).get("failure", ""))


def serve(site, content, *expected):
    """Pushes and starts a data plane; the listener's address."""
    assert site.push(content).code == 0
    wait_addresses(site, *expected)
    site.start_data_plane("a")
    report = wait_until("the listener is told",
                        lambda: (site.wait_data_plane("a").get("report") or {}).get("listeners"))
    return report[0]["addresses"][0]


def test_endpoints_follow_dns_without_a_failed_request(site, dns, origins):
    port = origins("127.0.0.1", "127.0.0.2", "127.0.0.3")
    dns.start("web.test. 1 IN A 127.0.0.1")
    address = serve(site, in_dns(dns, "web.test", port=port, records="a"), f"127.0.0.1:{port}")
    load = Load(address)
    try:
        load.wait_only("127.0.0.1")
        dns.change("web.test. 1 IN A 127.0.0.1", "web.test. 1 IN A 127.0.0.2")
        load.wait_only("127.0.0.1", "127.0.0.2")
        dns.change("web.test. 1 IN A 127.0.0.3")
        load.wait_only("127.0.0.3")
    finally:
        load.stop()
    assert not load.failures
    assert cluster(site)["endpoints"][0]["source"] == "dns"
    assert site.metric("discovery_asked_total", kind="dns") >= 3
    assert site.metric("endpoint_generations_total") >= 3 and site.version() == 1


def test_a_slow_answer_is_awaited_and_holds_up_no_other(site, dns, slow, origins):
    port = origins("127.0.0.1", "127.0.0.2")
    dns.start("web.test. 1 IN A 127.0.0.1", "quick.test. 1 IN A 127.0.0.3")
    content = in_dns(slow, "web.test", port=port, records="a", timeout="60s")
    found = content["clusters"][0]["discovery"]["dns"]
    content["clusters"].append({"name": "quick", "discovery": {"dns": {**found, "name": "quick.test"}}})
    address = serve(site, content, f"127.0.0.1:{port}")
    load = Load(address)
    try:
        slow.hold("web.test")
        wait_until("it is asked", lambda: slow.waiting)
        dns.change("web.test. 1 IN A 127.0.0.2", "quick.test. 1 IN A 127.0.0.4")
        wait_until("the other one follows", lambda: addresses(site, "quick") == [f"127.0.0.4:{port}"])
        load.wait_only("127.0.0.1")
        assert addresses(site) == [f"127.0.0.1:{port}"] and "failure" not in cluster(site)["discovery"]
        slow.release()  # and whoever asks again waits: what is used from now on can only be this answer
        load.wait_only("127.0.0.2")
    finally:
        load.stop()
    assert not load.failures and addresses(site) == [f"127.0.0.2:{port}"]


def test_every_failure_keeps_the_last_answer(site, dns):
    good = ["web.test. 1 IN A 127.0.0.1", "web.test. 1 IN AAAA ::1"]
    dns.start(*good)
    both = ("127.0.0.1:80", "[::1]:80")
    assert site.push(in_dns(dns, "web.test", port=80)).code == 0
    wait_addresses(site, *both)
    dns.change()
    wait_failure(site, "NXDOMAIN")
    assert addresses(site) == sorted(both)
    assert any("NXDOMAIN" in p["message"] and p["resource"] == "cluster/web" for p in site.status()["problems"])
    dns.change("web.test. 1 IN TXT nothing")
    wait_failure(site, "no such records")
    assert addresses(site) == sorted(both)
    dns.change(*good)
    wait_until("it works again", lambda: "failure" not in cluster(site)["discovery"])
    dns.pause()
    wait_failure(site, "no DNS server answered in time")
    assert addresses(site) == sorted(both)
    dns.resume()
    wait_until("it works again", lambda: "failure" not in cluster(site)["discovery"])
    dns.stop()
    wait_failure(site, "the DNS server cannot be reached")
    assert addresses(site) == sorted(both)
    assert site.metric("discovery_failing", kind="dns") == 1
    assert any(r["message"] == "discovery failed" for r in site.control.records())


@pytest.mark.parametrize("name, said", [("x.broken.test", "SERVFAIL"), ("x.refused.test", "REFUSED")])
def test_until_the_first_answer_the_declared_endpoints_count(site, dns, name, said):
    dns.start()
    content = in_dns(dns, name, port=80, records="a")
    content["clusters"][0]["endpoints"] = ["127.0.0.9:9"]
    assert site.push(content).code == 0
    wait_failure(site, said)
    assert addresses(site) == ["127.0.0.9:9"] and cluster(site)["endpoints"][0]["source"] == "static"


def test_servers_with_priority_weight_and_port(site, dns, origins):
    port = origins("127.0.0.1", "127.0.0.2")
    addresses_of = ["one.test. 60 IN A 127.0.0.1", "two.test. 60 IN A 127.0.0.2"]
    service = "_http._tcp.web.test."
    dns.start(f"{service} 1 IN SRV 10 0 {port} one.test.", f"{service} 1 IN SRV 20 7 {port} two.test.", *addresses_of)
    address = serve(site, in_dns(dns, service.rstrip("."), records="srv"), f"127.0.0.1:{port}", f"127.0.0.2:{port}")
    found = {e["address"]: (e["priority"], e["weight"]) for e in cluster(site)["endpoints"]}
    assert found == {f"127.0.0.1:{port}": (0, 1), f"127.0.0.2:{port}": (1, 7)}
    assert {get(address)[1] for _ in range(10)} == {"127.0.0.1"}  # the other one has a lower priority
    dns.change(f"{service} 1 IN SRV 5 1 {port} two.test.", *addresses_of)
    wait_addresses(site, f"127.0.0.2:{port}")
    wait_until("the data plane follows", lambda: get(address)[1] == "127.0.0.2")
    # A server that loses its addresses keeps them as long as SRV names it; one that never had any is left out.
    dns.change(f"{service} 1 IN SRV 5 1 {port} two.test.", f"{service} 1 IN SRV 5 1 {port} ghost.test.")
    wait_failure(site, "ghost.test")
    assert addresses(site) == [f"127.0.0.2:{port}"]
    assert "SRV _http._tcp.web.test" in site.ok("status").out and "failing" in site.ok("status").out


@pytest.mark.parametrize("count, left_out", [(6, "6 servers are left out"), (1, "1 server is left out")])
def test_more_servers_than_are_used_are_told(site, dns, origins, count, left_out):
    port = origins("127.0.0.1")
    service, other = "_http._tcp.many.test.", [p for p in range(20000, 21100) if p != port][:1023 + count]
    records = [f"{service} 1 IN SRV 10 0 {port} one.test.", *(f"{service} 1 IN SRV 20 0 {p} one.test." for p in other)]
    dns.start("one.test. 60 IN A 127.0.0.1", *records)
    endpoints = [f"127.0.0.1:{p}" for p in sorted([port, *other[:1023]])]
    content = in_dns(dns, service.rstrip("."), records="srv", timeout="30s")  # no other failure comes between
    address = serve(site, content, *sorted(endpoints))
    said = f"{left_out}: of one SRV answer the first 1024 by priority and name are used"
    wait_failure(site, said)
    warning = site.control.wait_record(message="discovery failed", cluster="web", reason=said)
    assert warning["level"] == "warning"
    assert site.metric("discovery_left_out", kind="dns") == count
    assert left_out in site.ok("status").out
    wait_until("it is found again and again", lambda: site.metric("discovery_asked_total", kind="dns") >= 4)
    assert sum(r.get("reason") == said for r in site.control.records()) == 1  # told when it begins
    assert {get(address)[1] for _ in range(10)} == {"127.0.0.1"}


def test_a_restart_without_dns_serves_what_was_stored(site, dns, origins):
    port = origins("127.0.0.1")
    dns.start("web.test. 1 IN A 127.0.0.1")
    content = in_dns(dns, "web.test", port=port, records="a")
    address = serve(site, content, f"127.0.0.1:{port}")
    wait_until("the state is stored", lambda: site.metric("endpoint_saves_total") >= 1)
    dns.stop()
    site.control.kill()
    site.start_control_plane()
    assert addresses(site) == [f"127.0.0.1:{port}"]
    wait_failure(site, "the DNS server cannot be reached")
    assert cluster(site)["endpoints"][0]["source"] == "stored"
    assert get(address)[1] == "127.0.0.1"
    site.wait_data_plane("a")
    dns.start("web.test. 1 IN A 127.0.0.2")
    wait_addresses(site, f"127.0.0.2:{port}")
    assert cluster(site)["endpoints"][0]["source"] == "dns"


def test_names_that_many_clusters_share_are_asked_for_once(site, dns):
    dns.start("web.test. 3600 IN A 127.0.0.1")
    content = in_dns(dns, "web.test", port=80, records="a", timeout="60s")  # a late answer is not asked for once more
    first = content["clusters"][0]
    content["clusters"] += [{**first, "name": f"web{i}"} for i in range(50)]
    assert site.push(content).code == 0
    wait_until("all have it", lambda: all(c.get("endpoints") for c in site.status()["clusters"]))
    assert dns.queries("web.test") == 1 and site.metric("dns_queries_total") == 1


def test_endpoints_in_a_file(folders, origins):
    site, port = folders, origins("127.0.0.1", "127.0.0.2")
    volume = site.folder / "volume"
    volume.mkdir()
    site.start_control_plane("--files-root", site.folder)
    for n in (1, 2):
        site.write(f"volume/..{n}/list.yaml", f"- {{address: '127.0.0.{n}:{port}', weight: {n}}}\n")
    (volume / "..data").symlink_to("..1")
    (volume / "list.yaml").symlink_to("..data/list.yaml")
    address = serve(site, configuration(discovery={"file": str(volume / "list.yaml")}), f"127.0.0.1:{port}")
    load = Load(address)
    try:
        load.wait_only("127.0.0.1")
        (volume / "..tmp").symlink_to("..2")
        os.rename(volume / "..tmp", volume / "..data")
        load.wait_only("127.0.0.2")
        (volume / "..2/list.yaml").write_text("- 127.0.0.3:80\n- {adress: 127.0.0.1:80}\n")
        wait_failure(site, 'list.yaml:2:4: endpoints[1].adress: unknown key "adress"')
        assert addresses(site) == [f"127.0.0.2:{port}"]
        (volume / "..2/list.yaml").write_text(f'["127.0.0.1:{port}"]')
        load.wait_only("127.0.0.1")
        (volume / "list.yaml").unlink()
        wait_failure(site, "cannot be read: No such file or directory")
        assert addresses(site) == [f"127.0.0.1:{port}"]
    finally:
        load.stop()
    assert not load.failures and cluster(site)["endpoints"][0]["source"] == "file"


def test_a_failing_check_takes_an_endpoint_out_until_it_is_well(site, origins):
    port = origins("127.0.0.1", "127.0.0.2")
    check = {"http": "/", "interval": "200ms", "unhealthy-interval": "100ms", "unhealthy-after": 2, "healthy-after": 2}
    content = configuration(endpoints=[f"127.0.0.1:{port}", f"127.0.0.2:{port}"], health=check)
    address = serve(site, content, f"127.0.0.1:{port}", f"127.0.0.2:{port}")

    def wait_health(*expected):
        wait_until(f"health is {expected}", lambda: [e["health"] for e in cluster(site)["endpoints"]] == list(expected))

    wait_health("healthy", "healthy")
    load = Load(address)
    try:
        load.wait_only("127.0.0.1", "127.0.0.2")
        origins.sick.add("127.0.0.2")
        wait_health("healthy", "unhealthy")
        load.wait_only("127.0.0.1")
        last = cluster(site)["endpoints"][1]
        assert "503" in last["last_failure"] and last["failed_at"] > 0
        assert any("is unhealthy" in r.get("message", "") and r["address"] == f"127.0.0.2:{port}" for r in site.control.records())
        assert site.metric("health_unhealthy") == 1 and site.metric("health_endpoints") == 2
        assert site.control.stop() == 0  # saves what was not yet
        load.wait_only("127.0.0.1")
        site.start_control_plane()
        assert [e["health"] for e in cluster(site)["endpoints"]] == ["healthy", "unhealthy"]
        origins.sick.clear()
        wait_health("healthy", "healthy")
        load.wait_only("127.0.0.1", "127.0.0.2")
    finally:
        load.stop()
    assert not load.failures and site.version() == 1
    assert "127.0.0.2" in site.ok("status").out and "LAST FAILURE" in site.ok("status").out


def test_a_cluster_without_a_healthy_endpoint_is_told(site, origins):
    port = origins("127.0.0.1")
    origins.sick.add("127.0.0.1")
    check = {"http": "/", "interval": "200ms", "unhealthy-interval": "100ms", "unhealthy-after": 1}
    assert site.push(configuration(endpoints=[f"127.0.0.1:{port}"], health=check)).code == 0

    def told():
        return [p["message"] for p in site.status()["problems"] if p.get("resource") == "cluster/web"]

    wait_until("it is told", lambda: told() == ["its endpoint is unhealthy"])
    over_quic = configuration(endpoints=[f"127.0.0.1:{port}"], health=check, protocol="http3", tls={"insecure": True})
    pushed = site.push(over_quic)
    assert pushed.code == 0 and "checks are made over TCP" in pushed.out + pushed.err
    unhealthy = "its endpoint is unhealthy: checks are made over TCP, and the cluster speaks HTTP/3"
    wait_until("it is told how it is checked", lambda: unhealthy in told())


def test_a_cluster_that_leaves_takes_its_endpoints_with_it(site, dns):
    dns.start("web.test. 1 IN A 127.0.0.1")
    content = in_dns(dns, "web.test", port=80, records="a")
    assert site.push(content).code == 0
    wait_addresses(site, "127.0.0.1:80")
    generation = site.status()["generation"]
    assert site.push(configuration(endpoints=["127.0.0.7:7"])).code == 0
    assert addresses(site) == ["127.0.0.7:7"]
    assert site.status()["generation"] == generation + 1
    assert "discovery" not in cluster(site)
    site.ok("rollback")
    wait_addresses(site, "127.0.0.1:80")
