"""Programs that others have written on both sides: curl, h2load and ngtcp2's client in front; nginx, nghttpd and Caddy behind."""
import contextlib
import functools
import hashlib
import os
import re
import shutil
import subprocess

import pytest

import http3_peers
from configuration import cluster, configure, under
from gateway import free_port
from origins import Running
from pairs import IS_LONG
from wire import PATIENCE

SIZES = [0, 1, 16383, 16384, 16385, 1 << 20]
LARGE, LARGE_OVER_HTTP3 = 100 << 20, (100 if IS_LONG else 8) << 20
NGHTTPD = shutil.which("nghttpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CURLS = {"1.1": (False, ["--http1.1"]), "2": (False, ["--http2-prior-knowledge"]), "1.1-tls": (True, ["--http1.1"]),
         "2-tls": (True, ["--http2"])}
ORIGINS = ["nginx-1", "nginx-2", "nginx-1-tls", "nginx-2-tls", "nghttpd-2", "nghttpd-2-tls"]
OF_HTTP3 = []
if not http3_peers.reason:
    CURLS["3-tls"] = (True, ["--http3-only"])
    OF_HTTP3 = ["nginx-3-tls", "caddy-3-tls"]
STORING = [*ORIGINS[:4], *OF_HTTP3[:1]]  # with PUT
NGINX = """
user root;
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 1g;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    http2_max_requests 1000000;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    root {folder}/files; dav_methods PUT; create_full_put_path on;
    server {{ listen 127.0.0.1:{ports[0]}; }}
    server {{ listen 127.0.0.1:{ports[1]} http2; }}
    server {{ listen 127.0.0.1:{ports[2]} ssl; }}
    server {{ listen 127.0.0.1:{ports[3]} ssl http2; }}
}}
"""


NGINX_OF_HTTP3 = """
user root;
worker_processes 1;
daemon off;
pid {folder}/nginx3.pid;
error_log {folder}/error3.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 1g;
    client_body_temp_path {folder}/body3;
    proxy_temp_path {folder}/proxy3; fastcgi_temp_path {folder}/fcgi3; uwsgi_temp_path {folder}/uwsgi3;
    scgi_temp_path {folder}/scgi3;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    root {folder}/files; dav_methods PUT; create_full_put_path on;
    server {{ listen 127.0.0.1:{port} quic reuseport; listen 127.0.0.1:{port} ssl; }}
}}
"""
CADDY = """
{{
    admin off
    auto_https off
    skip_install_trust
}}
https://:{port} {{
    bind 127.0.0.1
    tls {certificate} {key}
    root * {folder}/files
    file_server
}}
"""


class Http3Server(Running):
    """Ready when it takes connections of TCP on the same port."""

    def __init__(self, program, folder, config, port):  # pylint: disable=super-init-not-called
        self.port = port
        path = folder / f"{program}3.conf"
        path.write_text(config)
        how = {"nginx": ["-e", "stderr", "-c", path], "caddy": ["run", "--adapter", "caddyfile", "--config", path]}[program]
        self.log = open(folder / f"{program}3.log", "w+b")
        self.process = subprocess.Popen([http3_peers.program(program), *how], stdout=self.log, stderr=self.log,
                                        env={**os.environ, "HOME": str(folder)})


class Nghttpd(Running):
    """nghttp2's own server; it sends back what is uploaded."""

    def __init__(self, folder, files, port, *tls):  # pylint: disable=super-init-not-called
        self.port = port
        self.log = open(folder / f"nghttpd-{port}.log", "w+b")
        how = [] if tls else ["--no-tls"]
        self.process = subprocess.Popen([NGHTTPD, "--echo-upload", "-a", "127.0.0.1", "-d", files, *how, str(port),
                                         *(tls[::-1] if tls else ())], stdout=self.log, stderr=self.log)


@functools.cache
def known_digest(path):
    """Of a file that does not change."""
    return digest(path)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture(scope="module", name="servers")
def servers_with_files(site, tmp_path_factory):
    """nginx on four ports and nghttpd on two, and a file of each size."""
    folder = tmp_path_factory.mktemp("programs")
    folder.chmod(0o755)
    files = folder / "files"
    files.mkdir()
    for size in {*SIZES, LARGE, LARGE_OVER_HTTP3}:
        (files / str(size)).write_bytes(os.urandom(size))
    certificate, key = map(str, site.pair_of_origin)
    ports = [free_port() for _ in ORIGINS]
    config = NGINX.format(folder=folder, certificate=certificate, key=key, ports=ports)
    with contextlib.ExitStack() as running:
        running.enter_context(Running("nginx", folder, config, ports[0]))
        running.enter_context(Nghttpd(folder, files, ports[4]))
        running.enter_context(Nghttpd(folder, files, ports[5], certificate, key))
        for name, text in zip(OF_HTTP3, (NGINX_OF_HTTP3, CADDY)):
            ports.append(free_port())
            text = text.format(folder=folder, certificate=certificate, key=key, port=ports[-1])
            running.enter_context(Http3Server(name.split("-", maxsplit=1)[0], folder, text, ports[-1]))
        yield dict(zip([*ORIGINS, *OF_HTTP3], ports)), files


