"""HTTP/1.1 clients, the gateway, and origins that speak HTTP/2: nginx, nghttpd, and one that the test plays."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from configuration import cluster, configure, under
from gateway import Gateway, free_port, wait_until
from h2_origin import CANCEL, INITIAL_WINDOW_SIZE, LAST_STREAM_OF_ALL, NO_ERROR, REFUSED_STREAM, Asking, FrameOrigin
from origins import Running
from wire import PATIENCE, chunked, head_of, request

SIZES = [0, 1, 1000, 16384, 65535, 65536, 1 << 20, 10 << 20, 100 << 20]
NGHTTPD = shutil.which("nghttpd")
NGINX = """
user root; worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_max_body_size 1g; keepalive_requests 1000000; client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} http2;
        listen 127.0.0.1:{tls_port} ssl http2;
        listen 127.0.0.1:{old_port} ssl;
        ssl_certificate {folder}/site.pem;
        ssl_certificate_key {folder}/site.key;
        location / {{ root {folder}/files; dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""


@pytest.fixture(scope="module", name="gateway")
def gateway_of_one_worker():
    """Connections to origins belong to a worker: all requests here meet on them."""
    gateway = Gateway(workers=1)
    try:
        yield gateway.start()
    finally:
        gateway.stop()


# ---- origins that others have written

class Site:
    """Files of all sizes, and nginx and nghttpd that serve them."""

    def __init__(self, folder):
        self.folder, self.files = pathlib.Path(folder), pathlib.Path(folder) / "files"
        self.files.mkdir()
        some = os.urandom(1 << 20)
        for size in SIZES:
            with open(self.files / str(size), "wb") as file:
                for at in range(0, size, len(some)):
                    file.write(some[:size - at])
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=origin.test", "-addext", "subjectAltName=DNS:origin.test", "-days", "2",
                        "-keyout", self.folder / "site.key", "-out", self.folder / "site.pem"],
                       check=True, capture_output=True)
        self.ports = {name: free_port() for name in ("nginx", "nginx-tls", "nginx-old", "nghttpd")}

    def start(self, stack):
        config = NGINX.format(folder=self.folder, port=self.ports["nginx"], tls_port=self.ports["nginx-tls"],
                              old_port=self.ports["nginx-old"])
        stack.append(Running("nginx", self.folder, config, self.ports["nginx"]))
        if NGHTTPD:
            stack.append(Nghttpd(self.files, self.ports["nghttpd"]))
        for origin in stack:
            origin.__enter__()
        return self

    def clusters(self, trusted):
        tls = {"ca": str(trusted), "sni": "origin.test"}
        parts = {"nginx": {}, "nginx-tls": {"tls": tls}, "nginx-old": {"tls": tls}, "nghttpd": {}}
        return [cluster(name, f"127.0.0.1:{self.ports[name]}", protocol="http2", **more) for name, more in parts.items()]


