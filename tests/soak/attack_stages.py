"""What an attack costs everybody else. Each stage yields (what, figure as text, whether it is as wanted)."""
import collections
import json
import os
import pathlib
import secrets
import statistics
import subprocess
import sys
import threading
import time

import load
from gateway import Gateway
from processes import Begun, BenchError, Program, free_port, memory
from site_under_load import failures, parse_wrk

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "scenario/control"))
from certificates import Authority  # noqa: E402  (found by the line above)

MIB = 2 ** 20
RATIO_MAX, SAMPLE_SECONDS = 3, 0.1
CONNECTIONS, STREAMS, VICTIMS = 8, 50, 4
HELD = 16 * 128 * 320 // 1024   # connections, streams of each, KiB of each: `buffer` and `header-bytes`; in MiB

FLOODS = ("h2_floods_total", "h2_protocol_errors_total")
WRITES, HEADS = ("client_write_timeouts_total",), ("client_header_timeouts_total",)
Attack = collections.namedtuple("Attack", "name listener growth counters")  # MiB at most; one of them has to rise
ATTACKS = [
    *[Attack(name, "web", 48, FLOODS) for name in (
        "rapid reset", "rapid reset of uploads", "DATA after END_STREAM", "PRIORITY on itself", "window too large",
        "more content than said", "malformed fields", "PING", "SETTINGS", "windows in SETTINGS",
        "PRIORITY", "WINDOW_UPDATE", "unknown frames", "empty DATA", "fields of no length", "CONTINUATION",
        "large CONTINUATION")],
    *[Attack(name, "secure", 48, FLOODS) for name in ("rapid reset", "PING", "CONTINUATION")],
    Attack("HPACK bomb held by windows", "web", HELD, WRITES),
    Attack("answers held by windows", "web", HELD, WRITES),
    Attack("window dribble", "web", 64, (*FLOODS, *WRITES)),
    Attack("slow heads", "web", 48, HEADS),
    Attack("slow heads of HTTP/1.1", "web", 16, HEADS),
    Attack("half-open handshakes", "secure", 64, ("client_handshake_timeouts_total",)),
    Attack("garbage for TLS", "secure", 16, ("tls_failures_total",)),
    Attack("plaintext for TLS", "secure", 16, ("tls_failures_total",)),
    Attack("handshakes", "secure", 16, ("tls_handshakes_total",)),
]


