"""The proxies that are measured: how each is configured, started with one worker, and found ready.

All do the same: take HTTP/1.1 on loopback, keep connections on both sides, name the client in X-Forwarded-For, write no
access log. Beyond that each has the defaults of its package. Where one needs memory for many connections its limit is raised.
"""
import os
import re

import load
from gateway import Gateway
from processes import Program, free_port, wait_until

NGINX = """
worker_processes 1;
daemon off;
pid {work}/nginx.pid;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    upstream origin {{
        server 127.0.0.1:{origin};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            {buffers}
        }}
    }}
}}
"""

HAPROXY = """
global
    nbthread 1
    maxconn {connections}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option forwardfor
    http-reuse always
frontend clients
    bind 127.0.0.1:{port}
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin}
"""

HEADGATE = """
access-log: {{format: "off"}}
limits: {{connections-per-ip: {connections}}}
listeners:
  - {{name: bench, address: "127.0.0.1:{port}", route-table: bench}}
route-tables:
  - name: bench
    hosts: [{{domains: ["*"], rules: [{{cluster: origin}}]}}]
clusters:
  - {{name: origin, endpoints: ["127.0.0.1:{origin}"]}}
"""

CONNECTIONS_MAX = 4000
FILES_MAX = 2 * CONNECTIONS_MAX + 200


class Proxy:
    """One proxy: `start` makes it serve on `port`, `programs` is then what runs."""

    name = ""
    signs = False               # whether responses carry a Via field
    scenarios = None            # the only ones it is measured in; None: all

    def __init__(self, place, cpu, log):
        self.place, self.cpu, self.log = place, cpu, log
        self.port, self.programs = None, []

    def version(self):
        """The version as the program says it, or None when it is not there."""
        raise NotImplementedError

    def start(self, origin_port):
        self.port = free_port()
        self.launch(origin_port)
        wait_until(f"{self.name} to answer on port {self.port}", lambda: load.answers(self.port), *self.programs)

    def launch(self, origin_port):
        raise NotImplementedError

    def run(self, arguments, **options):
        program = Program(self.name, arguments, self.cpu, self.log, **options)
        self.programs.append(program)
        return program

    def stop(self):
        while self.programs:
            self.programs.pop().stop()

    def pids(self):
        """Every process of the proxy."""
        return [pid for program in self.programs for pid in program.pids()]

    def traffic_pids(self):
        """Those whose memory depends on traffic: of a split gateway, not its control plane."""
        return self.pids()

    def write(self, name, text):
        path = self.place.work / name
        path.write_text(text)
        return self.place.inside(path)


class Floor(Proxy):
    """Forwards bytes and parses nothing."""

    name = "floor"
    scenarios = {"h1", "h1-64k"}

    def __init__(self, place, cpu, log, program):
        super().__init__(place, cpu, log)
        self.program = program

    def version(self):
        return "tests/bench/floor.c" if os.access(self.program, os.X_OK) else None

    def launch(self, origin_port):
        self.port = self.run([self.program, origin_port], prints_port=True).port


class Peer(Proxy):
    """A proxy of the distribution."""

    ask_version = ()
    version_pattern = r"([\d.]+)"

    def version(self):
        text = self.place.output(self.ask_version)
        found = re.search(self.version_pattern, text) if text else None
        return found[1] if found else None


class Nginx(Peer):
    name = "nginx"
    ask_version = ("nginx", "-v")
    version_pattern = r"nginx/([\d.]+)"
    buffers = ""

    def launch(self, origin_port):
        work = self.place.inside(self.place.work)
        path = self.write("nginx.conf", NGINX.format(work=work, files=FILES_MAX, origin=origin_port, port=self.port,
                                                     buffers=self.buffers))
        self.run(self.place.command(["nginx", "-e", "stderr", "-c", path]))


class NginxLarge(Nginx):
    """nginx with buffers that hold a whole large response: more memory for each response under way, far less work. Its
    defaults are what the comparison is about; this shows what they cost it."""

    name = "nginx-128k"
    scenarios = {"h1-64k"}
    buffers = "proxy_buffers 4 128k; proxy_buffer_size 128k; proxy_busy_buffers_size 128k;"


class Haproxy(Peer):
    name = "haproxy"
    ask_version = ("haproxy", "-v")
    version_pattern = r"version ([\d.]+)"

    def launch(self, origin_port):
        text = HAPROXY.format(connections=CONNECTIONS_MAX, origin=origin_port, port=self.port)
        self.run(self.place.command(["haproxy", "-db", "-f", self.write("haproxy.cfg", text)]))


class Nghttpx(Peer):
    name = "nghttpx"
    signs = True
    ask_version = ("nghttpx", "--version")
    version_pattern = r"nghttp2/([\d.]+)"

    def launch(self, origin_port):
        self.run(self.place.command([
            "nghttpx", "--conf=/dev/null", "--workers=1", "--log-level=ERROR", "--errorlog-file=/dev/stderr",
            "--add-x-forwarded-for", f"--frontend=127.0.0.1,{self.port};no-tls", f"--backend=127.0.0.1,{origin_port}"]))


class Headgate(Proxy):
    """This gateway: its holder with the data plane, and a control plane that has nothing to do once it has pushed."""

    name = "headgate"
    signs = True

    def __init__(self, place, cpu, log, programs):
        super().__init__(place, cpu, log)
        self.gateway = Gateway(programs, place.work, cpu)

    def version(self):
        return self.gateway.version()

    def launch(self, origin_port):
        self.gateway.start()
        self.programs = [self.gateway.control_plane, self.gateway.holder]
        self.gateway.wait_connected()
        self.gateway.push(HEADGATE.format(connections=CONNECTIONS_MAX, origin=origin_port, port=self.port))

    def stop(self):
        self.gateway.stop()
        self.programs = []

    def traffic_pids(self):
        return self.gateway.holder.pids()
