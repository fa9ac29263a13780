"""A client by grpcio that sends one large message, compressed: `compressing_client.py TARGET METHOD BYTES`. Its exit status is
that of the call."""
import sys

import grpc

target, method, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
with grpc.insecure_channel(target) as channel:
    call = channel.unary_unary(method)
    try:
        call(bytes(size), timeout=60, compression=grpc.Compression.Gzip)
    except grpc.RpcError as error:
        sys.exit(error.code().value[0])
