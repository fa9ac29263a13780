"""A client of TLS that does what Python's does not: renegotiation, and updates of keys without end."""
import ctypes
import ctypes.util

import attacker

CTRL_MAX_VERSION = 124
TLS_1_2, TLS_1_3 = 0x0303, 0x0304
UPDATE_NOT_REQUESTED, UPDATE_REQUESTED = 0, 1


def load():
    ssl = ctypes.CDLL(ctypes.util.find_library("ssl"))
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(ssl, name).restype = ctypes.c_void_p
    ssl.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    ssl.SSL_CTX_new.argtypes = ssl.SSL_new.argtypes = ssl.SSL_connect.argtypes = [ctypes.c_void_p]
    ssl.SSL_free.argtypes = ssl.SSL_CTX_free.argtypes = ssl.SSL_do_handshake.argtypes = [ctypes.c_void_p]
    ssl.SSL_renegotiate.argtypes = [ctypes.c_void_p]
    ssl.SSL_set_fd.argtypes = ssl.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    ssl.SSL_write.argtypes = ssl.SSL_read.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    return ssl


class OpensslClient:
    """A connection whose handshake is done. Calls return what OpenSSL returns: 1 and more are good."""

    def __init__(self, port, version=TLS_1_3):
        self.ssl, self.sock = load(), attacker.connect(port)
        self.sock.setblocking(True)
        self.context = self.ssl.SSL_CTX_new(self.ssl.TLS_client_method())
        self.ssl.SSL_CTX_ctrl(self.context, CTRL_MAX_VERSION, version, None)
        self.session = self.ssl.SSL_new(self.context)
        self.ssl.SSL_set_fd(self.session, self.sock.fileno())
        assert self.ssl.SSL_connect(self.session) == 1, "no handshake"

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.ssl.SSL_free(self.session)
        self.ssl.SSL_CTX_free(self.context)
        self.sock.close()

    def update_keys(self, kind=UPDATE_REQUESTED):
        return self.ssl.SSL_key_update(self.session, kind) == 1 and self.ssl.SSL_do_handshake(self.session) == 1

    def renegotiate(self):
        return self.ssl.SSL_renegotiate(self.session) == 1 and self.ssl.SSL_do_handshake(self.session) == 1

    def write(self, octets):
        return self.ssl.SSL_write(self.session, octets, len(octets))

    def read(self, n=65536):
        """Octets; empty at the end or after a failure."""
        room = ctypes.create_string_buffer(n)
        got = self.ssl.SSL_read(self.session, room, n)
        return room.raw[:max(0, got)]
