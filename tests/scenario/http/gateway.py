"""The whole gateway as a test sees it: control plane, holder and data plane in folders of their own, pushes
through the `headgate` program, metrics, logs, and an end that has to be clean."""
import errno
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import wire

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests"))

from ports import free_port  # noqa: E402,F401  (found by the line above; tests take it from here)

PROGRAMS = pathlib.Path(os.environ.get("HEADGATE_BIN", ROOT / "build/bin")).resolve()
COMPLAINTS = re.compile(r"(ERROR|WARNING|SUMMARY): \w+Sanitizer|runtime error:|Assertion .* failed")
POLL_SECONDS = 0.02
START_SECONDS = 60


def wait_until(what, condition, seconds=START_SECONDS):
    """Waits for an event that can only be asked for; returns what the condition returned."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what}: it did not happen"
        time.sleep(POLL_SECONDS)
    return result


def children(pid):
    try:
        return list(map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


def resident_bytes(pid):
    fields = dict(re.findall(r"(\w+):\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text()))
    return int(fields["VmRSS"]) * 1024


class Push:
    """What `headgate push` said."""

    def __init__(self, done):
        self.code, self.errors = done.returncode, done.stderr
        self.reply = json.loads(done.stdout) if done.stdout.strip().startswith("{") else {}

    def __repr__(self):
        return f"exit code {self.code}, {self.reply} {self.errors}"

    @property
    def is_committed(self):
        return self.code == 0 and self.reply.get("outcome") in ("committed", "unchanged")


class GrowingFile:
    """A log that is read on from where it was."""

    def __init__(self, path):
        self.path, self.inode, self.read = path, None, 0

    def new_lines(self):
        """The whole lines that came since the last time; of another file in its place, all."""
        try:
            with open(self.path, "rb") as log:
                status = os.fstat(log.fileno())
                if status.st_ino != self.inode or status.st_size < self.read:
                    self.inode, self.read = status.st_ino, 0
                log.seek(self.read)
                text = log.read()
        except FileNotFoundError:
            return []
        whole = text[:text.rfind(b"\n") + 1]
        self.read += len(whole)
        return whole.decode("latin-1").split("\n")[:-1]


class Gateway:
    """Started with start(), ended with stop(), which fails when anything was wrong with the end or in the
    logs."""

    def __init__(self, workers=2):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="headgate-"))
        self.folder.chmod(0o777)  # the data plane may run as another user
        self.workers, self.config, self.holder, self.control_plane = workers, None, None, None
        self.control_arguments, self.holder_arguments = [], []  # more of them
        self.runtime, self.state = self.folder / "run", self.folder / "state"
        for folder in (self.runtime, self.state):
            folder.mkdir()
            folder.chmod(0o777)
        self.access_log = self.folder / "access.log"
        self.environment = {**os.environ, "HEADGATE_RUNTIME_DIR": str(self.runtime),
                            "HEADGATE_STATE_DIR": str(self.state),
                            "HEADGATE_NODE": "test"}
        self.ports = {}
        self.admin_port, self.control_admin_port = self.port_of("data plane"), self.port_of("control plane")
        self.port = self.port_of("web")

    def port_of(self, what):
        """The port that this gateway has for it."""
        return self.ports.setdefault(what, free_port())

    # ---- processes

    def start(self):
        """Both, and they know each other: what is pushed is served, not only stored."""
        self.start_control_plane()
        self.start_holder()
        wait_until("the data plane is connected",
                   lambda: self.metric("controlplane_data_planes", port=self.control_admin_port) > 0)
        return self

    def run_program(self, name, *arguments):
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen([PROGRAMS / f"headgate-{name}", *map(str, arguments)],
                                    stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=log, env=self.environment)

    def start_control_plane(self):
        self.control_plane = self.run_program("controlplane", "--admin-listen", f"127.0.0.1:{self.control_admin_port}",
                                              "--files-root", self.folder, *self.control_arguments)
        wait_until("the control plane is ready", lambda: self.is_up(self.control_admin_port, "readyz",
                                                                    self.control_plane))

    def start_holder(self):
        self.holder = self.run_program("holder", "--dataplane", PROGRAMS / "headgate-dataplane", "--workers",
                                       self.workers,
                                       "--admin-listen", f"127.0.0.1:{self.admin_port}", *self.holder_arguments)
        wait_until("the data plane is alive", lambda: self.is_up(self.admin_port, "livez", self.holder))

    def is_up(self, port, probe, process):
        assert process.poll() is None, f"ended with {process.returncode}:\n{self.logs()[-3000:]}"
        return self.probe(port, probe) == 200

    @staticmethod
    def probe(port, path):
        """The status of a probe; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=wire.PATIENCE) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except (urllib.error.URLError, OSError):
            return 0

    def dataplane_pid(self):
        """The process that serves; None between two of them."""
        for pid in children(self.holder.pid):
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("headgate-datap"):
                    return pid
            except OSError:
                continue
        return None

    def kill_dataplane(self):
        """KILL; returns the pid that is gone."""
        pid = self.dataplane_pid()
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_in_sync(self):
        """The control plane knows the data plane that runs now: what is pushed is served, not only stored."""
        def is_in_sync():
            done = self.status() if self.probe(self.control_admin_port, "readyz") == 200 else {}
            return any(plane["state"] == "in-sync" for plane in done.get("data_planes", []))
        self.wait_metric("control_plane_connected", lambda value: value == 1)
        wait_until("the data plane is in sync", is_in_sync)

    def kill_control_plane(self):
        self.control_plane.kill()
        self.control_plane.wait()

    def stop(self):
        """TERM to both, and a look at how they ended and what they wrote."""
        codes = {}
        for name, process in (("holder", self.holder), ("control plane", self.control_plane)):
            if process and process.poll() is None:
                process.terminate()
                codes[name] = process.wait(timeout=START_SECONDS)
        logs = self.logs()
        complaint = COMPLAINTS.search(logs)
        if not complaint and not any(codes.values()):
            shutil.rmtree(self.folder)
        around = logs[max(0, complaint.start() - 200):complaint.start() + 4000] if complaint else ""
        assert not complaint, f"in {self.folder}: {around}"
        assert not any(codes.values()), f"exit codes {codes}, logs in {self.folder}:\n{logs[-3000:]}"

    def logs(self):
        paths = [self.folder / "holder.log", self.folder / "controlplane.log"]
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    # ---- configuration

    def headgate(self, *arguments):
        return subprocess.run([PROGRAMS / "headgate", *map(str, arguments)], env=self.environment,
                              capture_output=True,
                              text=True, timeout=START_SECONDS, check=False)

    def push(self, config):
        """Pushes a configuration (a dict), whatever comes of it."""
        path = self.folder / "gateway.json"
        path.write_text(json.dumps(config, indent=1))
        return Push(self.headgate("push", path, "--output", "json"))

    def serve(self, config):
        """Pushes a configuration that has to be taken; what is served already is not pushed again."""
        if config != self.config:
            result = self.push(config)
            assert result.is_committed, result
            self.config = config

    def status(self):
        done = self.headgate("status", "--output", "json")
        return json.loads(done.stdout)

    # ---- clients

    def connect(self, port=None, source=None, receive_buffer=None):
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            sock.bind((source, 0))
        sock.settimeout(wire.PATIENCE)
        sock.connect(("127.0.0.1", port or self.port))
        return wire.Connection(sock, "the gateway")

    def wait_refused(self, port):
        """Nobody listens there any more: the holder closes what it is told to a moment after the push."""
        def is_refused():
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
        wait_until(f"port {port} is closed", is_refused)

    def get(self, target="/", *fields, **how):
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.exchange(wire.request("GET", target, *fields, **how))

    # ---- seeing

    def metrics_text(self, port=None):
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.admin_port}/metrics",
                                    timeout=wire.PATIENCE) as answer:
            return answer.read().decode()

    def metric(self, name, port=None):
        """A metric of the data plane, or of whoever has this admin port, summed over its labels."""
        values = re.findall(rf"(?m)^headgate_{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", self.metrics_text(port))
        assert values, f"there is no metric headgate_{name}"
        return sum(map(float, values))

    def wait_metric(self, name, condition):
        """Until the condition holds for the metric; returns its value."""
        return wait_until(f"{name}", lambda: [value] if condition(value := self.metric(name)) else None)[0]

    def wait_log(self, condition):
        """Until the JSON access log has a record for which the condition holds; returns it."""
        log = GrowingFile(self.access_log)

        def search():
            records = (json.loads(line) for line in log.new_lines() if line.endswith("}"))
            return [record for record in records if condition(record)]
        return wait_until("record in the access log", search)[0]
