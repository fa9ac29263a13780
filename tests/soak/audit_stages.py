"""What an auditor says of a site behind the gateway. Each stage yields (what, figure as text, whether it is as wanted)."""
import collections
import http.server
import json
import os
import re
import shutil
import socketserver
import struct
import subprocess
import threading

from attack_stages import Site
from certificates import openssl
from processes import BenchError

HARMLESS = {"OK", "INFO"}
OF_THE_AUDITOR = {"engine_problem"}     # its own openssl has no GOST: nothing that a site could do about
NOT_LOOKED_AT = "connect problem"       # in a finding: its client had ended before the ticket came, so it had none to resume by
TRIES = 3
LIST = "/authority.crl"
FIELDS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains", "X-Content-Type-Options": "nosniff",
          "X-Frame-Options": "DENY", "Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer"}
CAA, HEAD = 257, struct.Struct(">HHHHHH")


class Serving:
    """A server of the socketserver kind in a thread of its own."""

    def __init__(self, server):
        self.server, self.port = server, server.server_address[1]
        self.thread = threading.Thread(target=server.serve_forever)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Page(http.server.BaseHTTPRequestHandler):
    """A page with the fields that a browser heeds, and the authority's list of what it has revoked."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # pylint: disable=invalid-name
        is_list = self.path == LIST
        body = self.server.revoked if is_list else b"a page\n"
        self.send_response(200)
        for name, value in FIELDS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/pkix-crl" if is_list else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):  # pylint: disable=arguments-differ
        """Nobody reads it."""


def serve_pages():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.revoked = b""
    return Serving(server)


class Question(socketserver.BaseRequestHandler):
    """Answers that this site's certificates come from one authority (RFC 8659), and knows no other record."""

    def handle(self):
        data, sock = self.request
        number = HEAD.unpack_from(data)[0]
        end = data.index(b"\0", HEAD.size) + 5     # the name, kind and class
        kind = struct.unpack_from(">H", data, end - 4)[0]
        value = b"\0\x05issue" + b"authority.example"
        record = struct.pack(">HHHIH", 0xC00C, CAA, 1, 60, len(value)) + value
        answers = [record] if kind == CAA else []
        sock.sendto(HEAD.pack(number, 0x8580, 1, len(answers), 0, 0) + data[HEAD.size:end] + b"".join(answers),
                    self.client_address)


def serve_names():
    return Serving(socketserver.UDPServer(("127.0.0.1", 0), Question))


def asking_here(folder, names):
    """The environment in which testssl finds, before others, programs that ask this name server: it has no option for that."""
    folder.mkdir()
    for program, options in (("host", f'-p {names.port} "$@" 127.0.0.1'), ("drill", f'-p {names.port} @127.0.0.1 "$@"'),
                             ("dig", f'@127.0.0.1 -p {names.port} "$@"')):
        if real := shutil.which(program):
            (folder / program).write_text(f"#!/bin/sh\nexec {real} {options}\n")
            (folder / program).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def audit(run, site, environment):
    """What testssl finds."""
    found, log = run.work / "testssl.json", run.work / "testssl.log"
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--add-ca", site.authority.pem, "--jsonfile", found,
               f"localhost:{site.ports['secure']}"]
    found.unlink(missing_ok=True)
    with open(log, "wb") as output:
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False,
                              timeout=run.amounts.testssl_seconds, env=environment)
    if not found.exists():
        raise BenchError(f"testssl ended with {done.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    return json.loads(re.sub(r",\s*\]\s*$", "]", found.read_text()))


def audit_of_everything(run, site, names):
    """What testssl finds when it could look at everything, or the last time."""
    environment = asking_here(run.work / "programs", names)
    for _ in range(TRIES):
        findings = audit(run, site, environment)
        if not any(NOT_LOOKED_AT in finding["finding"] for finding in findings):
            break
    return findings


def is_not_revoked(site):
    """Whether openssl finds the list where the certificate says, and the certificate not in it. testssl does not look: it would
    ask other hosts too."""
    try:
        openssl("verify", "-CAfile", site.authority.pem, "-crl_check", "-crl_download", site.certificate)
    except subprocess.CalledProcessError as error:
        return error.stderr.strip(), False
    return "not revoked", True


def testssl(run):
    """testssl.sh against a listener with TLS: nothing worse than informational."""
    with serve_pages() as pages, serve_names() as names:
        where = f"crlDistributionPoints=URI:http://127.0.0.1:{pages.port}{LIST}"
        with Site(run.programs, run.work, pages, [where]) as site:
            pages.server.revoked = site.authority.revoked()
            yield "the certificate, in its authority's list", *is_not_revoked(site)
            findings = audit_of_everything(run, site, names)
    count = collections.Counter(finding["severity"] for finding in findings)
    yield "findings by severity", ", ".join(f"{severity} {n}" for severity, n in count.items()), bool(findings)
    for finding in findings:
        if finding["severity"] not in HARMLESS and finding["id"] not in OF_THE_AUDITOR:
            yield f"{finding['severity']} {finding['id']}", finding["finding"], False


STAGES = {"testssl": testssl}