@pytest.fixture(name="files")
def files_behind_the_gateway(site, servers):
    """One prefix for each origin."""
    ports, files = servers
    tls = {"tls": {"ca": str(site.authority.pem), "sni": "origin.example"}}
    clusters = [cluster(name, f"127.0.0.1:{port}", protocol=f"http{name.split('-')[1]}",
                        **(tls if "tls" in name else {})) for name, port in ports.items()]
    listeners = site.configuration()["listeners"]
    rules = [under(f"/{name}", name, rewrite={"prefix": "/"}) for name in ports]
    site.gateway.serve(configure(site.gateway, clusters, rules, listeners=listeners))
    yield files
    for name in ("exchanges", "buffered_bytes"):
        site.gateway.wait_metric(name, lambda count: count == 0)


def curl(site, version, target, *options):
    """Status of the answer, and the digest of its body."""
    is_secure, how = CURLS[version]
    port = site.port(is_secure)
    url = f"https://www.site.example:{port}{target}" if is_secure else f"http://127.0.0.1:{port}{target}"
    out = site.gateway.folder / "answer"
    trust = ["--cacert", site.authority.pem, "--resolve", f"www.site.example:{port}:127.0.0.1"]
    program = http3_peers.program("curl") if version.startswith("3") else "curl"
    done = subprocess.run([program, "-sS", "--max-time", str(PATIENCE * 2), *how, *trust, "-o", out, "-H", "Expect:",
                           "-w", "%{http_code} %{http_version}", *options, url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    status, spoken = done.stdout.split()
    assert spoken == version.split("-", maxsplit=1)[0]
    found = digest(out) if out.exists() else hashlib.sha256().hexdigest()
    out.unlink(missing_ok=True)
    return int(status), found


NEEDED = pytest.mark.skipif(not NGHTTPD, reason="nghttpd (Debian: nghttp2-server) is not installed")


def sizes(version, origin):
    """What is large over HTTP/3 is for the soak."""
    return [*SIZES, LARGE_OVER_HTTP3 if version.startswith("3") or origin in OF_HTTP3 else LARGE]


@NEEDED
@pytest.mark.parametrize("origin", [*ORIGINS, *OF_HTTP3])
@pytest.mark.parametrize("version", CURLS)
def test_downloads(site, files, version, origin):
    for size in sizes(version, origin):
        assert curl(site, version, f"/{origin}/{size}") == (200, known_digest(files / str(size))), size


@NEEDED
@pytest.mark.parametrize("origin", STORING)
@pytest.mark.parametrize("version", CURLS)
def test_uploads(site, files, version, origin):
    """nginx stores them."""
    for size in sizes(version, origin):
        status, _ = curl(site, version, f"/{origin}/up", "-T", str(files / str(size)))
        assert status in (201, 204)
        assert digest(files / "up") == known_digest(files / str(size)), size
        (files / "up").unlink()


@NEEDED
@pytest.mark.parametrize("origin", ORIGINS[4:])
@pytest.mark.parametrize("version", CURLS)
def test_both_ways(site, files, version, origin):
    """nghttpd sends back what it gets."""
    for size in sizes(version, origin):
        assert curl(site, version, f"/{origin}/", "-T", str(files / str(size))) == (200, known_digest(files / str(size))), size


@NEEDED
@pytest.mark.parametrize("origin", [*ORIGINS, *OF_HTTP3])
@pytest.mark.parametrize("version", [version for version in CURLS if version != "3-tls"])
def test_many_requests(site, files, version, origin):
    assert files
    is_secure, _ = CURLS[version]
    scheme = "https" if is_secure else "http"
    how = ["--h1", "-m1", "-c8"] if version.startswith("1") else ["-m20", "-c4"]
    done = subprocess.run(["h2load", "-t1", "-n2000", *how, f"{scheme}://127.0.0.1:{site.port(is_secure)}/{origin}/16385"],
                          capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
    assert re.search(r"\b2000 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout), done.stdout + done.stderr


@NEEDED
@pytest.mark.skipif(bool(http3_peers.reason), reason=str(http3_peers.reason))
@pytest.mark.parametrize("origin", ["nginx-1", "nginx-2-tls", *OF_HTTP3])
def test_the_client_of_ngtcp2(site, files, tmp_path, origin):
    """Twenty requests at once on one connection."""
    port, size = site.port(True), SIZES[-1]
    url = f"https://www.site.example:{port}/{origin}/{size}"
    done = subprocess.run([http3_peers.program("gtlsclient"), "-q", "--exit-on-all-streams-close", f"--download={tmp_path}",
                           "-n", "20", "127.0.0.1", str(port), url], capture_output=True, text=True, timeout=PATIENCE * 3,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert digest(tmp_path / str(size)) == known_digest(files / str(size))
