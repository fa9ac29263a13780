"""A TLS 1.3 client by the system's libssl itself: it can ask for new keys, which Python's ssl module cannot."""
import ctypes
import socket

CRYPTO = ctypes.CDLL("libcrypto.so.3", mode=ctypes.RTLD_GLOBAL)
SSL = ctypes.CDLL("libssl.so.3")

WANT_CLOSED = 6                        # SSL_ERROR_ZERO_RETURN: close_notify has come
SET_MIN, TLS1_3 = 123, 0x0304             # SSL_CTRL_SET_MIN_PROTO_VERSION
UPDATE_REQUESTED = 1
PIECE = 65536


def function(library, name, result, *arguments):
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found


POINTER, INT, LONG, TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p
SIZE = ctypes.POINTER(ctypes.c_size_t)
TLS_client_method = function(SSL, "TLS_client_method", POINTER)
SSL_CTX_new = function(SSL, "SSL_CTX_new", POINTER, POINTER)
SSL_CTX_free = function(SSL, "SSL_CTX_free", None, POINTER)
SSL_CTX_ctrl = function(SSL, "SSL_CTX_ctrl", LONG, POINTER, INT, LONG, POINTER)
SSL_CTX_set_ciphersuites = function(SSL, "SSL_CTX_set_ciphersuites", INT, POINTER, TEXT)
SSL_new = function(SSL, "SSL_new", POINTER, POINTER)
SSL_free = function(SSL, "SSL_free", None, POINTER)
SSL_set_fd = function(SSL, "SSL_set_fd", INT, POINTER, INT)
SSL_connect = function(SSL, "SSL_connect", INT, POINTER)
SSL_read_ex = function(SSL, "SSL_read_ex", INT, POINTER, POINTER, ctypes.c_size_t, SIZE)
SSL_write_ex = function(SSL, "SSL_write_ex", INT, POINTER, POINTER, ctypes.c_size_t, SIZE)
SSL_shutdown = function(SSL, "SSL_shutdown", INT, POINTER)
SSL_get_error = function(SSL, "SSL_get_error", INT, POINTER, INT)
SSL_key_update = function(SSL, "SSL_key_update", INT, POINTER, INT)
SSL_get1_session = function(SSL, "SSL_get1_session", POINTER, POINTER)
SSL_set_session = function(SSL, "SSL_set_session", INT, POINTER, POINTER)
SSL_session_reused = function(SSL, "SSL_session_reused", INT, POINTER)
ERR_get_error = function(CRYPTO, "ERR_get_error", ctypes.c_ulong)
ERR_clear_error = function(CRYPTO, "ERR_clear_error", None)
ERR_reason_error_string = function(CRYPTO, "ERR_reason_error_string", TEXT, ctypes.c_ulong)


class TlsError(Exception):
    """With OpenSSL's word for the reason; empty where it has none: the connection was cut."""


def fail(what):
    code = ERR_get_error()
    reason = (ERR_reason_error_string(code) or b"").decode() if code else ""
    ERR_clear_error()
    raise TlsError(f"{what}: {reason}")


class Client:
    """One connection to this host. `session` is of an earlier one, to be resumed; `receive_buffer` is in bytes."""

    def __init__(self, port, suite, session=None, receive_buffer=None):
        self.context = SSL_CTX_new(TLS_client_method())
        SSL_CTX_ctrl(self.context, SET_MIN, TLS1_3, None)
        SSL_CTX_set_ciphersuites(self.context, suite.encode())
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.ssl, self.room = SSL_new(self.context), ctypes.create_string_buffer(PIECE)
        SSL_set_fd(self.ssl, self.socket.fileno())
        if session:
            SSL_set_session(self.ssl, session)
        if SSL_connect(self.ssl) != 1:
            fail("connect")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        SSL_free(self.ssl)
        SSL_CTX_free(self.context)
        self.socket.close()

    def read(self):
        """Some bytes; none after close_notify."""
        n = ctypes.c_size_t()
        if SSL_read_ex(self.ssl, self.room, PIECE, ctypes.byref(n)) == 1:
            return self.room.raw[:n.value]
        if SSL_get_error(self.ssl, 0) == WANT_CLOSED:
            return b""
        return fail("read")

    def write(self, data):
        n = ctypes.c_size_t()
        if SSL_write_ex(self.ssl, data, len(data), ctypes.byref(n)) != 1:
            fail("write")

    def ask_for_new_keys(self):
        """With the next write ours are new, and with its next the peer's have to be."""
        if SSL_key_update(self.ssl, UPDATE_REQUESTED) != 1:
            fail("key update")

    def say_goodbye(self):
        """close_notify, both ways."""
        if SSL_shutdown(self.ssl) < 0 or SSL_shutdown(self.ssl) != 1:
            fail("shutdown")

    def session(self):
        return SSL_get1_session(self.ssl)

    def is_resumed(self):
        return SSL_session_reused(self.ssl) == 1
