"""Programs that others have written on both sides: curl and h2load in front, nginx and nghttpd behind."""
import functools
import hashlib
import os
import re
import shutil
import subprocess

import pytest

from configuration import cluster, configure, under
from gateway import free_port
from origins import Running
from wire import PATIENCE

SIZES = [0, 1, 16383, 16384, 16385, 1 << 20]
LARGE = 100 << 20
NGHTTPD = shutil.which("nghttpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CURLS = {"1.1": (False, ["--http1.1"]), "2": (False, ["--http2-prior-knowledge"]), "1.1-tls": (True, ["--http1.1"]),
         "2-tls": (True, ["--http2"])}
ORIGINS = ["nginx-1", "nginx-2", "nginx-1-tls", "nginx-2-tls", "nghttpd-2", "nghttpd-2-tls"]
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
    for size in [*SIZES, LARGE]:
        (files / str(size)).write_bytes(os.urandom(size))
    certificate, key = map(str, site.pair_of_origin)
    ports = [free_port() for _ in ORIGINS]
    config = NGINX.format(folder=folder, certificate=certificate, key=key, ports=ports)
    with Running("nginx", folder, config, ports[0]), Nghttpd(folder, files, ports[4]), \
            Nghttpd(folder, files, ports[5], certificate, key):
        yield dict(zip(ORIGINS, ports)), files


@pytest.fixture(name="files")
def files_behind_the_gateway(site, servers):
    """One prefix for each origin."""
    ports, files = servers
    tls = {"tls": {"ca": str(site.authority.pem), "sni": "origin.example"}}
    clusters = [cluster(name, f"127.0.0.1:{port}", protocol="http2" if "-2" in name else "http1",
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
    done = subprocess.run(["curl", "-sS", "--max-time", str(PATIENCE * 2), *how, *trust, "-o", out, "-H", "Expect:",
                           "-w", "%{http_code} %{http_version}", *options, url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    status, spoken = done.stdout.split()
    assert spoken == version.split("-", maxsplit=1)[0]
    found = digest(out) if out.exists() else hashlib.sha256().hexdigest()
    out.unlink(missing_ok=True)
    return int(status), found


NEEDED = pytest.mark.skipif(not NGHTTPD, reason="nghttpd (Debian: nghttp2-server) is not installed")


@NEEDED
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("version", CURLS)
def test_downloads(site, files, version, origin):
    for size in [*SIZES, LARGE]:
        assert curl(site, version, f"/{origin}/{size}") == (200, known_digest(files / str(size))), size


@NEEDED
@pytest.mark.parametrize("origin", ORIGINS[:4])
@pytest.mark.parametrize("version", CURLS)
def test_uploads(site, files, version, origin):
    """nginx stores them."""
    for size in [*SIZES, LARGE]:
        status, _ = curl(site, version, f"/{origin}/up", "-T", str(files / str(size)))
        assert status in (201, 204)
        assert digest(files / "up") == known_digest(files / str(size)), size
        (files / "up").unlink()


@NEEDED
@pytest.mark.parametrize("origin", ORIGINS[4:])
@pytest.mark.parametrize("version", CURLS)
def test_both_ways(site, files, version, origin):
    """nghttpd sends back what it gets."""
    for size in [*SIZES, LARGE]:
        assert curl(site, version, f"/{origin}/", "-T", str(files / str(size))) == (200, known_digest(files / str(size))), size


@NEEDED
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("version", CURLS)
def test_many_requests(site, files, version, origin):
    assert files
    is_secure, _ = CURLS[version]
    scheme = "https" if is_secure else "http"
    how = ["--h1", "-m1", "-c8"] if version.startswith("1") else ["-m20", "-c4"]
    done = subprocess.run(["h2load", "-t1", "-n2000", *how, f"{scheme}://127.0.0.1:{site.port(is_secure)}/{origin}/16385"],
                          capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
    assert re.search(r"\b2000 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout), done.stdout + done.stderr
