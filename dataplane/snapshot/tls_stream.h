/* tls_stream.h — TLS 1.3 as a client, bytes in and bytes out, for a control plane that is reached over TCP.
 *
 * Both sides show certificates; the server's must be of the given authority and name. Thread: main. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/str.h"

struct channel_tls;    /* certificate, key, authority: for all connections */
struct tls_stream;    /* one connection */

/* The texts outlive the client. */
struct channel_tls_files {
    const char *ca;          /* PEM: who may have issued the server's certificate */
    const char *certificate; /* PEM: ours, with its chain */
    const char *key;         /* PEM */
    const char *server_name; /* that the server's certificate must be for */
};

/* Reads the files now, and again for a new connection when one of them has changed. What cannot be used any more is told in
 * the log, and what was read before goes on. NULL with the reason in `errors`. */
struct channel_tls *channel_tls_create(const struct channel_tls_files *files, struct error_list *errors);
void channel_tls_destroy(struct channel_tls *t);    /* NULL is allowed */

struct tls_stream *tls_stream_create(struct channel_tls *t);   /* NULL: no memory */
void tls_stream_destroy(struct tls_stream *s);                /* NULL is allowed */
/* Bytes from the wire; plain bytes are added to `plain`. 0, or -1 with the reason in `errors`. */
int tls_stream_receive(struct tls_stream *s, const uint8_t *bytes, size_t size, struct strbuf *plain,
                       struct error_list *errors);
/* Plain bytes to be sent; what waits until the handshake is over is kept. 0 or -1. */
int  tls_stream_send(struct tls_stream *s, const uint8_t *plain, size_t size);
/* What is to go on the wire is added to `wire`. 0 or -1 (memory). */
int  tls_stream_output(struct tls_stream *s, struct strbuf *wire);
