"""This gateway as its separate daemons, for the benchmark and the soak: started, pushed to, asked, killed."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import load
from processes import BenchError, Program, free_port, tree, wait_until

PUSH_SECONDS = 300


class Gateway:
    """A holder with its data plane, and a control plane, in folders of their own below `work`.

    `programs` is the folder of the four programs. The daemons are None while they do not run."""

    def __init__(self, programs, work, cpu=None, workers=1, log_level="info"):
        self.folder, self.work, self.cpu, self.workers = pathlib.Path(programs), pathlib.Path(work), cpu, workers
        self.runtime, self.state = self.work / "run", self.work / "state"
        self.control_arguments = []     # further ones of the control plane
        self.environment = {**os.environ, "HEADGATE_RUNTIME_DIR": str(self.runtime), "HEADGATE_STATE_DIR": str(self.state),
                            "HEADGATE_LOG": "json", "HEADGATE_LOG_LEVEL": log_level}
        self.admin_port = self.control_admin_port = self.control_plane = self.holder = None

    def version(self):
        """As the holder says it, or None when a program is missing."""
        names = ("headgate", "headgate-controlplane", "headgate-dataplane", "headgate-holder")
        if not all(os.access(self.folder / name, os.X_OK) for name in names):
            return None
        done = subprocess.run([self.folder / "headgate-holder", "--version"], capture_output=True, text=True, check=False)
        found = re.search(r"(\d+\.\d+\.\d+\S*)", done.stdout)
        return found[1] if found else None

    def start(self):
        """Both daemons, from nothing: an earlier run's state is dropped."""
        for folder in (self.runtime, self.state):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o755)
        self.start_control_plane()
        self.start_holder()

    def start_control_plane(self):
        (self.runtime / "control.sock").unlink(missing_ok=True)
        self.control_admin_port = free_port()
        self.control_plane = Program(
            "headgate-controlplane", [self.folder / "headgate-controlplane", "--files-root", self.work,
                                      "--admin-listen", f"127.0.0.1:{self.control_admin_port}", *self.control_arguments],
            self.cpu, self.work / "controlplane.log", environment=self.environment)
        wait_until("the control socket", (self.runtime / "control.sock").exists, self.control_plane)

    def start_holder(self):
        self.admin_port = free_port()
        self.holder = Program(
            "headgate-holder", [self.folder / "headgate-holder", "--dataplane", self.folder / "headgate-dataplane",
                                "--workers", self.workers, "--admin-listen", f"127.0.0.1:{self.admin_port}"],
            self.cpu, self.work / "holder.log", environment=self.environment)

    def stop(self):
        """Ends what runs, in good order; any number of times."""
        for program in (self.holder, self.control_plane):
            if program:
                program.stop()
        self.holder = self.control_plane = None

    # ---- the command line

    def command(self, *arguments):
        """A command of `headgate` with JSON output: (exit code, what it printed, its complaints)."""
        done = subprocess.run([self.folder / "headgate", *map(str, arguments), "--output", "json"], env=self.environment,
                              capture_output=True, text=True, timeout=PUSH_SECONDS, check=False)
        try:
            return done.returncode, json.loads(done.stdout or "{}"), done.stderr
        except json.JSONDecodeError as error:
            raise BenchError(f"headgate {arguments[0]} printed no JSON ({error}): {done.stdout}{done.stderr}") from error

    def push(self, text):
        """Pushes a configuration; returns the reply of one that was committed on a data plane."""
        path = self.work / "headgate.yaml"
        path.write_text(text)
        return self.committed("push", path)

    def committed(self, *arguments):
        code, reply, complaints = self.command(*arguments)
        if code != 0 or reply.get("outcome") != "committed":
            raise BenchError(f"headgate {' '.join(map(str, arguments))}: exit {code}, {reply} {complaints}")
        return reply

    def connected(self):
        """Names of the data planes that the control plane sees in sync."""
        if not self.control_plane:
            return []
        code, reply, _ = self.command("status")
        return [d["node"] for d in reply.get("data_planes", []) if d.get("state") == "in-sync"] if code in (0, 1) else []

    def wait_connected(self):
        wait_until("the data plane to connect", self.connected, self.control_plane, self.holder)

    # ---- the data plane

    def dataplane_pid(self):
        """The process that serves, the holder's child; None between two of them."""
        for pid in tree(self.holder.process.pid):
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("headgate-datap"):
                    return pid
            except OSError:
                continue
        return None

    def kill_dataplane(self):
        """KILL to the data plane; returns its pid."""
        pid = self.dataplane_pid()
        if pid is None:
            raise BenchError("no data plane runs")
        os.kill(pid, signal.SIGKILL)
        return pid

    def metric(self, name):
        """A metric of the data plane, summed over its labels; None when there is none of that name."""
        return read_metric(self.admin_port, name)

    def metric_of_workers(self, name):
        """A metric that each worker has, in their order."""
        _, _, body = load.get(self.admin_port, "/metrics")
        return [int(value) for value in re.findall(rf'(?m)^{name}{{worker="\d+"}} (\d+)$', body.decode())]

    def control_metric(self, name):
        """Likewise of the control plane."""
        return read_metric(self.control_admin_port, name)


def read_metric(port, name):
    _, _, body = load.get(port, "/metrics")
    values = re.findall(rf"(?m)^{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", body.decode())
    return sum(map(float, values)) if values else None
