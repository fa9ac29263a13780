"""Real files of a real nginx, up and down, with checksums; and common clients."""
import hashlib
import os
import pathlib
import socket
import subprocess
import tempfile
import threading

import pytest

from configuration import cluster, configure
from gateway import resident_bytes
from wire import head_of, request

MIB = 1 << 20
SIZES = [0, 1, 65536, MIB, 100 * MIB]


@pytest.fixture
def served(gateway, nginx):
    """nginx behind the gateway; the folder of its files."""
    gateway.serve(configure(gateway, [cluster("files", nginx)]))
    yield nginx.files
    for path in nginx.files.iterdir():
        path.unlink()


@pytest.fixture
def folder():
    """For the client's files; they are large, so they go with the test."""
    with tempfile.TemporaryDirectory(prefix="headgate-files-") as name:
        yield pathlib.Path(name)


def make_file(path, size):
    """Random bytes; returns their SHA-256."""
    block = os.urandom(MIB)
    with open(path, "wb") as file:
        for left in range(size, 0, -MIB):
            file.write(block[:min(left, MIB)])
    return checksum(path)


def checksum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def curl(*arguments, stdin=os.devnull):
    with open(stdin, "rb") as given:
        done = subprocess.run(["curl", "-sS", "--max-time", "60", *map(str, arguments)], stdin=given,
                              capture_output=True, text=True,
                              check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("size", SIZES)
def test_down(gateway, served, folder, size):
    expected = make_file(served / f"down-{size}", size)
    before = gateway.metric("client_sent_bytes_total")
    status = curl(f"http://127.0.0.1:{gateway.port}/down-{size}", "-o", folder / "got", "-w",
                  "%{http_code} %{size_download}",
                  "--create-dirs")
    assert status == f"200 {size}"
    if size:  # curl makes no file for nothing
        assert checksum(folder / "got") == expected
    assert gateway.metric("client_sent_bytes_total") - before >= size


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", SIZES)
def test_up(gateway, served, folder, size, framing):
    expected = make_file(folder / "sent", size)
    source = folder / "sent" if framing == "length" else "-"  # what comes from a pipe has no length
    status = curl("-T", source, f"http://127.0.0.1:{gateway.port}/up-{framing}-{size}", "-o",
                  folder / "answer",
                  "-w", "%{http_code}", stdin=folder / "sent")
    assert status == "201"
    assert checksum(served / f"up-{framing}-{size}") == expected


def test_memory_does_not_grow_with_the_file(gateway, served, folder):
    make_file(served / "large", 100 * MIB)
    pid = gateway.dataplane_pid()
    curl(f"http://127.0.0.1:{gateway.port}/large", "-o", folder / "got")
    before = resident_bytes(pid)
    for _ in range(3):
        curl(f"http://127.0.0.1:{gateway.port}/large", "-o", folder / "got")
    assert resident_bytes(pid) - before < 16 * MIB


def test_ranges_and_conditions(gateway, served):
    (served / "text").write_bytes(b"0123456789")
    with gateway.connect() as client:
        answer = client.exchange(request("GET", "/text", "Range: bytes=2-5"))
        assert (answer.status, answer.body, answer["Content-Range"]) == (206, b"2345", "bytes 2-5/10")
        answer = client.exchange(request("GET", "/text"))
        assert answer.body == b"0123456789"
        again = client.exchange(request("GET", "/text", f"If-None-Match: {answer['ETag']}"))
        assert (again.status, again.body) == (304, b"")
        assert client.exchange(request("GET", "/absent")).status == 404
        assert client.exchange(request("DELETE", "/text")).status == 204
        assert client.exchange(request("HEAD", "/text"), to="HEAD").status == 404


def test_many_downloads_at_once(gateway, served):
    """Readers of different speed; each gets every byte of its own file."""
    sums = [make_file(served / f"many-{number}", 3 * MIB + number) for number in range(8)]
    got = [None] * 8

    def download(number):
        with gateway.connect(receive_buffer=2048 << number) as client:
            got[number] = hashlib.sha256(client.exchange(request("GET", f"/many-{number}")).body).hexdigest()

    threads = [threading.Thread(target=download, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == sums


def test_an_upload_in_the_smallest_pieces(gateway, served):
    body = os.urandom(5000)
    with gateway.connect() as client:
        client.send(head_of("PUT /pieces HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"))
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        for byte in body:
            client.send(b"1\r\n%c\r\n" % byte)
        client.send(b"0\r\n\r\n")
        assert client.receive_response().status == 201
    assert (served / "pieces").read_bytes() == body


def test_curl_reuses_its_connection(gateway, served):
    (served / "small").write_bytes(b"small")
    url = f"http://127.0.0.1:{gateway.port}/small"
    lines = curl(*[url] * 5, "-w", "%{num_connects}\n").replace("small", "").split()
    assert lines == ["1", "0", "0", "0", "0"]
