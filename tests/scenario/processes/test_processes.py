"""What the processes owe each other: privileges, restarts, signals, the copy on disk, the channel over TLS."""
import contextlib
import ctypes
import errno
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess

import pytest

import wire
from gateway import PROGRAMS, Gateway, children, wait_until

PIDFD_GETFD = 438


def configuration(gateway, number, **more):
    return {
        "listeners": [{"name": "web", "address": f"127.0.0.1:{gateway.port}", "route-table": "site"}],
        "route-tables": [{"name": "site", "hosts": [{"domains": ["*"], "rules": [
            {"match": {"path": {"exact": "/version"}}, "respond": {"status": 200, "body": str(number)}}]}]}],
        "access-log": {"format": "json", "path": str(gateway.access_log)},
        **more,
    }


def version_served(gateway):
    return gateway.get("/version").body.decode()


def status_of(pid):
    return dict(re.findall(r"(\w+):\s+(\S+)", pathlib.Path(f"/proc/{pid}/status").read_text()))


def count_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def copy_of(gateway):
    """The folder of the last-known-good copy."""
    return gateway.state / "dataplane"


def wait_for_log(gateway, text, count=1):
    wait_until(f"{text!r} in the log", lambda: gateway.logs().count(text) >= count)


def new_data_plane(gateway, old):
    """Waits for the successor of a data plane that was killed, until it serves and can be pushed to."""
    wait_until("a new data plane", lambda: gateway.dataplane_pid() not in (None, old))
    wait_until("it is ready", lambda: gateway.probe(gateway.admin_port, "readyz") == 200)
    if gateway.control_plane.poll() is None:
        gateway.wait_in_sync()


def test_data_plane_has_no_privileges(fresh):
    fresh.serve(configuration(fresh, 1))
    status = status_of(fresh.dataplane_pid())
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    if os.geteuid() == 0:
        assert status["Uid"] != "0"
        assert int(status["CapBnd"], 16) == 0
        assert int(status["CapEff"], 16) == 0


# Of linux/capability.h: ports below 1024, the data plane's user, signals to it, the paths that are given.
CAPABILITIES_OF_HOLDER = {"CHOWN": 0, "DAC_OVERRIDE": 1, "DAC_READ_SEARCH": 2, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7,
                          "SETPCAP": 8, "NET_BIND_SERVICE": 10}


def bpf_descriptors(pid):
    return [link for each in pathlib.Path(f"/proc/{pid}/fd").iterdir() if "bpf" in (link := os.readlink(each))]


def test_holder_keeps_few_privileges(fresh):
    """What was loaded with more of them is still there, and the data plane has none of it."""
    fresh.serve(configuration(fresh, 1))
    holder = status_of(fresh.holder.pid)
    for kind in ("CapEff", "CapPrm") + (("CapBnd",) if os.geteuid() == 0 else ()):
        assert int(holder[kind], 16) & ~sum(1 << bit for bit in CAPABILITIES_OF_HOLDER.values()) == 0, kind
    steers_by_classic = "datagrams are steered by classic BPF" in fresh.logs()
    assert bool(bpf_descriptors(fresh.holder.pid)) is not steers_by_classic
    assert bpf_descriptors(fresh.dataplane_pid()) == []


def test_probes_say_when_it_is_ready(fresh):
    assert fresh.probe(fresh.admin_port, "livez") == 200
    assert fresh.probe(fresh.admin_port, "readyz") == 503
    assert fresh.probe(fresh.admin_port, "startupz") == 503
    fresh.serve(configuration(fresh, 1))
    assert fresh.probe(fresh.admin_port, "readyz") == 200
    assert fresh.probe(fresh.admin_port, "startupz") == 200
    assert fresh.probe(fresh.admin_port, "nothing") == 404


def test_killed_data_planes_refuse_no_connection_and_lose_no_version(fresh):
    """Each is killed right after a push was acknowledged; connections are made while none runs."""
    for number in range(1, 9):
        fresh.serve(configuration(fresh, number))
        old = fresh.kill_dataplane()
        with fresh.connect() as client:  # waits in the backlog, or is taken by the new one
            answer = client.exchange(wire.request("GET", "/version"))
        assert answer.body.decode() == str(number)
        new_data_plane(fresh, old)


def test_data_plane_boots_and_serves_without_a_control_plane(fresh):
    fresh.serve(configuration(fresh, 1))
    fresh.kill_control_plane()
    for _ in range(3):
        new_data_plane(fresh, fresh.kill_dataplane())
        assert version_served(fresh) == "1"
    assert fresh.metric("snapshot_is_last_known_good") == 1
    fresh.start_control_plane()
    fresh.wait_metric("snapshot_is_last_known_good", lambda value: value == 0)  # confirmed, though nothing was sent
    assert fresh.metric("snapshots_committed_total") == 0
    fresh.serve(configuration(fresh, 2))
    assert version_served(fresh) == "2"
    assert fresh.metric("snapshot_is_last_known_good") == 0


