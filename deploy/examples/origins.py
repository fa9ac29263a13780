#!/usr/bin/env python3
"""Three small origins for the examples: shop, blog and api, on three ports of the loopback interface.

    origins.py [FIRST-PORT]        default 9001: shop 9001, blog 9002, api 9003; 0 lets the system pick

Each answers any request with its name and the request as it arrived, so that one sees what the gateway changed.
/slow waits a second; /status/404 answers with that status; /healthz says ok. One line is printed when all listen.
"""
import http.server
import json
import sys
import threading
import time

NAMES = ["shop", "blog", "api"]


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        status = 200
        if self.path == "/slow":
            time.sleep(1)
        if self.path.startswith("/status/") and self.path[8:].isdigit():
            status = min(max(int(self.path[8:]), 200), 599)
        text = "ok\n" if self.path == "/healthz" else self.describe(body)
        self.reply(status, text.encode())

    def describe(self, body):
        seen = {
            "origin": self.server.name,
            "request": f"{self.command} {self.path}",
            "fields": dict(self.headers.items()),
            "body-bytes": len(body),
        }
        return json.dumps(seen, indent=2) + "\n"

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "0" if status in (204, 304) else str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    def log_message(self, *_arguments):
        """The gateway logs."""


def start(name, port):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Origin)
    server.daemon_threads = True
    server.name = name
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main():
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 9001
    ports = [start(name, first + i if first else 0) for i, name in enumerate(NAMES)]
    print("listening", *(f"{name}=127.0.0.1:{port}" for name, port in zip(NAMES, ports)), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
    except OSError as error:
        sys.exit(f"origins.py: cannot listen: {error}")
