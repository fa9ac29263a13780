"""A management server that is broken or means ill: ten thousand new names a second, more than there is room for, for as long as
it is listened to. What it takes of memory, what it is answered, and whether all else goes on."""
import json
import pathlib
import subprocess
import sys
import threading
import time

import load
from changes import thread_seconds
from gateway import Gateway
from processes import BenchError, free_port, memory, wait_until

SCENARIOS = pathlib.Path(__file__).resolve().parents[1] / "scenario"
sys.path += [str(SCENARIOS / folder) for folder in ("discovery", "control")]

from xds_server import ManagementServer, Messages, url  # noqa: E402  (found by the line above)
from xds_site import cluster, snapshot  # noqa: E402

MIB = 2 ** 20
NAMES_A_SECOND, RESPONSES_A_SECOND = 10000, 10
RESOURCES_MAX, MEMORY_MAX_MIB = 20000, 16
# Of the control plane, above what it takes before: what is held, what was made of it, and the layer that is with the engine.
GROWTH_MAX_MIB = 12 * MEMORY_MAX_MIB
STATUS_MAX_SECONDS = 60         # beyond that it hangs; how long it takes otherwise is the machine's business
CPU_MAX = 0.5                   # of a processor
ANSWERS_MAX = 16                # so many may wait; then nothing more is read, and they go together


class Flood(ManagementServer):
    """Serves a listener and its routes, and once it is opened clusters with other names all the time; `is_bad`: one of each
    thousand is refused."""

    def __init__(self, messages, resources, is_bad):
        self.is_bad = is_bad
        self.opened, self.named, self.sent, self.nacks, self.acks = threading.Event(), 0, 0, 0, 0
        super().__init__(messages, resources)

    def clusters(self):
        """The next new ones, as Any."""
        self.named += NAMES_A_SECOND // RESPONSES_A_SECOND
        names = [f"flood-{number}" for number in range(self.named - NAMES_A_SECOND // RESPONSES_A_SECOND, self.named)]
        made = [(name, cluster(name)) for name in names]
        if self.is_bad:
            made[0][1]["type"] = "ORIGINAL_DST"
        return [(name, self.messages.any("cluster", content)) for name, content in made]

    def _world(self, requests, context):
        yield from self.merged(super()._world(self.counted(requests, "DiscoveryRequest"), context), self.world_flood)

    def _delta(self, requests, context):
        yield from self.merged(super()._delta(self.counted(requests, "DeltaDiscoveryRequest"), context), self.delta_flood)

    def counted(self, requests, name):
        kind = self.messages.type(f"envoy.service.discovery.v3.{name}")
        for data in requests:
            request = kind.FromString(data)
            if request.response_nonce.startswith("flood"):
                self.nacks += bool(request.error_detail.message)
                self.acks += not request.error_detail.message
            else:
                yield data

    def merged(self, answers, flood):
        """What is asked for is answered by somebody else; the flood goes on as fast as it is taken."""
        for answer in answers:
            yield answer
            if self.opened.is_set():
                break
        while True:
            begun = time.monotonic()
            yield flood(str(self.sent))
            self.sent += 1
            time.sleep(max(0, begun + 1 / RESPONSES_A_SECOND - time.monotonic()))

    def world_flood(self, number):
        response = self.messages.type("envoy.service.discovery.v3.DiscoveryResponse")()
        response.version_info, response.type_url, response.nonce = number, url("cluster"), f"flood-{number}"
        response.resources.extend(content for _, content in self.clusters())
        return response.SerializeToString()

    def delta_flood(self, number):
        response = self.messages.type("envoy.service.discovery.v3.DeltaDiscoveryResponse")()
        response.system_version_info, response.type_url, response.nonce = number, url("cluster"), f"flood-{number}"
        for name, content in self.clusters():
            resource = response.resources.add()
            resource.name, resource.version = name, number
            resource.resource.CopyFrom(content)
        return response.SerializeToString()

    def open(self):
        self.opened.set()
        self.set()


class Watched:
    """The gateway while it goes on: memory of the control plane, how long `status` takes, whether requests are answered."""

    def __init__(self, run, gateway, port):
        self.run, self.gateway, self.port = run, gateway, port
        self.memory, self.status_seconds, self.answered, self.failed, self.cpu = [], [], 0, 0, 0

    def once(self):
        begun = time.monotonic()
        done = subprocess.run([self.gateway.folder / "headgate", "status", "-o", "json"], env=self.gateway.environment,
                              capture_output=True, text=True, timeout=STATUS_MAX_SECONDS, check=False)
        if done.returncode not in (0, 1) or "management_servers" not in json.loads(done.stdout):
            raise BenchError(f"status: {done.returncode} {done.stderr[:500]}")
        self.status_seconds.append(time.monotonic() - begun)
        self.memory.append(memory(self.gateway.control_plane.pids())[0])
        if load.answers(self.port, "/"):
            self.answered += 1
        else:
            self.failed += 1

    def watch(self, seconds):
        deadline, pid = time.monotonic() + seconds, self.gateway.control_plane.process.pid
        before = thread_seconds(pid)
        while time.monotonic() < deadline:
            self.once()
            self.run.progress(f"{self.memory[-1] / MIB:.0f} MiB")
            time.sleep(0.2)
        self.cpu = thread_seconds(pid) - before


def bootstrap(server, api_type):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": server.port}}
    api = {"api_type": api_type, "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}
    source = {"resource_api_version": "V3", "ads": {}}
    return {"node": {"id": "flooded", "cluster": "soak"},
            "dynamic_resources": {"ads_config": api, "lds_config": source, "cds_config": source},
            "static_resources": {"clusters": [{"name": "xds", "load_assignment": {"cluster_name": "xds", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address}}]}]}}]}}


