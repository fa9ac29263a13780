/* records.h — the records of a server's TLS 1.3 connection after its handshake, without OpenSSL's connection
 * object.
 *
 * That object takes 20 to 27 KiB, of which an open connection needs two keys, two counters, and this file. So once
 * a handshake is done its traffic secrets are taken over (they are what a key log shows) and the object is freed.
 * What is left of TLS 1.3 for a server is small: RFC 8446 section 5 (records), 4.6.3 and 7.2 (key updates), 6
 * (alerts); tickets went out with the handshake, and a client sends no other handshake message. Encryption itself
 * is OpenSSL's EVP, or the kernel's once it has taken over sending (kernel_records.h). Thread: the worker's. */
#pragma once

#include "dataplane/tls/session_private.h"

/* SSL_CTX_set_keylog_callback: keeps the two secrets of application traffic with the session. */
void records_on_secret(const SSL *ssl, const char *line);

/* The handshake is done; it wrote `written` bytes in its last step, whose records are the first ones under the new
 * keys. True: the session's SSL has been freed. False: it stays, because the connection is not one of these (TLS
 * 1.2, another cipher, input that OpenSSL holds, no memory). */
bool records_take_over(struct tls_session *s, const uint8_t *written, size_t n);
void records_free(struct records *r);                    /* NULL is allowed */

/* As tls_read and tls_write; `ret_failure` is set with TLS_FAILED, an alert stands in io->out then. */
enum tls_status records_read(struct records *r, struct tls_io *io, uint8_t *room, size_t n, size_t *ret,
                             enum tls_failure *ret_failure);
enum tls_status records_write(struct records *r, struct tls_io *io, const void *bytes, size_t n);
size_t          records_kept(const struct records *r);
void            records_close_notify(struct records *r, struct tls_io *io);
