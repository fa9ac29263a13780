"""A published comparison, repeated: a gateway with a control plane of its own beside nginx `random two`, three origins, power
of two choices, and `hey` with 250 connections. Its author's gateway served 1.18 times the requests of nginx.

All have as many workers as the machine has CPUs, and nothing is pinned: load, origins and proxy share the CPUs, as they did
there. What `hey` itself takes is most of it, so a ratio says less than CPU per request does; both are told."""
import os
import re
import subprocess

import load
import proxies
from processes import Begun, BenchError, Program, cpu_seconds

NAME, TITLE = "thesis", "three origins, power of two choices, hey"
ORIGINS, CONNECTIONS, PUBLISHED = 3, 250, 1.18
SIZE = 12

NGINX = """
worker_processes {workers};
daemon off;
pid {work}/{name}.pid;
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    upstream origins {{
        random two;
        {servers}
        {keep}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://origins;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            {reuse}
        }}
    }}
}}
"""

HEADGATE = """
access-log: {{format: "off"}}
limits: {{connections-per-ip: {connections}, requests-per-connection: 1000000000}}
listeners:
  - {{name: plain, address: "127.0.0.1:{port}", route-table: bench}}
route-tables:
  - name: bench
    hosts: [{{domains: ["*"], rules: [{{cluster: origins}}]}}]
clusters:
  - {{name: origins, balancer: least-request, endpoints: [{servers}], idle-connections: {kept},
     requests-per-connection: 1000000000}}
"""


class Nginx(proxies.Nginx):
    name = "nginx"
    keep, reuse = "", ""

    def launch(self, origin_ports):
        path = self.write(f"{self.name}.conf", NGINX.format(
            workers=os.cpu_count(), work=self.place.inside(self.place.work), name=self.name, files=proxies.FILES_MAX,
            connections=proxies.CONNECTIONS_MAX, port=self.port, keep=self.keep, reuse=self.reuse,
            servers=" ".join(f"server 127.0.0.1:{port};" for port in origin_ports)))
        self.run(self.place.command(["nginx", "-e", "stderr", "-c", path]))


class NginxKept(Nginx):
    """With connections to origins that are kept, which it does not do unless told."""

    name = "nginx-kept"
    keep = f"keepalive {proxies.KEPT}; keepalive_requests 1000000000;"
    reuse = 'proxy_http_version 1.1; proxy_set_header Connection "";'


class Headgate(proxies.Headgate):
    def launch(self, origin_ports):
        self.gateway.workers = os.cpu_count()
        self.gateway.start()
        self.programs = [self.gateway.control_plane, self.gateway.holder]
        self.gateway.wait_connected()
        servers = ", ".join(f'"127.0.0.1:{port}"' for port in origin_ports)
        self.gateway.push(HEADGATE.format(connections=proxies.CONNECTIONS_MAX, port=self.port, servers=servers,
                                          kept=proxies.KEPT))


KINDS = {"headgate": (Headgate,), "nginx": (Nginx, NginxKept)}


def hey(port, requests):
    """(requests a second, p99 in milliseconds) of so many requests, all of which were answered with 200."""
    connections = min(CONNECTIONS, requests)
    done = subprocess.run(["hey", "-n", str(requests), "-c", str(connections), f"http://127.0.0.1:{port}/{SIZE}"],
                          capture_output=True, text=True, check=False)
    speed = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p99 = re.search(r"99% in ([\d.]+) secs", done.stdout)
    statuses = re.findall(r"\[(\d+)\]\s+(\d+) responses", done.stdout)
    if not speed or not p99 or statuses != [("200", str(requests))]:
        raise BenchError(f"hey saw errors:\n{done.stdout}{done.stderr}")
    return float(speed[1]), 1000 * float(p99[1])


def served(origins):
    """By each of them."""
    return [load.served(origin.port) for origin in origins]


def run_once(proxy, origins, requests):
    before, cpu = served(origins), sum(cpu_seconds(proxy.pids()))
    speed, p99 = hey(proxy.port, requests)
    cpu, shares = sum(cpu_seconds(proxy.pids())) - cpu, [b - a for a, b in zip(before, served(origins))]
    if sum(shares) != requests:
        raise BenchError(f"hey made {requests} requests, the origins saw {sum(shares)}")
    return {"requests": requests, "requests_per_second": speed, "p99_ms": p99, "cpu_us": 1e6 * cpu / requests,
            "fullest_share": max(shares) / requests}


class Comparison(Begun):
    """Three origins and the proxies before them, all running; rounds take turns."""

    def __init__(self, host, place, material, tools, programs):
        self.host, self.place, self.material, self.tools, self.programs = host, place, material, tools, programs
        self.origins, self.proxies = [], []

    def begin(self):
        for i in range(ORIGINS):
            self.origins.append(Program(f"origin-{i}", [self.tools / "origin", SIZE], None,
                                        self.host.work / f"origin-{i}.log", prints_port=True))

    def stop(self):
        for proxy in self.proxies:
            proxy.stop()
        for origin in self.origins:
            origin.stop()

    def start(self, name):
        """The proxies of one that is measured."""
        for kind in KINDS.get(name, ()):
            place, log = self.host if name == "headgate" else self.place, self.host.work / f"thesis-{kind.name}.log"
            proxy = kind(place, None, log, self.material, *([self.programs] if name == "headgate" else []))
            self.proxies.append(proxy)
            proxy.start([origin.port for origin in self.origins])

    def round(self, requests):
        """(proxy, figures) of each."""
        for proxy in self.proxies:
            load.check_response(proxy.port, SIZE, proxy.signs)
            yield proxy, run_once(proxy, self.origins, requests)
