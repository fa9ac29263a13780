"""Programs that people have, with the gateway between them: nginx with HTTP/3 behind, curl and ngtcp2's client in front."""
import os
import pathlib
import socket
import subprocess

import pytest

import http3_peers
from gateway import wait_until
from passed import NAME, serve

MIB = 1 << 20
NGINX = """
user root;
worker_processes 1;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} quic;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{ root {folder}/files; }}
    }}
}}
"""


class Nginx:
    """It inherits its socket: no port is guessed."""

    def __init__(self, folder, certificate):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        (self.folder / "files").mkdir()
        (self.folder / "files" / "name").write_text(self.folder.name)
        (self.folder / "files" / "large").write_bytes(bytes(8 * MIB))
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        config = self.folder / "nginx.conf"
        config.write_text(NGINX.format(folder=self.folder, port=self.port, certificate=certificate[0], key=certificate[1]))
        fd = self.sock.fileno()
        self.process = subprocess.Popen([http3_peers.program("nginx"), "-c", config, "-p", self.folder], pass_fds=[fd],
                                        env={**os.environ, "NGINX": f"{fd};"}, stderr=subprocess.PIPE)

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()
        self.sock.close()


@pytest.fixture(scope="module")
def nginxes(tmp_path_factory, certificate):
    folder = tmp_path_factory.mktemp("nginx")
    made = [Nginx(folder / name, certificate) for name in ("first", "second")]
    for nginx in made:
        wait_until("nginx is there", lambda n=nginx: (n.folder / "nginx.pid").exists() or n.process.poll() is not None)
        assert nginx.process.poll() is None, nginx.process.stderr.read()
    yield made
    for nginx in made:
        nginx.close()


@pytest.fixture
def served(gateway, nginxes):
    first, second = nginxes
    routes = [{"server-names": ["a.test", "localhost"], "cluster": "first"}, {"server-names": "*.b.test", "cluster": "second"}]
    serve(gateway, {"first": [first], "second": [second]}, routes=routes)
    return gateway


def curl(gateway, host, target):
    port = gateway.port_of(NAME)
    command = [http3_peers.program("curl"), "--http3-only", "-sS", "-k", "--max-time", "20", "--resolve",
               f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/{target}"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_curl_and_nginx(served):
    assert curl(served, "a.test", "name") == b"first"
    assert curl(served, "x.b.test", "name") == b"second"
    assert len(curl(served, "a.test", "large")) == 8 * MIB


def test_ngtcp2_gets_another_port(served, tmp_path):
    """Before it asks for anything. To an address it says that it wants `localhost`."""
    port, before = served.port_of(NAME), served.metric("quic_pass_moved_total")
    command = [http3_peers.program("gtlsclient"), "-q", "--exit-on-all-streams-close", f"--download={tmp_path}",
               "--change-local-addr=50ms", "--nat-rebinding", "--delay-stream=300ms", "127.0.0.1", str(port),
               "https://localhost/large"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (tmp_path / "large").exists(), done.stderr.decode(errors="replace")[-2000:]
    assert (tmp_path / "large").stat().st_size == 8 * MIB
    assert served.metric("quic_pass_moved_total") == before + 1
