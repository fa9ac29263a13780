"""A gRPC server, by grpcio, with the health service; prints its port. Services "" and "up" are SERVING, "down" is not.

grpcio's package of the health service is not in Debian, so the two messages, of one field each, are written by hand here.
"""
import concurrent.futures
import sys

import grpc

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
STATES = {"": SERVING, "up": SERVING, "down": NOT_SERVING}


def service_of(request):
    """HealthCheckRequest{string service = 1}"""
    return request[2:2 + request[1]].decode() if request else ""


def check(request, context):
    state = STATES.get(service_of(request))
    if state is None:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return state


def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=2))
    method = grpc.unary_unary_rpc_method_handler(check)
    if sys.argv[1:] != ["--without-health"]:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()    # until whoever started it goes
    server.stop(None)


if __name__ == "__main__":
    main()