class Site(Begun):
    """A gateway with a listener `web` and one for TLS, `secure`, in front of an origin; one worker has a CPU of its own.
    Deadlines are short, so that they are met while an attack lasts. Another origin is given as what has a port and can
    stop; `extensions` are the certificate's, in openssl's words. Large responses are of an origin of their own: how
    long a single thread that writes hundreds of them lets its other clients wait is no doing of the gateway."""
    PROTOCOLS = {"web": "h2c", "secure": "h2"}  # what honest load speaks
    UNIT = "connections"             # what attacks count
    HAS_SHORT_TAIL = True            # in the short form the tail decides, too

    def __init__(self, programs, work, origin=None, extensions=(), workers=1):
        cpus = sorted(os.sched_getaffinity(0))
        self.cpu, self.load_cpu = cpus[0], str(cpus[-1])
        self.ports = {"web": free_port(), "secure": free_port()}
        self.work, self.authority = work, Authority(work / "authority")
        (work / "authority/serial").write_text(f"{secrets.randbits(126):032x}\n")
        self.certificate, key = self.authority.pair(work / "certs", "gateway", ["localhost", "127.0.0.1"],
                                               extensions=extensions)
        self.gateway = Gateway(programs, work, cpu=self.cpu if workers == 1 else None, workers=workers)
        self.origin = origin or self.start_origin(programs, "12")
        self.large_origin = self.start_origin(programs, "1048576")
        self.configuration = self.describe(self.certificate, key)

    def start_origin(self, programs, size):
        return Program("origin", [pathlib.Path(programs).parent / "bench/origin", size], self.load_cpu,
                       self.work / f"origin-{size}.log", prints_port=True)

    def describe(self, certificate, key):
        both = {"protocols": ["http1", "http2"], "route-table": "site"}
        listeners = [{"name": name, "address": f"127.0.0.1:{port}", **both} for name, port in self.ports.items()]
        listeners[1]["tls"] = {"certificates": [{"certificate": str(certificate), "key": str(key)}]}
        deadlines = dict.fromkeys(("header", "write", "handshake", "idle"), "1s")
        filled = {"match": {"path": {"prefix": "/filled"}}, "respond": {"status": 200, "body": "x" * 20000}}
        large = {"match": {"path": {"exact": "/1048576"}}, "cluster": "large"}
        ports = {"web": self.origin.port, "large": self.large_origin.port}
        return {"access-log": {"format": "off"}, "limits": {"connections-per-ip": 20000}, "timeouts": deadlines,
                "listeners": listeners,
                "route-tables": [{"name": "site", "hosts": [{"domains": ["*"], "rules": [filled, large, {"cluster": "web"}]}]}],
                "clusters": [{"name": name, "endpoints": [f"127.0.0.1:{port}"]} for name, port in ports.items()]}

    def begin(self):
        self.gateway.start()
        self.gateway.wait_connected()
        path = self.work / "gateway.json"
        path.write_text(json.dumps(self.configuration))
        self.gateway.committed("push", path, "--embed")

    def stop(self):
        self.gateway.stop()
        self.origin.stop()
        self.large_origin.stop()

    def metric(self, name):
        return self.gateway.metric(f"headgate_{name}") or 0

    def on_load_cpu(self, *arguments):
        return subprocess.Popen(["taskset", "-c", self.load_cpu, *map(str, arguments)], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    # ---- loads

    def honest(self, listener, seconds):
        """As many connections as an attack has, with requests that are answered, as fast as they can."""
        scheme = "https" if listener == "secure" else "http"
        return self.on_load_cpu("h2load", "-t1", f"-c{CONNECTIONS}", f"-m{STREAMS}", f"-D{seconds}",
                                f"{scheme}://127.0.0.1:{self.ports[listener]}/12")

    def attack(self, attack, seconds):
        tls = ["--tls"] if attack.listener == "secure" else []
        return self.on_load_cpu(sys.executable, HERE / "attack_client.py", attack.name, self.ports[attack.listener], seconds,
                                *tls)

    def victims(self, seconds):
        """The report of a few clients that ask one after the other, from here on."""
        process = self.on_load_cpu("wrk", "-t1", f"-c{VICTIMS}", f"-d{seconds}s", "--timeout", "10s", "--latency",
                                   f"http://127.0.0.1:{self.ports['web']}/12")
        return parse_wrk(finish(process, seconds))

    def beside_honest(self, listener, seconds):
        """(report of the victims, what the load said)."""
        return beside(self, lambda s: self.honest(listener, s), seconds)

    def beside_attack(self, attack, seconds):
        return beside(self, lambda s: self.attack(attack, s), seconds)

    def is_bounded(self):
        """Whether what it holds besides memory is as it should be."""
        return True


def finish(process, seconds):
    """What it printed; it has some time more than it was told to take."""
    try:
        text, _ = process.communicate(timeout=seconds + 60)
    except subprocess.TimeoutExpired as late:
        process.kill()
        process.communicate()
        raise BenchError(f"{process.args} did not end") from late
    if process.returncode != 0:
        raise BenchError(f"{process.args} ended with {process.returncode}:\n{text[-2000:]}")
    return text


class Growth:
    """The most memory that the data plane has had since the beginning, beyond what it had then."""

    def __init__(self, pid):
        self.pid, self.ending, self.first, self.most = pid, threading.Event(), resident(pid), 0
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()

    def run(self):
        while not self.ending.wait(SAMPLE_SECONDS):
            self.most = max(self.most, resident(self.pid) - self.first)


def resident(pid):
    return memory([pid])[0]


def beside(site, begin, seconds):
    """(report of the victims, what the load said) while a load runs, which is a second longer on both sides."""
    process = begin(seconds + 2)
    try:
        time.sleep(1)
        report = site.victims(seconds)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return report, finish(process, seconds + 2)


def attacks(run):
    """Every flood beside other clients: their tail, compared with the tail beside equal honest load."""
    with Site(run.programs, run.work) as site:
        yield from one_after_the_other(run, site, site.ports, ATTACKS)


def one_after_the_other(run, site, listeners, attacks_on_it):
    seconds, pid = run.amounts.attack_seconds, site.gateway.dataplane_pid()
    for listener in listeners:  # what a warm gateway keeps is no growth
        load.succeeded(finish(site.honest(listener, seconds), seconds), site.PROTOCOLS[listener])
    yield "p99 of others alone", f"{site.victims(seconds)['p99_ms']:.2f} ms", True
    for attack in attacks_on_it:
        yield one_attack(site, attack, run.amounts)
        run.progress(f"{attack.listener} attacked by {attack.name}")
    yield "the data plane that was attacked", "still serves", site.gateway.dataplane_pid() == pid


def one_attack(site, attack, amounts):
    """In turns with honest load, so that whatever else this machine does concerns both."""
    before = {name: site.metric(name) for name in attack.counters}
    honest, attacked, made, most = [], [], 0, 0
    for _ in range(amounts.attack_rounds):
        report, text = site.beside_honest(attack.listener, amounts.attack_seconds)
        load.succeeded(text, site.PROTOCOLS[attack.listener])
        honest.append(report)
        with Growth(site.gateway.dataplane_pid()) as growth:
            report, text = site.beside_attack(attack, amounts.attack_seconds)
        attacked.append(report)
        made, most = made + int(text), max(most, growth.most)
    risen = {name: site.metric(name) - value for name, value in before.items() if site.metric(name) > value}
    ratio, tails, is_answered = compare(honest, attacked)
    counted = ", ".join(f"{name.removesuffix('_total')} {count:,.0f}" for name, count in risen.items()) or "nothing counted"
    is_quick = ratio <= RATIO_MAX or (amounts.is_short and not site.HAS_SHORT_TAIL)
    is_fine = is_quick and is_answered and made > 0 and risen and most <= attack.growth * MIB and site.is_bounded()
    return (f"{attack.name}, {attack.listener}", f"{tails}; {made:,} {site.UNIT}; at most {most / MIB:+.1f} MiB; {counted}",
            bool(is_fine))


def compare(honest, attacked):
    """(how many times the tail of the honest, both as text, whether all were answered) of reports of the victims. A round in
    which nobody was answered at all has no errors."""
    if not all(report["requests"] for report in honest):
        raise BenchError("nobody was answered beside honest load")
    usual, tail = (statistics.median(report["p99_ms"] for report in reports) for reports in (honest, attacked))
    failed, requests = sum(map(failures, attacked)), sum(report["requests"] for report in attacked)
    ratio = tail / usual
    text = f"p99 {tail:.2f} ms, beside honest load {usual:.2f} ms: {ratio:.2f}x; {failed} of {requests:,} failed"
    return ratio, text, failed == 0 and all(report["requests"] for report in attacked)


STAGES = {"attacks": attacks}
