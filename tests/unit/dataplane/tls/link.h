/* link.h — two sessions back to back, without sockets. Side 0 is the client, ours or one of plain OpenSSL; side 1
 * the server. */
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/alloc.h"
#include "dataplane/core/worker.h"
#include "dataplane/tls/session.h"

enum { CLIENT, SERVER };

struct link {
    struct worker      *worker[2];
    struct tls_session *session[2];
    SSL                *raw;             /* instead of session[CLIENT] */
    struct strbuf       wire[2];         /* on its way to that side */
    size_t              at[2];
    struct strbuf       got[2];          /* plain bytes that arrived */
    enum tls_status     status[2];       /* of the last call */
    bool                is_done[2];      /* the handshake is */
    size_t              step;            /* most bytes that arrive at once; 0: no bound */
    size_t              room;            /* of reads; 0: 64 KiB */
};

static inline void link_finish(struct link *l) {
    for (int side = 0; side < 2; side++) {
        tls_session_free(l->session[side]);
        strbuf_finish(&l->wire[side]);
        strbuf_finish(&l->got[side]);
        if (l->worker[side] && l->worker[side]->tls)
            l->worker[side]->tls->out_n = l->worker[side]->tls->in_n = 0;
    }
    SSL_free(l->raw);
    ERR_clear_error();
    *l = (struct link){0};
}

/* What a side wrote goes on the wire. */
static inline void link_flush(struct link *l, int side) {
    if (side == CLIENT && l->raw) {
        char *p;
        long n = BIO_get_mem_data(SSL_get_wbio(l->raw), &p);
        strbuf_add(&l->wire[!side], p, (size_t)n);
        (void)BIO_reset(SSL_get_wbio(l->raw));
        return;
    }
    struct tls_io *io = l->worker[side]->tls;
    strbuf_add(&l->wire[!side], io->out, io->out_n);
    io->out_n = 0;
}

static inline enum tls_status raw_status(SSL *ssl, int returned) {
    int error = SSL_get_error(ssl, returned);
    return error == SSL_ERROR_WANT_READ ? TLS_AGAIN : error == SSL_ERROR_ZERO_RETURN ? TLS_EOF : TLS_FAILED;
}

static inline enum tls_status side_handshake(struct link *l, int side) {
    if (side == SERVER || !l->raw)
        return tls_handshake(l->session[side]);
    ERR_clear_error();
    int returned = SSL_do_handshake(l->raw);
    return returned == 1 ? TLS_OK : raw_status(l->raw, returned);
}

static inline enum tls_status side_read(struct link *l, int side, uint8_t *room, size_t n, size_t *ret) {
    if (side == SERVER || !l->raw)
        return tls_read(l->session[side], room, n, ret);
    ERR_clear_error();
    int returned = SSL_read_ex(l->raw, room, n, ret);
    return returned == 1 ? TLS_OK : raw_status(l->raw, returned);
}

static inline void side_work(struct link *l, int side) {
    static _Thread_local uint8_t room[65536];
    size_t n = 0;
    l->status[side] = TLS_OK;
    if (!l->is_done[side]) {
        l->status[side] = side_handshake(l, side);
        l->is_done[side] = l->status[side] == TLS_OK;
    }
    while (l->status[side] == TLS_OK) {
        l->status[side] = side_read(l, side, room, l->room ? l->room : sizeof room, &n);
        if (l->status[side] == TLS_OK)
            strbuf_add(&l->got[side], room, n);
    }
    link_flush(l, side);
}

/* Some bytes arrive. */
static inline void link_arrive(struct link *l, int side) {
    size_t n = l->wire[side].n - l->at[side];
    const char *p = l->wire[side].p + l->at[side];
    if (l->step && n > l->step)
        n = l->step;
    if (n > READ_MAX)
        n = READ_MAX;
    l->at[side] += n;
    if (side == CLIENT && l->raw) {
        BIO_write(SSL_get_rbio(l->raw), p, (int)n);
    } else {
        struct tls_io *io = l->worker[side]->tls;
        memcpy(io->in_buffer, p, n);
        io->in = io->in_buffer;
        io->in_n = n;
    }
    side_work(l, side);
}

static inline bool link_moves(struct link *l, int side) {
    if (l->at[side] == l->wire[side].n || l->status[side] == TLS_FAILED || l->status[side] == TLS_EOF)
        return false;
    link_arrive(l, side);
    return true;
}

/* Until nothing is on its way. */
static inline void link_run(struct link *l) {
    if (!l->is_done[CLIENT] && l->wire[SERVER].n == 0)
        side_work(l, CLIENT);
    while (link_moves(l, SERVER) || link_moves(l, CLIENT))
        ;
}

static inline void link_send(struct link *l, int side, const void *bytes, size_t n) {
    size_t written;
    if (side == CLIENT && l->raw)
        assert_int_equal(SSL_write_ex(l->raw, bytes, n, &written), 1);
    else
        for (size_t at = 0; at < n; at += TLS_RECORD_MAX) {
            size_t part = n - at < TLS_RECORD_MAX ? n - at : TLS_RECORD_MAX;
            assert_int_equal(tls_write(l->session[side], (const uint8_t *)bytes + at, part), TLS_OK);
            link_flush(l, side);
        }
    link_flush(l, side);
}

static inline SSL *raw_client(SSL_CTX *context) {
    SSL *ssl = SSL_new(context);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(ssl), -1);
    SSL_set_connect_state(ssl);
    return ssl;
}
