"""Origins that answer by themselves, for tests in which the dialogue behind the gateway does not matter: one
that tells in JSON what it received, and nginx with real files."""
import hashlib
import json
import os
import pathlib
import socket
import socketserver
import subprocess
import threading

from gateway import wait_until
from wire import Connection, response


class Teller(socketserver.ThreadingTCPServer):
    """Answers each request with what it saw: name, method, target, fields, length and SHA-256 of the body."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, name):
        self.name, self.lock, self.count, self.latest = name, threading.Lock(), 0, None
        super().__init__(("127.0.0.1", 0), TellerConnection)
        self.port = self.server_address[1]
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def __exit__(self, *error):
        self.shutdown()
        self.thread.join()
        super().__exit__(*error)

    def handle_error(self, request, client_address):
        pass  # the gateway closed; a test that minds sees it on its own side

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def wait_for_the_others(self):
        """Before each answer; for origins that are slow."""

    def take_count(self):
        """How many requests came since the last call."""
        with self.lock:
            count, self.count = self.count, 0
        return count


class TellerConnection(socketserver.BaseRequestHandler):
    def handle(self):
        with Connection(self.request, "the gateway") as connection:
            connection.sock.settimeout(None)
            while True:
                if not connection.buffer and not connection.more():
                    return
                message = connection.receive_request()
                self.server.wait_for_the_others()
                connection.send(self.answer(message))

    def answer(self, message):
        told = {"origin": self.server.name, "method": message.method, "target": message.target,
                "fields": message.fields,
                "length": len(message.body), "sha256": hashlib.sha256(message.body).hexdigest()}
        with self.server.lock:
            self.server.count += 1
            self.server.latest = message
        body = b"" if message.method == "HEAD" else json.dumps(told).encode()
        return response(200, "Content-Type: application/json", f"X-Origin: {self.server.name}", body=body)


NGINX = """
user root;
worker_processes 1;
daemon off;
master_process on;
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
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {folder}/files; dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""


class Nginx:
    """A real nginx, serving and storing the files of a folder. It inherits its listening socket: no port is guessed."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.files = self.folder / "files"
        self.files.mkdir()
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(511)
        self.port = self.sock.getsockname()[1]
        config = self.folder / "nginx.conf"
        config.write_text(NGINX.format(folder=self.folder, port=self.port))
        fd = self.sock.fileno()
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-c", config, "-p", self.folder], pass_fds=[fd],
                                        env={**os.environ, "NGINX": f"{fd};"}, stderr=subprocess.PIPE)

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()
        self.sock.close()


class Running:
    """HAProxy or nginx with a configuration; ready when its port takes connections."""

    def __init__(self, program, folder, config, port):
        self.port = port
        path = pathlib.Path(folder) / f"{program}.conf"
        path.write_text(config)
        command = {"haproxy": ["/usr/sbin/haproxy", "-db", "-f", path], "nginx": ["/usr/sbin/nginx", "-c", path, "-p", folder]}
        self.log = open(pathlib.Path(folder) / f"{program}.log", "w+b")
        self.process = subprocess.Popen(list(map(str, command[program])), stdout=self.log, stderr=self.log)

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def is_ready(self):
        assert self.process.poll() is None, self.said()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self):
        wait_until(f"{self.endpoint} is served", self.is_ready)
        return self

    def __exit__(self, *_error):
        self.process.terminate()
        self.process.wait()
        self.log.close()