def drive(run, messages, api_type, is_bad):
    name, port, seconds = f"{api_type}{' with refusals' if is_bad else ''}", free_port(), run.amounts.flood_seconds
    work = run.work / name
    work.mkdir(mode=0o755)
    server = Flood(messages, snapshot(port, "one"), is_bad)
    gateway = Gateway(run.programs, work)
    try:
        path = work / "bootstrap.json"
        path.write_text(json.dumps(bootstrap(server, api_type)))
        gateway.control_arguments = ["--xds-bootstrap", path, "--xds-resources", RESOURCES_MAX, "--xds-memory", MEMORY_MAX_MIB]
        gateway.start()
        watched = Watched(run, gateway, port)
        wait_until("a first answer", lambda: load.answers(port, "/"), gateway.holder, gateway.control_plane)
        watched.once()
        server.open()
        watched.watch(seconds)
        yield from figures(name, server, watched, seconds)
    finally:
        gateway.stop()
        server.stop()


def nacks_most(seconds):
    """One a second, and those that go with an ACK."""
    return ANSWERS_MAX + seconds + 1


def figures(name, server, watched, seconds):
    grown = (max(watched.memory) - watched.memory[0]) / MIB
    second_half = watched.memory[len(watched.memory) // 2:]
    yield f"{name}: names sent in {seconds} s", f"{server.named:,} in {server.sent} responses", \
        server.named > RESOURCES_MAX
    yield f"{name}: memory of the control plane, before and at most (at most {GROWTH_MAX_MIB} MiB more)", \
        f"{watched.memory[0] / MIB:.1f} MiB, {max(watched.memory) / MIB:.1f} MiB", grown <= GROWTH_MAX_MIB
    yield f"{name}: its memory in the second half, first and last", \
        f"{second_half[0] / MIB:.1f} MiB, {second_half[-1] / MIB:.1f} MiB", True
    yield f"{name}: ACKs, and NACKs (at most {nacks_most(seconds)})", f"{server.acks}, {server.nacks}", \
        0 < server.acks + server.nacks and server.nacks <= nacks_most(seconds)
    yield f"{name}: `status`, {len(watched.status_seconds)} times, the longest took", \
        f"{max(watched.status_seconds):.2f} s", True
    yield f"{name}: CPU of the control plane (at most {CPU_MAX * seconds:g} s)", f"{watched.cpu:.2f} s", \
        watched.cpu <= CPU_MAX * seconds
    yield f"{name}: requests that were not answered with 200 meanwhile", \
        f"{watched.failed} of {watched.answered + watched.failed}", \
        watched.failed == 0 < watched.answered


def discovery_flood(run):
    """Ten thousand new names a second from a management server, beyond the limits: memory, NACKs, all else."""
    folder = run.work / "messages"
    folder.mkdir()
    messages = Messages(folder)
    for api_type, is_bad in (("DELTA_GRPC", False), ("GRPC", False), ("GRPC", True)):
        yield from drive(run, messages, api_type, is_bad)


STAGES = {"discovery-flood": discovery_flood}
