"""`headgate run`: one command, everything in the foreground, and an orderly end."""
import fcntl
import http.server
import os
import pathlib
import signal
import socket
import subprocess
import threading

import pytest
import yaml

from certificates import Authority
from planes import COMPLAINTS, PATIENCE, PROGRAMS, free_port, get, wait_until


class Running:
    """A `headgate run` that is under way."""

    def __init__(self, site, *arguments):
        self.site, self.log = site, site.folder / "run.log"
        with open(self.log, "wb") as file:
            self.process = subprocess.Popen(
                [PROGRAMS / "headgate", "run", "--controlplane-admin", "off", "--dataplane-admin", "127.0.0.1:0", "--workers", "1",
                 "--node", "here", *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=site.environment)

    def text(self):
        return self.log.read_text(errors="replace")

    def wait_text(self, text):
        def look():
            assert self.process.poll() is None or text in self.text(), self.text()
            return text in self.text()
        wait_until(text, look)

    def children(self):
        """name -> pid of what runs below it."""
        found = {}
        pids = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in pids:
            found[pathlib.Path(f"/proc/{pid}/comm").read_text().strip()] = int(pid)
        return found

    def stop(self, how=signal.SIGINT):
        self.process.send_signal(how)
        code = self.process.wait(PATIENCE)
        assert not COMPLAINTS.search(self.text()), self.text()
        return code


@pytest.fixture
def run(folders):
    started = []

    def start(*arguments):
        started.append(Running(folders, *arguments))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture
def origin():
    """The address of a server that says "from the origin"."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", "15")
            self.end_headers()
            self.wfile.write(b"from the origin")

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def is_running(pid):
    """Not ended; one that has ended and that nobody waited for counts as gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def answers(port, body):
    try:
        return get(f"127.0.0.1:{port}")[1] == body
    except OSError:
        return False


def responding(port, body):
    return yaml.safe_dump({
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}", "route-table": "site"}],
        "route-tables": [{"name": "site", "hosts": [{"domains": ["*"], "rules": [{"respond": {"status": 200, "body": body}}]}]}],
    })


def test_one_line(run, folders, origin):
    port = free_port()
    running = run("--listen", f"127.0.0.1:{port}", "--to", origin)
    running.wait_text("is running")
    assert f"curl -i http://127.0.0.1:{port}/" in running.text()
    assert get(f"127.0.0.1:{port}") == ("HTTP/1.1 200 OK", "from the origin")
    assert folders.status()["data_planes"][0]["node"] == "here"
    pids = running.children()
    assert running.stop() == 0
    assert not any(map(is_running, pids.values()))
    assert not answers(port, "from the origin")


def test_how_to_ask_a_listener_with_tls(run, folders):
    pair = Authority(folders.folder / "authority").pair(folders.folder / "certs", "site", ["example.com"])
    plain, secure = free_port(), free_port()
    configuration = yaml.safe_load(responding(plain, "one"))
    tls = {"certificates": [dict(zip(("certificate", "key"), map(str, pair)))]}
    configuration["listeners"].append({"name": "web-tls", "address": f"127.0.0.1:{secure}", "route-table": "site", "tls": tls})
    running = run(folders.write("gateway.yaml", configuration))
    running.wait_text("is running")
    said = running.text()
    assert f"curl -i http://127.0.0.1:{plain}/" in said and f"curl -ik https://127.0.0.1:{secure}/" in said, said


def test_a_second_one_needs_folders_of_its_own(run, folders, origin):
    """It would write what the first one watches, and take its control plane for its own."""
    port = free_port()
    run("--listen", f"127.0.0.1:{port}", "--to", origin).wait_text("is running")
    second = folders.headgate("run", "--listen", f"127.0.0.1:{free_port()}", "--to", origin)
    assert second.code == 1 and "another headgate run has" in second.err, second
    elsewhere = folders.headgate("run", "--state-dir", folders.folder / "elsewhere", "--listen", "127.0.0.1:0", "--to", origin)
    assert elsewhere.code == 1 and "another headgate run has" in elsewhere.err, elsewhere
    assert folders.version() == 1 and answers(port, "from the origin")


def test_one_folder_for_all_may_have_two_names(run, folders, origin):
    both = folders.folder / "both"
    run("--runtime-dir", both, "--state-dir", f"{both}/", "--listen", f"127.0.0.1:{free_port()}", "--to",
        origin).wait_text("is running")


def test_its_control_socket_may_be_elsewhere(run, folders, origin):
    path = folders.folder / "elsewhere.sock"
    run("--control-socket", path, "--listen", f"127.0.0.1:{free_port()}", "--to", origin).wait_text("is running")
    assert folders.ok("status", "--control-socket", path, "-o", "json").json["version"] == 1