def test_killed_control_planes_fail_no_request(fresh):
    fresh.serve(configuration(fresh, 1))
    with fresh.connect() as client:
        for _ in range(4):
            fresh.kill_control_plane()
            for _ in range(20):
                assert client.exchange(wire.request("GET", "/version")).status == 200
            fresh.start_control_plane()
            fresh.wait_metric("control_plane_connected", lambda value: value == 1)


def test_damaged_copy_gives_way_to_the_one_before(fresh):
    fresh.serve(configuration(fresh, 1))
    # The copy becomes the previous one when it is known to be on the disk: by the time of some later push.
    for number in range(2, 100):
        fresh.serve(configuration(fresh, number))
        if (copy_of(fresh) / "manifest.previous").exists():
            break
    fresh.kill_control_plane()
    path = copy_of(fresh) / "manifest"
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)
    new_data_plane(fresh, fresh.kill_dataplane())
    assert "COPY IS DAMAGED" in fresh.logs()
    assert 1 <= int(version_served(fresh)) < number


def test_copy_that_is_damaged_altogether_waits_for_the_control_plane(fresh):
    fresh.serve(configuration(fresh, 1))
    fresh.kill_control_plane()
    for path in copy_of(fresh).glob("objects/*"):
        path.write_bytes(b"damaged")
    (copy_of(fresh) / "manifest.previous").unlink(missing_ok=True)
    old = fresh.kill_dataplane()
    wait_until("a new data plane", lambda: fresh.dataplane_pid() not in (None, old))
    wait_until("it is alive", lambda: fresh.probe(fresh.admin_port, "livez") == 200)
    assert fresh.probe(fresh.admin_port, "readyz") == 503
    fresh.start_control_plane()
    wait_until("it is ready", lambda: fresh.probe(fresh.admin_port, "readyz") == 200)
    assert version_served(fresh) == "1"
    new_data_plane(fresh, fresh.kill_dataplane())  # the copy is whole again
    assert version_served(fresh) == "1"


@contextlib.contextmanager
def open_exchange(gateway):
    """An exchange whose request is with the origin: the client's and the origin's connection. Draining waits for it without end."""
    with wire.Origin() as origin:
        config = configuration(gateway, 1, clusters=[{"name": "origin", "endpoints": [origin.endpoint]}],
                               timeouts={"drain": "1h"})
        config["route-tables"][0]["hosts"][0]["rules"].append({"cluster": "origin"})
        gateway.serve(config)
        with gateway.connect() as client:
            client.send(wire.request("GET", "/slow"))
            with origin.accept() as there:
                there.receive_request()
                yield client, there


def wait_draining(gateway):
    wait_until("it is draining", lambda: gateway.probe(gateway.admin_port, "readyz") == 503)


def test_term_finishes_what_is_open_and_takes_nothing_new(fresh):
    with open_exchange(fresh) as (client, there):
        fresh.holder.send_signal(signal.SIGTERM)
        wait_draining(fresh)
        there.send(wire.response(200, body=b"late"))
        assert client.receive_response().body == b"late"
    assert fresh.holder.wait(timeout=60) == 0


def test_second_term_ends_at_once(fresh):
    with open_exchange(fresh):
        fresh.holder.send_signal(signal.SIGTERM)
        wait_draining(fresh)
        fresh.holder.send_signal(signal.SIGTERM)
        assert fresh.holder.wait(timeout=60) == 0


def channel_of_holder(pid):
    """The holder's end of the socket pair, as a descriptor of ours."""
    libc, holder = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid)
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            copy = libc.syscall(PIDFD_GETFD, holder, int(number), 0)
            if copy < 0 and ctypes.get_errno() == errno.EPERM:
                pytest.skip("descriptors of other processes cannot be had here")
            if copy < 0:
                continue
            if stat.S_ISSOCK(os.fstat(copy).st_mode):
                sock = socket.socket(fileno=copy)
                if (sock.family, sock.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET):
                    return sock
                sock.close()
            else:
                os.close(copy)
    finally:
        os.close(holder)
    raise AssertionError("the holder has no socket pair")


def test_term_after_the_end_of_the_socket_pair_is_the_first_one(fresh):
    """The holder's death is both: a data plane that heard of it by its socket drains on."""
    with open_exchange(fresh) as (client, there):
        with channel_of_holder(fresh.holder.pid) as channel:
            channel.shutdown(socket.SHUT_RDWR)
        wait_draining(fresh)
        os.kill(fresh.dataplane_pid(), signal.SIGTERM)
        assert fresh.probe(fresh.admin_port, "readyz") == 503  # the loop has turned since: the signal was seen
        there.send(wire.response(200, body=b"late"))
        assert client.receive_response().body == b"late"
    assert fresh.holder.wait(timeout=60) == 0


