"""The proxies that are measured: how each is configured, started with one worker, and found ready.

All do the same: take HTTP/1.1 on one port of loopback, and HTTP/1.1 and HTTP/2 over TLS on another, with HTTP/3 on the UDP port
of the same number where they can; keep connections on both sides, name the client in X-Forwarded-For, write no access log.
Beyond that each has the defaults of its package. Where one needs memory for many connections its limit is raised.
"""
import os
import re

import load
from gateway import Gateway
from processes import Program, free_port, wait_until
from tls_material import NAME

NGINX = """
worker_processes 1;
daemon off;
pid {work}/nginx.pid;
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
    upstream origin {{
        server 127.0.0.1:{origin};
        keepalive {kept};
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl {http2};
        {http3}
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {work}/bench.pem;
        ssl_certificate_key {work}/bench.key;
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
    bind 127.0.0.1:{tls_port} ssl crt {pair} alpn h2,http/1.1
    {http3}
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin}
"""

HEADGATE = """
access-log: {{format: "off"}}
limits: {{connections-per-ip: {connections}, requests-per-connection: 1000000000}}
listeners:
  - {{name: plain, address: "127.0.0.1:{port}", route-table: bench}}
  - name: tls
    address: "127.0.0.1:{tls_port}"
    route-table: bench
    protocols: [http1, http2, http3]
    tls: {{certificates: [{{certificate: {work}/bench.pem, key: {work}/bench.key}}]}}
  - {{name: far, address: "127.0.0.1:{far_port}", route-table: far}}
route-tables:
  - name: bench
    hosts: [{{domains: ["*"], rules: [{{cluster: origin}}]}}]
  - name: far
    hosts: [{{domains: ["*"], rules: [{{cluster: itself}}]}}]
clusters:
  - {{name: itself, endpoints: ["127.0.0.1:{tls_port}"], protocol: http3, tls: {{ca: {work}/bench.pem, sni: {sni}}}}}
  - {{name: origin, endpoints: ["127.0.0.1:{origin}"], idle-connections: {kept}, requests-per-connection: 1000000000}}
"""

CONNECTIONS_MAX = 4000
FILES_MAX = 2 * CONNECTIONS_MAX + 200
# Of QUIC nginx counts streams as connections, and closes idle ones when it has no more room.
NGINX_SLOTS = 4 * FILES_MAX
# Connections to the origin that are kept; HTTP/2 has 256 requests under way.
KEPT = 512


def openssl_inside(path):
    """The version of OpenSSL as a library or a program contains it."""
    found = re.search(rb"OpenSSL (\d+\.\d+\.\d+) ", path.read_bytes())
    return found[1].decode() if found else None


class Proxy:
    """One proxy: `start` makes it serve on `port`, and with TLS on `tls_port`; `programs` is then what runs. At `far_port` this
    gateway takes itself at `tls_port` for an origin of HTTP/3."""

    name = ""
    signs = False               # whether responses carry a Via field
    scenarios = None            # the only ones it is measured in; None: all

    def __init__(self, place, cpu, log, material):
        self.place, self.cpu, self.log, self.material = place, cpu, log, material
        self.port, self.tls_port, self.far_port, self.programs = None, None, None, []

    def version(self):
        """The version as the program says it, or None when it is not there."""
        raise NotImplementedError

    def openssl(self):
        """The version of its OpenSSL, or None."""
        raise NotImplementedError

    def speaks_http3(self):
        return False

    def start(self, origin_port):
        self.port, self.tls_port = free_port(), free_port()
        self.write("bench.pem", self.material.certificate)
        self.write("bench.key", self.material.key)
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

    def __init__(self, place, cpu, log, material, program):
        super().__init__(place, cpu, log, material)
        self.program = program

    def version(self):
        return "tests/bench/floor.c" if os.access(self.program, os.X_OK) else None

    def openssl(self):
        return None

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

    def openssl(self):
        libraries = self.place.output(["sh", "-c", f"ldd $(command -v {self.ask_version[0]})"])
        found = re.search(r"libcrypto\.so\S* => (/\S+)", libraries)
        return openssl_inside(self.place.outside(found[1])) if found else None


