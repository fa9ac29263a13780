#include "controlplane/health/wire.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

/* ---- reasons ---- */

static enum wire_status tell(char reason[REASON_MAX], const char *what) {
    snprintf(reason, REASON_MAX, "%s", what);
    return WIRE_FAILED;
}

static bool is_ours(int error) {
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS || error == EADDRNOTAVAIL;
}

static enum wire_status tell_errno(char reason[REASON_MAX], int error) {
    switch (error) {
    case ECONNREFUSED: return tell(reason, "connection refused");
    case ECONNRESET:
    case EPIPE: return tell(reason, "connection reset");
    case EHOSTUNREACH:
    case ENETUNREACH: return tell(reason, "no route to the endpoint");
    case ENOENT: return tell(reason, "there is no such socket");
    case EAGAIN: return tell(reason, "connection refused: its queue is full");
    default: break;
    }
    snprintf(reason, REASON_MAX, "%s", strerror(error));
    return is_ours(error) ? WIRE_NOT_MADE : WIRE_FAILED;
}

/* ---- the socket ---- */

/* After EADDRNOTAVAIL. Either TCP has no free port here, which is no fault of the endpoint; or there is no address to come
 * from, as where IPv6 is off, and nobody here can connect. UDP tells: its ports are others. */
static bool has_address_for(const struct address *to) {
    int fd = socket(to->u.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    bool has_one = connect(fd, &to->u.any, to->length) == 0 || errno != EADDRNOTAVAIL;
    close(fd);
    return has_one;
}

enum wire_status wire_open(struct wire *w, const struct address *to, char reason[REASON_MAX]) {
    const int on = 1;
    *w = (struct wire){.fd = -1};
    w->fd = socket(to->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (w->fd < 0)
        return tell_errno(reason, errno);
    if (to->u.any.sa_family != AF_UNIX)
        setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(w->fd, &to->u.any, to->length) == 0)
        return WIRE_OK;
    if (errno == EINPROGRESS)
        return WIRE_WANTS_WRITE;
    int error = errno;
    bool is_never = error == EADDRNOTAVAIL && !has_address_for(to);
    wire_close(w);
    return is_never ? tell(reason, "no address here to connect from") : tell_errno(reason, error);
}

enum wire_status wire_connected(struct wire *w, char reason[REASON_MAX]) {
    int error = 0;
    socklen_t n = sizeof error;
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        error = errno;
    return error ? tell_errno(reason, error) : WIRE_OK;
}

/* Over TLS with a close_notify, lest servers log every check as cut off. */
void wire_close(struct wire *w) {
    if (w->ssl && !w->is_over && SSL_is_init_finished(w->ssl)) {
        SSL_shutdown(w->ssl);
        ERR_clear_error();
    }
    SSL_free(w->ssl);
    if (w->fd >= 0)
        close(w->fd);
    *w = (struct wire){.fd = -1};
}

/* ---- TLS ---- */

/* What a call of OpenSSL that did not succeed means. */
static enum wire_status tls_status(struct wire *w, int result, const char *doing, char reason[REASON_MAX]) {
    int error = errno, code = SSL_get_error(w->ssl, result);
    unsigned long why = ERR_peek_error();
    long verified = SSL_get_verify_result(w->ssl);
    const char *text = ERR_reason_error_string(why);
    ERR_clear_error();
    if (code == SSL_ERROR_WANT_READ)
        return WIRE_WANTS_READ;
    if (code == SSL_ERROR_WANT_WRITE)
        return WIRE_WANTS_WRITE;
    w->is_over = true;
    if (code == SSL_ERROR_ZERO_RETURN || ERR_GET_REASON(why) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return WIRE_CLOSED;
    if (ERR_GET_REASON(why) == ERR_R_MALLOC_FAILURE)
        return WIRE_NOT_MADE;
    if (code == SSL_ERROR_SYSCALL && why == 0)
        return error ? tell_errno(reason, error) : WIRE_CLOSED;
    if (verified != X509_V_OK && SSL_get_verify_mode(w->ssl) != SSL_VERIFY_NONE)
        text = X509_verify_cert_error_string(verified);
    snprintf(reason, REASON_MAX, "TLS %s: %s", doing, text ? text : "failed");
    return WIRE_FAILED;
}

static enum wire_status check_protocol(struct wire *w, const struct transport *t, char reason[REASON_MAX]) {
    const unsigned char *name = NULL;
    unsigned n = 0;
    SSL_get0_alpn_selected(w->ssl, &name, &n);
    if (!t->is_http2 || (n == 2 && memcmp(name, "h2", 2) == 0))
        return WIRE_OK;
    return tell(reason, "the server does not agree to HTTP/2");
}

enum wire_status wire_handshake(struct wire *w, const struct transport *t, const char *name, char reason[REASON_MAX]) {
    if (!w->ssl)
        w->ssl = transport_session(t, w->fd, name);
    if (!w->ssl)
        return WIRE_NOT_MADE;
    ERR_clear_error();
    int result = SSL_do_handshake(w->ssl);
    if (result == 1)
        return check_protocol(w, t, reason);
    enum wire_status status = tls_status(w, result, "handshake", reason);
    return status == WIRE_CLOSED ? tell(reason, "closed during the TLS handshake") : status;
}

/* ---- bytes ---- */

static enum wire_status plain_status(ssize_t got, enum wire_status wanted, char reason[REASON_MAX]) {
    if (got == 0)
        return WIRE_CLOSED;
    return errno == EAGAIN || errno == EINTR ? wanted : tell_errno(reason, errno);
}

enum wire_status wire_read(struct wire *w, void *room, size_t n, size_t *ret_n, char reason[REASON_MAX]) {
    if (w->ssl) {
        ERR_clear_error();
        int result = SSL_read_ex(w->ssl, room, n, ret_n);
        return result == 1 ? WIRE_OK : tls_status(w, result, "record", reason);
    }
    ssize_t got = recv(w->fd, room, n, 0);
    if (got <= 0)
        return plain_status(got, WIRE_WANTS_READ, reason);
    *ret_n = (size_t)got;
    return WIRE_OK;
}

enum wire_status wire_write(struct wire *w, const void *bytes, size_t n, size_t *ret_n, char reason[REASON_MAX]) {
    if (w->ssl) {
        ERR_clear_error();
        int result = SSL_write_ex(w->ssl, bytes, n, ret_n);
        return result == 1 ? WIRE_OK : tls_status(w, result, "record", reason);
    }
    ssize_t put = send(w->fd, bytes, n, MSG_NOSIGNAL);
    if (put < 0)
        return plain_status(put, WIRE_WANTS_WRITE, reason);
    *ret_n = (size_t)put;
    return WIRE_OK;
}
