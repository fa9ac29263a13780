"""Changes of one endpoint among very many: what the control plane says of them, and what they cost both planes."""
import json
import pathlib
import time

from processes import BenchError
from site_under_load import cluster_rules, one_host

CHANGE_MAX_MS = 10
CPU_GROWTH_MAX = 1.5            # of the cost of a change, from few clusters to all of them
APART_SECONDS = 0.06            # changes that are closer to each other go out together
SETTLE_SECONDS = 2              # the state is stored a second after its last change
# Threads that do not carry changes: the checks; and what is written to disk a while later, for many changes together.
BESIDES = ("health-checks", "state-saver", "last-good")


def address(number):
    """Of endpoint `number`, from 1."""
    return f"127.{1 + number // 65536}.{number // 256 % 256}.{number % 256}"


def configuration(port, clusters):
    """The text for these clusters, c0 and so on."""
    return one_host(port, cluster_rules(len(clusters)), clusters)


def thread_seconds(pid):
    """CPU seconds of a process by its threads, but for those besides. Threads that have ended do not count."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            if (task / "comm").read_text().strip() not in BESIDES:
                total += int((task / "schedstat").read_text().split()[0])
        except OSError:         # it has just ended
            continue
    return total / 1e9


class Watch:
    """A gateway that logs at level debug, and how long a change is waited for."""

    def __init__(self, gateway, limit):
        self.gateway, self.limit, self.read = gateway, limit, 0

    def new_lines(self):
        """What the log has of changes that have become known to every worker, since the last time."""
        with open(self.gateway.work / "controlplane.log", "rb") as log:
            log.seek(self.read)
            text = log.read()
        whole = text[:text.rindex(b"\n") + 1] if b"\n" in text else b""
        self.read += len(whole)
        return [json.loads(line) for line in whole.splitlines() if b"changed endpoints are served" in line]

    def wait_change(self):
        """The lines of a change: "us" is how long it took."""
        deadline = time.monotonic() + self.limit
        while not (lines := self.new_lines()):
            if time.monotonic() > deadline:
                raise BenchError(f"a change was not served within {self.limit} seconds")
            time.sleep(0.002)
        return lines

    def settle(self):
        """Until nothing is left to do of what was."""
        time.sleep(SETTLE_SECONDS)
        self.new_lines()

    def cpu(self):
        """Seconds of the control plane, and of the data plane."""
        return thread_seconds(self.gateway.control_plane.process.pid), thread_seconds(self.gateway.dataplane_pid())

    def sent(self):
        return self.gateway.control_metric("headgate_controlplane_sent_bytes_total")

    def cost(self, count, make_changes):
        """What each of `count` changes costs, in milliseconds of CPU of the control plane and of the data plane, and bytes on
        the channel; what as much time costs in which nothing changes is subtracted."""
        sent, before, started = self.sent(), self.cpu(), time.monotonic()
        make_changes()
        seconds, after, sent = time.monotonic() - started, self.cpu(), self.sent() - sent
        quiet = min(seconds, 10)
        idle_before = self.cpu()
        time.sleep(quiet)
        idle = [(b - a) * seconds / quiet for a, b in zip(idle_before, self.cpu())]
        control, data = (1000 * (b - a - i) / count for a, b, i in zip(before, after, idle))
        return {"control": control, "data": data, "bytes": sent / count}


def describe(cost):
    return f"control plane {cost['control']:.2f} ms, data plane {cost['data']:.2f} ms, {cost['bytes']:,.0f} bytes"


def growth(few, many):
    """How many times as much CPU a change costs among many as among few."""
    before, after = (cost["control"] + cost["data"] for cost in (few, many))
    if before <= 0 or after <= 0:
        raise BenchError("a change took no more CPU than nothing: other work on this machine takes too much of it")
    return after / before
