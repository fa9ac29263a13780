"""The gateway that is attacked: one worker, so that victims share it with every attack."""
import re

import attacker
from certificates import Authority
from configuration import QUICK, cluster, configure, listener, under
from gateway import Gateway
from watching import WatchingOrigin

RESET_BURST, RESETS_PER_SECOND, STREAMS = 100, 10, 128
SHORT_MEMORY = ":quarantine_size_mb=4:thread_local_quarantine_size_kb=64"
BOTH = {"protocols": ["http1", "http2"]}


class AttackedGateway(Gateway):
    """Files of certificates are sent along. A sanitizer that keeps freed memory keeps little, so that growth can be seen."""

    def __init__(self):
        super().__init__(workers=1)
        self.environment["ASAN_OPTIONS"] = self.environment.get("ASAN_OPTIONS", "") + SHORT_MEMORY

    def headgate(self, *arguments):
        return super().headgate(*arguments, *(["--embed"] if arguments[0] == "push" else []))


class Site:
    """Listeners `web` and `secure` have the usual deadlines and few resets, `proxied` the usual deadlines, too. The others have
    a short one for a single thing, so that nobody misses it who is not meant to: `quick` and `quick-secure` for what is
    written, `brief` and `brief-secure` for heads and prefaces, `hurried-secure` and `hurried-proxied` for handshakes."""

    def __init__(self):
        self.gateway, self.origin = AttackedGateway(), WatchingOrigin()
        self.authority = Authority(self.gateway.folder / "authority")
        self.pair = self.authority.pair(self.gateway.folder / "certs", "gateway", ["example", "*.example"])

    def __enter__(self):
        try:
            self.gateway.start().serve(self.configuration())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        try:
            self.gateway.stop()
        finally:
            self.origin.close()

    def listener(self, name, **more):
        return listener(self.gateway, name=name, address=f"127.0.0.1:{self.gateway.port_of(name)}", **{**BOTH, **more})

    def configuration(self):
        certificate, key = map(str, self.pair)
        tls = {"tls": {"certificates": [{"certificate": certificate, "key": key}]}}
        few = {"http2": {"reset-burst": RESET_BURST, "resets-per-second": RESETS_PER_SECOND,
                         "max-concurrent-streams": STREAMS}}
        quick, hurried = {"timeouts": {"write": QUICK}}, {"timeouts": {"handshake": QUICK}}
        brief = {"timeouts": {"header": "1s"}}
        opening = {"timeouts": {**brief["timeouts"], "handshake": "1s"}}  # of a connection without TLS: to the end of a preface
        proxied = {"proxy-protocol": {"mode": "accept", "trusted": ["127.0.0.0/8"]}}
        listeners = [self.listener("web", **few), self.listener("secure", **few, **tls), self.listener("quick", **quick),
                     self.listener("quick-secure", **quick, **tls), self.listener("brief", **opening),
                     self.listener("brief-secure", **brief, **tls), self.listener("hurried-secure", **hurried, **tls),
                     self.listener("hurried-proxied", **hurried, **proxied), self.listener("proxied", **proxied)]
        rules = [under("/respond", {"respond": {"status": 200, "body": "here\n"}}),
                 under("/filled", {"respond": {"status": 200, "body": "x" * 20000}}),
                 under("/quick", "origin", timeouts={"body": QUICK})]
        return configure(self.gateway, [cluster("origin", self.origin)], rules, listeners=listeners,
                         limits={"connections-per-ip": 5000}, timeouts={"header": "1m", "idle": "1h", "write": "1m"})

    # ---- attackers

    def connect(self, name="web", **how):
        return attacker.connect(self.gateway.port_of(name), is_tls="secure" in name, **how)

    def attack(self, name="web", *settings, **how):
        return attacker.Attacker(self.connect(name, **how), *settings)

    # ---- seeing

    def faults(self):
        """headgate_h2_faults_total of clients, by reason."""
        found = re.findall(r'h2_faults_total{side="clients",reason="([a-z0-9-]+)"} (\d+)', self.gateway.metrics_text())
        return {reason: int(count) for reason, count in found}

    def tls_failures(self):
        found = re.findall(r'tls_failures_total{side="clients",reason="([a-z0-9-]+)"} (\d+)', self.gateway.metrics_text())
        return {reason: int(count) for reason, count in found}

    def wait_quiet(self):
        """No exchange is open and no byte of a body is held."""
        for name in ("exchanges", "buffered_bytes"):
            self.gateway.wait_metric(name, lambda count: count == 0)
