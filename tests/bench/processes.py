"""Programs started for a measurement: pinned to a CPU, read through /proc together with their children, ended by pid."""
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from ports import free_port  # noqa: E402,F401  (found by the line above; others take it from here)

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 10
POLL_SECONDS = 0.02


class BenchError(Exception):
    """What ends the run, in words for the person who started it."""


class Begun:
    """`with` this there is what `begin` begins; `stop` ends it, also when `begin` fails half way."""

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()


class Place:
    """Where programs run: the host, or a chroot with newer ones. `work` is a folder that both sides see."""

    def __init__(self, root, work):
        self.root = pathlib.Path(root) if root else None
        self.work = pathlib.Path(work)

    def command(self, arguments):
        return ["chroot", str(self.root), *arguments] if self.root else list(arguments)

    def inside(self, path):
        """A path below `work` as programs in this place name it."""
        return "/" + str(path.relative_to(self.root)) if self.root else str(path)

    def outside(self, path):
        """A path as programs in this place name it, for the host."""
        return self.root / path.lstrip("/") if self.root else pathlib.Path(path)

    def output(self, arguments):
        """Both outputs of a short command, or None when there is no such program."""
        try:
            done = subprocess.run(self.command(arguments), capture_output=True, text=True, timeout=20, check=False)
        except FileNotFoundError:
            return None
        return None if done.returncode == 127 else done.stdout + done.stderr


class Program:
    """A running program and everything that it started, pinned to a CPU unless that is None."""

    def __init__(self, name, arguments, cpu, log, environment=None, prints_port=False):
        self.name, self.log = name, log
        pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [*pin, *map(str, arguments)], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if prints_port else output, stderr=output, env=environment)
        self.port = self._printed_port() if prints_port else None

    def _printed_port(self):
        ready, _, _ = select.select([self.process.stdout], [], [], STOP_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        if not line.strip().isdigit():
            self.stop()
            raise BenchError(f"{self.name} printed no port; its log:\n{self.last_words()}")
        return int(line)

    def last_words(self):
        return "\n".join("    | " + line for line in pathlib.Path(self.log).read_text(errors="replace").splitlines()[-15:])

    def check_alive(self):
        if self.process.poll() is not None:
            raise BenchError(f"{self.name} ended with {self.process.returncode}; its log:\n{self.last_words()}")

    def pids(self):
        return tree(self.process.pid)

    def stop(self):
        """TERM to the program, KILL to whatever of it is left after a while. Ending twice does no harm."""
        family = {pid: start_time(pid) for pid in self.pids()}
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        for pid, started in family.items():
            if started is not None and start_time(pid) == started:
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def stat_fields(pid):
    """/proc/PID/stat from the third field (state) on, or None when the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2:].split()


def start_time(pid):
    """Tells a process from a later one with the same pid. A zombie counts as gone."""
    fields = stat_fields(pid)
    return fields[19] if fields and fields[0] != "Z" else None


def tree(root):
    """The pids of a process and its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        fields = stat_fields(entry) if entry.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu_seconds(pids):
    """(user, system) seconds of these processes: all threads, and children that have ended."""
    user = system = 0
    for fields in filter(None, map(stat_fields, pids)):
        user += int(fields[11]) + int(fields[13])
        system += int(fields[12]) + int(fields[14])
    return user / TICKS_PER_SECOND, system / TICKS_PER_SECOND


def memory_parts(pids):
    """The sums of /proc/PID/smaps_rollup over these processes, in bytes: {"Rss": .., "Pss": .., "Pss_Anon": .., ...}."""
    total = {}
    for pid in pids:
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        for key, value, _ in map(str.split, lines):
            total[key[:-1]] = total.get(key[:-1], 0) + int(value) * 1024
    return total


def memory(pids):
    """(RSS, PSS) of these processes in bytes."""
    parts = memory_parts(pids)
    return parts.get("Rss", 0), parts.get("Pss", 0)


def written_memory(pids):
    """The PSS of what these processes have written, without files that they map. The share of a library that counts for
    a process changes with the other processes that map it; this does not."""
    parts = memory_parts(pids)
    return parts.get("Pss_Anon", 0) + parts.get("Pss_Shmem", 0)


def settled_memory(pids, limit=5.0):
    """written_memory once two readings in a row agree, or after `limit` seconds."""
    deadline = time.monotonic() + limit
    before = written_memory(pids)
    while time.monotonic() < deadline:
        time.sleep(0.2)
        now = written_memory(pids)
        if now == before:
            break
        before = now
    return before


def wait_until(what, condition, *programs, limit=20.0):
    """Polls until condition() is true. The programs must live as long as that takes."""
    deadline = time.monotonic() + limit
    while not condition():
        for program in programs:
            program.check_alive()
        if time.monotonic() > deadline:
            logs = "\n".join(f"{p.name}:\n{p.last_words()}" for p in programs)
            raise BenchError(f"waited {limit:.0f} s in vain for {what}\n{logs}")
        time.sleep(POLL_SECONDS)