def test_usr1_opens_the_access_log_anew(fresh):
    fresh.serve(configuration(fresh, 1))
    version_served(fresh)
    old = fresh.access_log.with_suffix(".1")
    wait_until("the first record", lambda: fresh.access_log.exists() and fresh.access_log.stat().st_size)
    fresh.access_log.rename(old)
    fresh.holder.send_signal(signal.SIGUSR1)
    wait_until("a new file", fresh.access_log.exists)

    def is_written():
        version_served(fresh)
        return fresh.access_log.stat().st_size

    wait_until("records in it", is_written)
    assert all(line.startswith("{") and line.endswith("}") for line in old.read_text().splitlines())


def test_refused_pushes_leave_sockets_and_files_alone(fresh):
    fresh.serve(configuration(fresh, 1))
    descriptors, held = count_descriptors(fresh.dataplane_pid()), count_descriptors(fresh.holder.pid)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        bad = configuration(fresh, 2)
        bad["listeners"].append({"name": "two", "address": [f"127.0.0.1:{fresh.port_of('two')}", address], "route-table": "site"})
        for _ in range(5):
            result = fresh.push(bad)
            assert result.code == 1
            assert f"{address} is in use" in str(result.reply)
            assert "listener/two" in str(result.reply) or "'two'" in str(result.reply)
    assert version_served(fresh) == "1"
    # Fewer at times: files of the copy on disk are kept open until they are synchronized.
    wait_until("descriptors are closed", lambda: count_descriptors(fresh.dataplane_pid()) <= descriptors)
    wait_until("the holder's, too", lambda: count_descriptors(fresh.holder.pid) == held)
    with socket.socket() as free:  # what was bound for it is free again
        free.bind(("127.0.0.1", fresh.port_of("two")))


def test_listeners_come_and_go_without_touching_others(fresh):
    fresh.serve(configuration(fresh, 1))
    with fresh.connect() as client:
        assert client.exchange(wire.request("GET", "/version")).status == 200
        more = configuration(fresh, 2)
        more["listeners"].append({"name": "two", "address": f"127.0.0.1:{fresh.port_of('two')}", "route-table": "site"})
        fresh.serve(more)
        with fresh.connect(fresh.port_of("two")) as other:
            assert other.exchange(wire.request("GET", "/version")).body == b"2"
        fresh.serve(configuration(fresh, 3))
        fresh.wait_refused(fresh.port_of("two"))
        assert client.exchange(wire.request("GET", "/version")).body == b"3"


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_certificates(folder):
    """An authority, and certificates of a control plane and a data plane."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority")
    for name in ("control", "data"):
        (folder / f"{name}.cnf").write_text(f"subjectAltName=DNS:{name}.test\n")
        openssl(folder, "req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}.test")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", f"{name}.cnf", "-out", f"{name}.pem")
    for path in folder.iterdir():
        path.chmod(0o644)  # the data plane reads its own as another user


class RemoteGateway(Gateway):
    """The same, with the channel over mutually authenticated TLS, to a host name."""

    server_name = "control.test"

    def __init__(self):
        super().__init__()
        self.keys = self.folder / "keys"
        self.keys.mkdir()
        make_certificates(self.keys)
        self.keys.chmod(0o755)
        self.channel = self.port_of("channel")

    def run_program(self, name, *arguments):
        side = "control" if name == "controlplane" else "data"
        more = ["--tls-cert", self.keys / f"{side}.pem", "--tls-key", self.keys / f"{side}.key", "--tls-ca", self.keys / "ca.pem"]
        if side == "control":
            more += ["--dataplane-listen", f"127.0.0.1:{self.channel}"]
        else:
            more += ["--control-plane", f"localhost:{self.channel}", "--tls-name", self.server_name,
                     "--node", "data.test"]  # the name of its certificate
        return super().run_program(name, *arguments, *more)


def test_channel_over_tls():
    gateway = RemoteGateway().start()
    try:
        gateway.wait_metric("control_plane_connected", lambda value: value == 1)
        gateway.serve(configuration(gateway, 1))
        assert version_served(gateway) == "1"
        gateway.kill_control_plane()
        gateway.start_control_plane()
        gateway.wait_metric("control_plane_connects_total", lambda value: value == 2)
        gateway.serve(configuration(gateway, 2))
        assert version_served(gateway) == "2"
    finally:
        gateway.stop()


def test_control_plane_of_another_name_is_not_trusted():
    gateway = RemoteGateway()
    gateway.server_name = "other.test"
    try:
        gateway.start_control_plane()
        gateway.start_holder()
        wait_for_log(gateway, "certificate verify failed")
        assert gateway.metric("control_plane_connected") == 0
        assert gateway.metric("control_plane_connects_total") == 0
    finally:
        gateway.stop()


def test_wrong_command_lines_are_refused():
    holder, data_plane = PROGRAMS / "headgate-holder", PROGRAMS / "headgate-dataplane"
    before = children(os.getpid())  # of fixtures that other files share
    for command in ([holder], [holder, "--dataplane", data_plane, "--nonsense"], [data_plane, "--workers", "many"],
                    [data_plane, "--workers", "0"], [data_plane, "--admin-listen", "nowhere"],
                    [data_plane, "--tls-cert", "alone.pem"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, command
        assert done.stderr.startswith("headgate-"), done.stderr
    assert children(os.getpid()) == before
