"""A server of gRPC, Debian's python3-grpcio: all four forms of calls, errors, and calls that do not end by themselves."""
import concurrent.futures
import contextlib
import itertools
import queue
import threading

import grpc

PATIENCE = 20
SERVICE = "/test.Echo/"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_http_proxy", 0)]


class Echo(grpc.GenericRpcHandler):
    """The form of a call is the last segment of its path. Messages are bytes. What happened to calls that do not end by
    themselves is told in `events`."""

    def __init__(self):
        self.events = queue.Queue()

    def service(self, details):
        forms = {"Unary": grpc.unary_unary_rpc_method_handler(self.unary),
                 "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
                 "Repeat": grpc.unary_stream_rpc_method_handler(self.repeat),
                 "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
                 "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
                 "Hang": grpc.unary_unary_rpc_method_handler(self.hang),
                 "HangOn": grpc.unary_stream_rpc_method_handler(self.hang_on)}
        return forms.get(details.method.rpartition("/")[2])

    @staticmethod
    def unary(message, context):
        given = dict(context.invocation_metadata())
        context.send_initial_metadata([("x-initial", given.get("x-asked", "none"))])
        context.set_trailing_metadata([("x-trailing", "done"), ("x-bytes-bin", b"\x00\xff")])
        return message

    @staticmethod
    def collect(messages, _context):
        return b"".join(messages)

    @staticmethod
    def repeat(message, _context):
        count, _, text = message.partition(b" ")
        yield from itertools.repeat(text, int(count))

    @staticmethod
    def chat(messages, _context):
        for message in messages:
            yield b"> " + message

    @staticmethod
    def fail(_message, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100 % \u00e4")

    def hang(self, _message, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        self.events.put("began")
        ended.wait(PATIENCE)
        self.events.put("cancelled" if not context.is_active() else "late")
        return b""

    def hang_on(self, message, context):
        yield b"first"
        yield self.hang(message, context)

    def forget(self):
        """What was told."""
        while not self.events.empty():
            self.events.get()


@contextlib.contextmanager
def serving():
    """The handler, with the port of its server."""
    handler = Echo()
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=16)
    server = grpc.server(pool, options=[*OPTIONS, ("grpc.http2.min_ping_interval_without_data_ms", 10)])
    server.add_generic_rpc_handlers([handler])
    handler.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler
    server.stop(0).wait()
    pool.shutdown()
