"""What floods cost the clients of a listener that passes QUIC through. Each stage yields (what, figure as text, whether it is as
wanted). The clients are there before the flood: who is there is to notice nothing. In the short form only counts decide."""
import json
import os
import sys
import time

import load
from attack_stages import HERE, Attack, Authority, Site, finish, one_after_the_other
from gateway import Gateway
from processes import free_port
from site_under_load import parse_h2load

CONNECTIONS, STREAMS, VICTIMS, MAX_FLOWS = 8, 50, 4, 4096
LEAD_SECONDS = 1                    # between the clients and the flood, on both sides
FLOOD = ("quic_pass_dropped_rate_total", "quic_pass_dropped_crowded_total", "quic_pass_evicted_total")
ATTACKS = [
    Attack("Initials", "passed", 64, FLOOD),
    Attack("broken Initials", "passed", 64, FLOOD),
    Attack("unknown versions", "passed", 64, FLOOD),
    Attack("datagrams of no connection", "passed", 64, FLOOD),
    Attack("Initials", "named", 64, FLOOD),
    Attack("broken Initials", "named", 64, (*FLOOD, "quic_pass_dropped_hello_total")),
    Attack("unknown versions", "named", 64, FLOOD),
    Attack("datagrams of no connection", "named", 16, ("quic_pass_dropped_unroutable_total",)),
]


class Origin:
    """What connections are passed to: another gateway, which serves HTTP/3, on the CPU of the load."""

    def __init__(self, programs, work):
        work.mkdir(mode=0o755)
        self.port, self.work = free_port(), work
        self.gateway = Gateway(programs, work, cpu=sorted(os.sched_getaffinity(0))[-1], workers=1)
        certificate, key = Authority(work / "authority").pair(work / "certs", "origin", ["localhost", "127.0.0.1"])
        tls = {"certificates": [{"certificate": str(certificate), "key": str(key)}]}
        self.configuration = {
            "access-log": {"format": "off"}, "limits": {"connections-per-ip": 20000},
            "listeners": [{"name": "origin", "address": f"127.0.0.1:{self.port}", "route-table": "site", "protocols": "http3",
                           "tls": tls, "quic": {"retry-above": 16}}],
            "route-tables": [{"name": "site", "hosts": [{"domains": ["*"], "rules": [
                {"match": {"path": {"prefix": "/"}}, "respond": {"status": 200, "body": "x" * 12}}]}]}]}

    def start(self):
        self.gateway.start()
        self.gateway.wait_connected()
        path = self.work / "gateway.json"
        path.write_text(json.dumps(self.configuration))
        self.gateway.committed("push", path, "--embed")

    def stop(self):
        self.gateway.stop()


class PassSite(Site):
    """A listener that passes by address, `passed`, and one that reads names, `named`."""
    PROTOCOLS = {"passed": "h3", "named": "h3"}
    UNIT, HAS_SHORT_TAIL = "datagrams", False

    def __init__(self, programs, work):
        self.go = work / "go"
        super().__init__(programs, work, origin=Origin(programs, work / "http3-origin"))

    def describe(self, _certificate, _key):
        self.ports = {"passed": free_port(), "named": free_port()}
        routes = [{"server-names": "localhost", "cluster": "origin"}]
        ways = {"passed": {"cluster": "origin"}, "named": {"cluster": "origin", "routes": routes}}
        return {"limits": {"connections-per-ip": 20000},
                "listeners": [{"name": name, "address": f"127.0.0.1:{port}", "quic-pass": {"max-flows": MAX_FLOWS, **ways[name]}}
                              for name, port in self.ports.items()],
                "clusters": [{"name": "origin", "endpoints": [f"127.0.0.1:{self.origin.port}"], "balancer": "maglev"}]}

    def begin(self):
        self.origin.start()
        super().begin()

    def h2load(self, listener, *arguments):
        return self.on_load_cpu(*load.h2load("h3"), "-t1", *arguments,
                                f"https://127.0.0.1:{self.ports[listener]}/")

    def honest(self, listener, seconds):
        return self.h2load(listener, f"-c{CONNECTIONS}", f"-m{STREAMS}", f"-D{seconds}")

    def attack(self, attack, seconds):
        """It waits for the file `go`, since it takes a while to make what it sends."""
        self.go.unlink(missing_ok=True)
        return self.on_load_cpu(sys.executable, HERE / "http3_attack_client.py", attack.name, self.ports[attack.listener], seconds,
                                "--after", self.go)

    def victims(self, seconds):
        return self.victims_beside("passed", lambda: self.on_load_cpu("sleep", seconds), seconds)[0]

    def beside_honest(self, listener, seconds):
        return self.victims_beside(listener, lambda: self.honest(listener, seconds), seconds)

    def beside_attack(self, attack, seconds):
        process = self.attack(attack, seconds)

        def begin():
            self.go.touch()
            return process
        try:
            return self.victims_beside(attack.listener, begin, seconds)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def victims_beside(self, listener, begin, seconds):
        """(report of what they asked while the load ran, what the load said). They are there before it, and after."""
        log = self.work / "victims.log"
        log.unlink(missing_ok=True)
        whole = seconds + 2 * LEAD_SECONDS
        clients = self.h2load(listener, f"-c{VICTIMS}", "-m1", f"-D{whole}", f"--log-file={log}")
        other = None
        try:
            time.sleep(LEAD_SECONDS)
            first = time.time()
            other = begin()
            said, last = finish(other, seconds), time.time()
            return parse_h2load(finish(clients, whole), log, first, last), said
        except BaseException:
            for process in filter(None, (clients, other)):
                process.kill()
                process.communicate()
            raise

    def is_bounded(self):
        return self.metric("quic_pass_flows") <= 2 * MAX_FLOWS


def quic_pass_attacks(run):
    """Every flood beside clients whose connections go through: their tail, compared with the tail beside honest load."""
    with PassSite(run.programs, run.work) as site:
        yield from one_after_the_other(run, site, site.ports, ATTACKS)


STAGES = {"quic-pass-attacks": quic_pass_attacks}
