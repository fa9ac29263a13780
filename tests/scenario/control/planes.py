"""Control planes and data planes as a test sees them: real processes in folders of their own, and the `headgate` program."""
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests"))

from ports import free_port  # noqa: E402,F401  (found by the line above; tests take it from here)

PROGRAMS = pathlib.Path(os.environ.get("HEADGATE_BIN", ROOT / "build/asan/bin")).resolve()
COMPLAINTS = re.compile(r"ERROR: \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer|Assertion .* failed")
PATIENCE = 60  # seconds until an event that has to come counts as missing


def wait_until(what, condition, seconds=PATIENCE):
    """Waits for what can only be asked for; returns what the condition returned."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what}: it did not happen"
        time.sleep(0.02)
    return result


class Ran:
    """What a command of `headgate` said."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit code {self.code}\n{self.out}{self.err}"


class Process:
    """A daemon with its log."""

    def __init__(self, name, log, arguments, environment):
        self.name, self.log = name, log
        with open(log, "ab") as file:
            self.start = file.tell()
            self.process = subprocess.Popen([PROGRAMS / name, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=file,
                                            stderr=file, env=environment)

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def text(self):
        """What this process has written (not those before it with the same log)."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            file.seek(self.start)
            return file.read()

    def records(self):
        """The log as records."""
        found = []
        for line in self.text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def wait_record(self, **fields):
        """The first record with these fields."""
        def find():
            assert self.is_running() or fields in self.records(), f"{self.name} ended:\n{self.text()[-3000:]}"
            return next((r for r in self.records() if fields.items() <= r.items()), None)
        return wait_until(f"{self.name} logs {fields}", find)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """TERM; returns the exit code."""
        if self.is_running():
            self.process.terminate()
        return self.process.wait(timeout=PATIENCE)


class Site:
    """One set of folders with a control plane, and data planes as needed."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="headgate-"))
        self.folder.chmod(0o755)
        self.runtime, self.state = self.folder / "run", self.folder / "state"
        self.environment = {**os.environ, "HEADGATE_RUNTIME_DIR": str(self.runtime), "HEADGATE_LOG": "json",
                            "HEADGATE_STATE_DIR": str(self.state), "NO_COLOR": "1"}
        self.processes, self.control = [], None

    def start(self, name, *arguments, log=None):
        process = Process(name, self.folder / f"{log or name}.log", arguments, self.environment)
        self.processes.append(process)
        return process

    # ---- the control plane

    def start_control_plane(self, *arguments):
        self.control = self.start("headgate-controlplane", "--admin-listen", "127.0.0.1:0", *arguments)
        self.control.wait_record(message="control plane started")
        return self.control

    def fetch(self, path):
        """(status, body) of the admin listener of the control plane."""
        address = self.control.wait_record(message="listening for probes and scrapers")["address"]
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name, **labels):
        wanted = "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}" if labels else ""
        line = next(l for l in self.fetch("/metrics")[1].splitlines() if l.startswith(f"headgate_controlplane_{name}{wanted} "))
        return float(line.split()[-1])

    # ---- data planes

    def start_data_plane(self, node, *arguments, workers=1):
        """A holder with its data plane; its admin listener has a port of its own."""
        folder = self.folder / node
        folder.mkdir(exist_ok=True)
        return self.start("headgate-holder", "--dataplane", PROGRAMS / "headgate-dataplane", "--node", node, "--workers", workers,
                          "--state-dir", folder, "--admin-listen", "127.0.0.1:0", *arguments, log=node)

    def data_plane(self, node):
        """Its part of the status, or None."""
        return next((d for d in self.status()["data_planes"] if d["node"] == node), None)

    def wait_data_plane(self, node, state="in-sync", version=None):
        def look():
            found = self.data_plane(node)
            served = found and found.get("serving", {}).get("version")
            return found if found and found["state"] == state and (version is None or served == version) else None
        return wait_until(f"{node} is {state} with version {version}", look)

    # ---- the program

    def headgate(self, *arguments, text=None):
        done = subprocess.run([PROGRAMS / "headgate", *map(str, arguments)], env=self.environment, capture_output=True, text=True,
                              input=text, timeout=2 * PATIENCE, check=False)
        assert not COMPLAINTS.search(done.stderr), done.stderr
        return Ran(done)

    def ok(self, *arguments, text=None):
        """A command that has to succeed."""
        ran = self.headgate(*arguments, text=text)
        assert ran.code == 0, f"headgate {' '.join(map(str, arguments))}: {ran}"
        return ran

    def status(self):
        return self.ok("status", "-o", "json").json

    def version(self):
        return self.status().get("version", 0)

    def write(self, name, content):
        """A file below the folder; a dict becomes JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def push(self, content, *arguments):
        """Pushes a configuration; the reply."""
        return self.headgate("push", self.write("push.json", content), "-o", "json", *arguments)

    # ---- the end

    def finish(self):
        """Stops what runs and looks at the logs."""
        codes = {p.name + str(p.pid): p.stop() for p in reversed(self.processes) if p.is_running()}
        logs = "".join(p.text() for p in self.processes)
        complaint = COMPLAINTS.search(logs)
        assert not complaint, logs[max(0, complaint.start() - 200):complaint.start() + 4000]
        assert not any(codes.values()), f"exit codes {codes}:\n{logs[-3000:]}"
        shutil.rmtree(self.folder)


def site_of(*endpoints, listeners=(), **more):
    """A configuration: one cluster with these endpoints, one route table, these listener addresses."""
    return {
        "listeners": [{"name": f"l{i}", "address": a, "route-table": "site"} for i, a in enumerate(listeners)],
        "route-tables": [{"name": "site", "hosts": [{"domains": ["*"], "rules": [{"cluster": "web"}]}]}],
        "clusters": [{"name": "web", "endpoints": list(endpoints)}],
        **more,
    }


def get(address, target="/"):
    """The status line and body of one request."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as s:
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while select.select([s], [], [], PATIENCE)[0] and (chunk := s.recv(65536)):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), body.decode()


def kill_data_plane(holder):
    """KILL to the data plane of a holder; returns its pid."""
    children = pathlib.Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    return int(children[0])