class Nginx(Peer):
    name = "nginx"
    ask_version = ("nginx", "-v")
    version_pattern = r"nginx/([\d.]+)"
    buffers = ""

    def launch(self, origin_port):
        work = self.place.inside(self.place.work)
        is_old = tuple(map(int, self.version().split("."))) < (1, 25, 1)
        path = self.write("nginx.conf", NGINX.format(
            work=work, files=FILES_MAX, connections=NGINX_SLOTS, origin=origin_port, port=self.port, tls_port=self.tls_port, kept=KEPT,
            http2="http2" if is_old else "; http2 on", buffers=self.buffers,
            http3=f"listen 127.0.0.1:{self.tls_port} quic reuseport;" if self.speaks_http3() else ""))
        self.run(self.place.command(["nginx", "-e", "stderr", "-c", path]))

    def speaks_http3(self):
        return "http_v3_module" in self.place.output(["nginx", "-V"])


class NginxLarge(Nginx):
    """nginx with buffers that hold a whole large response: more memory for each response under way, far less work. Its
    defaults are what the comparison is about; this shows what they cost it."""

    name = "nginx-128k"
    scenarios = {"h1-64k", "h2-64k", "h3-64k"}
    buffers = "proxy_buffers 4 128k; proxy_buffer_size 128k; proxy_busy_buffers_size 128k;"


class Haproxy(Peer):
    name = "haproxy"
    ask_version = ("haproxy", "-v")
    version_pattern = r"version ([\d.]+)"

    def launch(self, origin_port):
        pair = self.write("pair.pem", self.material.certificate + self.material.key)
        http3 = f"bind quic4@127.0.0.1:{self.tls_port} ssl crt {pair} alpn h3" if self.speaks_http3() else ""
        text = HAPROXY.format(connections=CONNECTIONS_MAX, origin=origin_port, port=self.port, tls_port=self.tls_port,
                              pair=pair, http3=http3)
        self.run(self.place.command(["haproxy", "-db", "-f", self.write("haproxy.cfg", text)]))

    def speaks_http3(self):
        """With the layer over an OpenSSL that it cannot use for QUIC, which has to be asked for, it is another one's figure."""
        features = self.place.output(["haproxy", "-vv"])
        return "+QUIC" in features and "+QUIC_OPENSSL_COMPAT" not in features


class Nghttpx(Peer):
    name = "nghttpx"
    signs = True
    ask_version = ("nghttpx", "--version")
    version_pattern = r"nghttp2/([\d.]+)"

    def launch(self, origin_port):
        work = self.place.inside(self.place.work)
        self.run(self.place.command([
            "nghttpx", "--conf=/dev/null", "--workers=1", "--log-level=ERROR", "--errorlog-file=/dev/stderr",
            "--add-x-forwarded-for", f"--frontend=127.0.0.1,{self.port};no-tls", f"--frontend=127.0.0.1,{self.tls_port}",
            f"--backend=127.0.0.1,{origin_port}", f"{work}/bench.key", f"{work}/bench.pem"]))


class Headgate(Proxy):
    """This gateway: its holder with the data plane, and a control plane that has nothing to do once it has pushed."""

    name = "headgate"
    signs = True

    def __init__(self, place, cpu, log, material, programs):
        super().__init__(place, cpu, log, material)
        self.gateway = Gateway(programs, place.work, cpu)

    def version(self):
        return self.gateway.version()

    def openssl(self):
        return openssl_inside(self.gateway.folder / "headgate-dataplane")

    def launch(self, origin_port):
        self.gateway.start()
        self.programs = [self.gateway.control_plane, self.gateway.holder]
        self.gateway.wait_connected()
        self.far_port = free_port()
        self.gateway.push(HEADGATE.format(
            connections=CONNECTIONS_MAX, origin=origin_port, port=self.port, far_port=self.far_port, tls_port=self.tls_port,
            work=self.place.work, kept=KEPT, sni=NAME))

    def stop(self):
        self.gateway.stop()
        self.programs = []

    def speaks_http3(self):
        return True

    def traffic_pids(self):
        return self.gateway.holder.pids()
