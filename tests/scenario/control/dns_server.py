"""A DNS server (unbound) whose answers a test changes."""
import os
import signal
import socket
import socketserver
import subprocess
import threading

from planes import PATIENCE, free_port, wait_until

NOBODY = "192.0.2.1"  # whom the server may not ask: its answer is SERVFAIL, at once
BASE = """
server:
    directory: ""
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    num-threads: 1
    verbosity: 2
    log-queries: yes
    module-config: "iterator"
    interface: 127.0.0.1@{port}
    do-not-query-localhost: no
    do-not-query-address: {NOBODY}
    local-zone: "test." static
    local-zone: "broken.test." transparent
    local-zone: "refused.test." refuse
{data}
forward-zone:
    name: "broken.test."
    forward-addr: {NOBODY}
remote-control:
    control-enable: no
"""


class DnsServer:
    """Authority for "test.": names without records do not exist; broken.test. has SERVFAIL, refused.test. REFUSED."""

    def __init__(self, folder):
        self.port, self.folder = free_port(), folder
        self.process = None
        self.records = []

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def _write(self):
        data = "\n".join(f"    local-data: '{r}'" for r in self.records)
        text = BASE.format(port=self.port, NOBODY=NOBODY, data=data)
        fresh = self.folder / "unbound.tmp"
        fresh.write_text(text)
        fresh.rename(self.folder / "unbound.conf")

    def _answers(self):
        """Whether it is there: any answer to a question of our own will do."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.5)
            s.connect(("127.0.0.1", self.port))
            try:
                s.send(b"\1\2\1\0\0\1\0\0\0\0\0\0\5ready\4test\0\0\1\0\1")
                return s.recv(512)[:2] == b"\1\2"
            except OSError:
                return False

    def start(self, *records):
        self.records = list(records)
        self._write()
        self.log = open(self.folder / "unbound.log", "ab")
        self.process = subprocess.Popen(["/usr/sbin/unbound", "-d", "-c", self.folder / "unbound.conf"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until("the DNS server answers", self._answers)

    def change(self, *records):
        """From now on these are the answers."""
        self.records = list(records)
        self._write()
        self.process.send_signal(signal.SIGHUP)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def queries(self, name, kind="A"):
        """How often that was asked."""
        with open(self.folder / "unbound.log", encoding="utf-8", errors="replace") as log:
            return sum(f" {name}. {kind} IN" in line for line in log)

    def stop(self):
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.terminate()
            self.process.wait()
            self.log.close()


class SlowDns(socketserver.ThreadingUDPServer):
    """In front of a DNS server. Questions for a name that is held wait, each by itself, and are `waiting`."""

    daemon_threads = True

    class RequestHandlerClass(socketserver.BaseRequestHandler):
        def handle(self):
            question, sock = self.request
            sock.sendto(self.server.answer(question), self.client_address)

    def __init__(self, dns):
        self.dns, self.held, self.gate, self.waiting = dns, None, threading.Event(), []
        super().__init__(("127.0.0.1", 0), SlowDns.RequestHandlerClass)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # the server reads its configuration; who asks will do it again

    def answer(self, question):
        if self.held and self.held in question:
            gate = self.gate
            self.waiting.append(question)
            gate.wait()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(PATIENCE)
            s.connect(("127.0.0.1", self.dns.port))
            s.send(question)
            return s.recv(4096)

    def hold(self, name):
        self.held = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"

    def release(self):
        """Those that wait are answered; those that come from now on wait."""
        gate, self.gate, self.waiting = self.gate, threading.Event(), []
        gate.set()

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.release()
        self.server_close()
