"""An access log service (envoy.service.accesslog.v3) in this process: what gateways tell it, and when it does not listen."""
import concurrent.futures
import threading

import grpc

from planes import PATIENCE, wait_until

FILE = "envoy/service/accesslog/v3/als"
MESSAGE = "envoy.service.accesslog.v3.StreamAccessLogsMessage"


class LogService:
    """`entries` has all that came, as (log name, entry). While `gate` is not set it reads nothing."""

    def __init__(self, messages, port=0):
        self.message, self.port = messages.load(FILE, MESSAGE), port
        self.entries, self.identifiers, self.ends = [], [], []
        self.gate = threading.Event()
        self.gate.set()
        self.server = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.stop()

    def start(self):
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "envoy.service.accesslog.v3.AccessLogService",
            {"StreamAccessLogs": grpc.stream_unary_rpc_method_handler(self.stream)}),))
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        assert self.port
        self.server.start()

    def stop(self):
        if not self.server:
            return
        self.gate.set()
        self.server.stop(None).wait(PATIENCE)
        self.server = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def stream(self, requests, context):
        name, how = None, "cut"
        try:
            while True:
                self.gate.wait(PATIENCE)
                message = self.message.FromString(next(requests))
                assert message.HasField("identifier") == (name is None), "the first message says who speaks, and no other"
                if name is None:
                    name = message.identifier.log_name
                    self.identifiers.append(message.identifier)
                self.entries += [(name, entry) for entry in getattr(message, message.WhichOneof("log_entries")).log_entry]
        except StopIteration:
            how = "end"
        finally:
            self.ends.append(how)
        return b""

    # ---- what tests wait for

    def wait_entry(self, what, condition=lambda entry: True, name=None):
        return wait_until(f"an entry of {what}", lambda: next(
            (e for n, e in list(self.entries) if (name is None or n == name) and condition(e)), None))

    def wait_path(self, path):
        return self.wait_entry(path, lambda e: e.request.path == path)

    def wait_count(self, count):
        wait_until(f"{count} entries", lambda: len(self.entries) >= count)
        return len(self.entries)