class Nghttpd:
    """nghttp2's own server: sends back what is uploaded."""

    def __init__(self, folder, port):
        self.port = port
        self.process = subprocess.Popen([NGHTTPD, "--no-tls", "--echo-upload", "-a", "127.0.0.1", "-d", folder, str(port)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    is_ready = Running.is_ready
    endpoint = Running.endpoint

    def said(self):
        return "nghttpd ended"

    def __enter__(self):
        wait_until("nghttpd is there", self.is_ready)

    def __exit__(self, *_error):
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module", name="site")
def site_of_files():
    with tempfile.TemporaryDirectory(prefix="headgate-h2-") as folder:
        stack = []
        try:
            yield Site(folder).start(stack)
        finally:
            for origin in stack:
                origin.__exit__()


@pytest.fixture(name="files")
def files_behind_the_gateway(gateway, site):
    trusted = shutil.copy(site.folder / "site.pem", gateway.folder)
    clusters = site.clusters(trusted)
    rules = [under(f"/{part['name']}", part["name"], rewrite={"prefix": "/"}) for part in clusters]
    config = configure(gateway, clusters, rules)
    gateway.serve(config)
    return site


def curl(gateway, target, *options):
    """Status and SHA-256 of the answer, which is read as it comes."""
    process = subprocess.Popen(["curl", "-sS", "--max-time", str(PATIENCE * 2), "-D", "-", "-o", "-", *map(str, options),
                                f"http://127.0.0.1:{gateway.port}{target}"], stdout=subprocess.PIPE)
    digest, head = hashlib.sha256(), b""
    while b"\r\n\r\n" not in head or head.startswith(b"HTTP/1.1 100"):
        if head.startswith(b"HTTP/1.1 100") and b"\r\n\r\n" in head:
            head = head.split(b"\r\n\r\n", 1)[1]
            continue
        more = process.stdout.read1(65536)
        assert more, head
        head += more
    head, body = head.split(b"\r\n\r\n", 1)
    digest.update(body)
    while more := process.stdout.read1(1 << 20):
        digest.update(more)
    assert process.wait() == 0
    return int(head.split()[1]), digest.hexdigest()


def sum_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else \
            hashlib.sha256(file.read()).hexdigest()


NEEDS_NGHTTPD = pytest.mark.skipif(not NGHTTPD, reason="nghttpd (Debian: nghttp2-server) is not installed")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("origin", ["nginx", "nginx-tls", pytest.param("nghttpd", marks=NEEDS_NGHTTPD)])
def test_downloads(gateway, files, origin, size):
    status, found = curl(gateway, f"/{origin}/{size}")
    assert (status, found) == (200, sum_of(files.files / str(size)))


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("origin", ["nginx", "nginx-tls"])
def test_uploads(gateway, files, origin, size):
    status, _ = curl(gateway, f"/{origin}/up-{origin}-{size}", "-T", files.files / str(size))
    assert status in (201, 204)
    stored = files.files / f"up-{origin}-{size}"
    assert sum_of(stored) == sum_of(files.files / str(size))
    stored.unlink()


@NEEDS_NGHTTPD
@pytest.mark.parametrize("length, size", [*(("known", size) for size in SIZES), *(("unknown", size) for size in SIZES[1:])])
def test_both_ways_at_once(gateway, files, size, length):
    options = ["-X", "PUT", "-T", files.files / str(size)]
    if length == "unknown":  # of an empty file curl would not send the end
        options += ["-H", "Transfer-Encoding: chunked"]
    status, found = curl(gateway, "/nghttpd/", *options)
    assert (status, found) == (200, sum_of(files.files / str(size)))


def test_an_origin_that_does_not_agree_on_http2(gateway, files):
    assert files
    answer = gateway.get("/nginx-old/1")
    assert answer.status == 503


def test_many_requests_share_few_connections(gateway, files):
    assert files
    before = gateway.metric("origin_connects_total")
    done = subprocess.run(["h2load", "--h1", "-t1", "-n5000", "-c50", f"http://127.0.0.1:{gateway.port}/nginx/1000"],
                          capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout
    assert gateway.metric("origin_connects_total") - before <= 4


# ---- an origin that the test plays

@pytest.fixture(name="played")
def played_origin(gateway):
    with FrameOrigin() as origin:
        gateway.serve(configure(gateway, [cluster("origin", origin, protocol="http2")], timeouts={"response-head": "20s"}))
        yield origin
        origin.drop_connections()
        gateway.wait_metric("origin_connections", lambda count: count == 0)


def ask_by_ping(gateway, origin, interval):
    """After this long without a word from the origin; it has as long to answer."""
    gateway.serve(configure(gateway, [cluster("origin", origin, protocol="http2", http2={"ping-interval": interval})]))


def test_what_an_origin_sees(gateway, played):
    asking = Asking(gateway, request("GET", "/a?b", "X-Mixed: Case", "Connection: x-hop", "X-Hop: 1", "TE: trailers",
                                     "Cookie: a=b; c=d"))
    got = played.accept_http2().request()
    pseudo = dict(got.fields[:4])
    assert pseudo == {":method": "GET", ":scheme": "http", ":authority": "test.example", ":path": "/a?b"}
    names = [name for name, _ in got.fields]
    assert not {"host", "connection", "x-hop", "keep-alive", "transfer-encoding", "upgrade"} & set(names)
    assert all(name == name.lower() for name in names)
    assert got["x-mixed"] == "Case" and got["te"] == "trailers" and got["cookie"] == "a=b; c=d"
    got.answer(200, ("x-served", "yes"), body=b"hello")
    answer = asking.answer()
    assert (answer.status, answer.body, answer["X-Served"]) == (200, b"hello", "yes")


def test_interim_responses_and_trailers(gateway, played):
    asking = Asking(gateway, head_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: X-Sum"),
                    chunked("abc", trailers=("X-Sum: 1",)))
    got = played.accept_http2().request().wait_end()
    assert (got.body, got.trailers.get("x-sum")) == (b"abc", "1")
    got.head(103, ("link", "</style>"))
    got.head(200).data(b"body")
    got.trail(("x-check", "2"))
    answer = asking.answer()
    assert [head.status for head in answer.interim] == [103]
    assert (answer.body, answer.trailers.get("X-Check")) == (b"body", "2")


def test_an_early_answer_to_a_large_upload(gateway, played):
    with gateway.connect() as client:
        client.send(head_of("POST / HTTP/1.1", "Host: a", "Content-Length: 10000000"), b"x" * 10000)
        served = played.accept_http2(opens_streams=False)
        got = served.request()
        got.answer(413, body=b"too large")
        got.refuse(NO_ERROR)
        answer = client.receive_response()
        assert (answer.status, answer.body) == (413, b"too large")
    asking = Asking(gateway, request())
    served.request().answer(200)  # the connection lives on
    assert asking.answer().status == 200


def test_refused_requests_are_sent_again(gateway, played):
    asking = Asking(gateway, request("POST", "/", body=b""))
    served = played.accept_http2()
    served.request().refuse()
    served.request().answer(200, body=b"second")
    assert asking.answer().body == b"second"


def test_an_answer_that_was_taken_back_is_asked_for_again(gateway, played):
    """Nothing of it was written, and the rule allows another attempt after a reset."""
    config = configure(gateway, [cluster("origin", played, protocol="http2")])
    config["route-tables"][0]["hosts"][0]["rules"] = [{"cluster": "origin", "retry": {"retries": 1, "on": ["reset"]}}]
    gateway.serve(config)
    asking = Asking(gateway, request(target="/taken-back"))
    served = played.accept_http2()
    got = served.request()
    with served.in_one_piece():
        got.head(200, ("x-attempt", "first")).data(b"some").refuse(CANCEL)
    served.request().answer(200, ("x-attempt", "second"), body=b"whole")
    answer = asking.answer()
    assert (answer.status, answer.body, answer["X-Attempt"]) == (200, b"whole", "second")
    record = gateway.wait_log(lambda record: record["target"] == "/taken-back")
    assert (record["status"], record["attempts"], record["response_bytes"]) == (200, 2, len(b"whole"))


def test_an_answer_that_was_taken_back_is_no_stale_connection(gateway, played):
    """Without such a rule a GET is sent again only when its kept connection was closed before anything came."""
    asking = Asking(gateway, request())
    served = played.accept_http2()
    served.request().answer(200)
    assert asking.answer().status == 200
    for code in (CANCEL, REFUSED_STREAM):
        asking = Asking(gateway, request())
        got = served.request()
        with served.in_one_piece():
            got.head(200).refuse(code)
        assert asking.answer().status == 502


def test_a_refused_upload_begins_anew(gateway, played):
    body = os.urandom(12000)
    asking = Asking(gateway, head_of("POST / HTTP/1.1", "Host: a", f"Content-Length: {len(body)}"), body)
    served = played.accept_http2()
    got = served.request()
    got.wait(lambda got: len(got.body) > 0)
    got.refuse()
    again = served.request().wait_end()
    assert again.body == body
    again.answer(200, body=b"second")
    assert asking.answer().body == b"second"


def test_requests_above_the_last_stream_move(gateway, played):
    first = Asking(gateway, request("POST", "/1", body=b""))
    served = played.accept_http2()
    kept = served.request()
    second = Asking(gateway, request("POST", "/2", body=b""))
    served.request()
    served.go_away(LAST_STREAM_OF_ALL)
    served.go_away(kept.stream)
    moved = played.accept_http2().request()
    assert moved.target == "/2"
    moved.answer(200, body=b"moved")
    assert second.answer().body == b"moved"
    kept.answer(200, body=b"stayed")
    assert first.answer().body == b"stayed"
    served.receive_all()  # and is closed then


def test_a_stream_without_window_stops_no_other(gateway, played):
    with gateway.connect() as stuck:
        stuck.send(head_of("POST /stuck HTTP/1.1", "Host: a", "Content-Length: 10000000"))
        served = played.accept_http2((INITIAL_WINDOW_SIZE, 1000), opens_streams=False)
        held = served.request()
        stuck.send_until_full(b"x" * 9000000)
        held.wait(lambda got: len(got.body) >= 1000)
        for number in range(5):
            asking = Asking(gateway, request("POST", f"/{number}", body="short"))
            got = served.request().wait_end()
            assert got.body == b"short"
            got.answer(200, body=b"x" * 100000)
            assert len(asking.answer().body) == 100000
        assert gateway.metric("buffered_bytes") < 2 << 20
        stuck.reset()
        assert held.wait_end().reset == CANCEL


def test_a_client_that_leaves_is_told_to_the_origin(gateway, played):
    with gateway.connect() as client:
        client.send(request())
        got = played.accept_http2().request()
        client.reset()
        assert got.wait(lambda request_: request_.reset is not None).reset == CANCEL


def test_a_silent_origin_is_asked_and_waited_for(gateway, played):
    ask_by_ping(gateway, played, "2s")
    asking = Asking(gateway, request())
    served = played.accept_http2()
    got = served.request()
    served.receive_while(lambda: served.pings < 2)
    got.answer(200, body=b"late")
    assert asking.answer().body == b"late"


def test_a_dead_connection_is_noticed(gateway, played):
    """The origin's machine is gone: nothing is answered, and nothing is reset."""
    ask_by_ping(gateway, played, "1s")
    asking = Asking(gateway, request("POST", "/", body=b""))
    served = played.accept_http2()
    served.request()
    assert asking.answer().status == 502
    assert b"alive?" in served.receive_all()


def test_a_broken_origin_harms_only_its_own_requests(gateway, played):
    asking = Asking(gateway, request())
    served = played.accept_http2()
    served.request()
    served.send_frame(0, 0, 0, b"data on the connection itself")
    assert asking.answer().status == 502
    served.receive_while(lambda: served.goaway is None)
    assert served.goaway[1] == 1  # PROTOCOL_ERROR
    again = Asking(gateway, request())
    played.accept_http2().request().answer(200)
    assert again.answer().status == 200