def test_one_that_was_killed_a_moment_ago_is_waited_for(run, folders, origin):
    folders.state.mkdir(exist_ok=True)
    claimed = os.open(folders.state, os.O_RDONLY)
    fcntl.flock(claimed, fcntl.LOCK_EX)
    running = run("--listen", f"127.0.0.1:{free_port()}", "--to", origin)
    running.wait_text(f"another one has {folders.state}: waiting for its end")
    os.close(claimed)
    running.wait_text("is running")


def test_its_control_plane_is_waited_for(run, folders, origin):
    """That gives back its store after its sockets."""
    elsewhere = folders.folder / "elsewhere"
    elsewhere.mkdir()
    folders.state.mkdir(exist_ok=True)
    control = folders.start("headgate-controlplane", "--admin-listen", "off", "--runtime-dir", elsewhere)
    control.wait_record(message="control plane started")
    running = run("--listen", f"127.0.0.1:{free_port()}", "--to", origin)
    running.wait_text(f"another one has {folders.state}/store: waiting for its end")
    assert control.stop() == 0
    running.wait_text("is running")


def test_a_control_plane_that_is_there_is_left_alone(site):
    """The daemons apart, and `headgate run` in their folder of sockets."""
    done = site.headgate("run", "--state-dir", site.folder / "elsewhere", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1")
    assert done.code == 1 and "a control plane has" in done.err, done
    assert site.status().get("version", 0) == 0


def test_a_file_and_its_edits(run, folders):
    port = free_port()
    path = folders.write("gateway.yaml", responding(port, "one"))
    running = run(path)
    running.wait_text("is running")
    assert answers(port, "one")
    path.write_text("nonsense: [\n")
    running.wait_text("changes nothing")
    assert answers(port, "one")
    path.write_text(responding(port, "two"))
    wait_until("the next good edit is served", lambda: answers(port, "two"))
    assert running.stop(signal.SIGTERM) == 0


def test_a_control_plane_that_dies_is_started_again(run, folders):
    port = free_port()
    path = folders.write("gateway.yaml", responding(port, "one"))
    running = run(path)
    running.wait_text("is running")
    for _ in range(2):
        before = running.children()["headgate-contro"]
        os.kill(before, signal.SIGKILL)
        wait_until("another one", lambda: running.children().get("headgate-contro", before) != before)
        assert answers(port, "one")
    path.write_text(responding(port, "two"))
    wait_until("it does its work", lambda: answers(port, "two"))


def test_a_first_start_with_a_bad_file_ends(run, folders):
    running = run(folders.write("bad.yaml", "listenerz: []\n"))
    assert running.process.wait(PATIENCE) == 1
    assert 'did you mean "listeners"' in running.text()


def test_a_later_start_with_a_bad_file_serves_what_was_good(run, folders):
    port = free_port()
    path = folders.write("gateway.yaml", responding(port, "one"))
    first = run(path)
    first.wait_text("is running")
    assert first.stop() == 0
    path.write_text("listenerz: []\n")
    second = run(path)
    second.wait_text("the last good version is served")
    wait_until("it is", lambda: answers(port, "one"))


def test_an_admin_address_in_use_ends_it(run, folders):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        running = run(folders.write("gateway.yaml", responding(free_port(), "one")), "--controlplane-admin", address)
        assert running.process.wait(PATIENCE) == 1
        assert f"cannot bind {address}: Address already in use" in running.text()
        assert running.text().count("cannot start") == 1


def test_an_admin_address_in_use_of_the_data_plane_is_told(run, folders):
    """It serves all the same."""
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        running = run(folders.write("gateway.yaml", responding(port, "one")), "--dataplane-admin", address)
        running.wait_text("is running")
        assert answers(port, "one")
        told = next(line for line in running.text().splitlines() if "no admin listener" in line)
        assert address in told and "in use" in told


def test_an_address_in_use_is_told(run, folders):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = run(folders.write("gateway.yaml", responding(port, "one")))
        running.wait_text("this is not served yet")
        assert "listener/web" in running.text() and f"127.0.0.1:{port}" in running.text()


def test_wrong_usage(run, folders):
    assert run("--listen", "127.0.0.1:1").process.wait(PATIENCE) == 2
    assert run("--listen", "nonsense", "--to", "127.0.0.1:1").process.wait(PATIENCE) == 2
    assert run("x.yaml", "--listen", "127.0.0.1:1", "--to", "127.0.0.1:1").process.wait(PATIENCE) == 2
    assert run(folders.folder / "missing.yaml").process.wait(PATIENCE) == 1


def test_children_do_not_outlive_it(run, folders):
    port = free_port()
    running = run(folders.write("gateway.yaml", responding(port, "one")))
    running.wait_text("is running")
    pids = running.children().values()
    running.process.kill()
    running.process.wait()
    wait_until("they are gone", lambda: not any(map(is_running, pids)))
