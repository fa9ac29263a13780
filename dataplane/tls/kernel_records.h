/* kernel_records.h — the kernel makes the records that a session sends, where it can (kernel_tls.h). Receiving stays ours.
 *
 * The only functions of a session that touch its descriptor. net/conn_tls.c calls them: it offers the session when nothing
 * is unsent and the first bytes of its owner are to be written; from there on what is unsent is plaintext, and io->out stays
 * empty. Thread: the worker's. */
#pragma once

#include "dataplane/tls/session.h"

/* Nothing sealed is on its way to the socket. True: from here on plaintext is sent. False: tls_write goes on, and it is not
 * tried again. */
bool tls_offer_to_kernel(struct tls_session *s, int fd);
bool tls_is_in_kernel(const struct tls_session *s);

/* The rest is for sessions that are in the kernel. */

/* Before plaintext is sent: a key update that is due. 0, or -1 with errno; EAGAIN: no room now, and none for data. */
int    tls_kernel_prepare(struct tls_session *s, int fd);
/* The kernel has taken n bytes of plaintext; returns what they are as records. */
size_t tls_kernel_took(struct tls_session *s, size_t n);
/* The last record that the kernel took may not have had room in TCP's buffer: its rest waits outside of that, and is dropped
 * when the socket is closed or shut down; and without room close_notify would be lost. True: there may be such a rest, or no
 * room; the socket becomes writable when there is. After a write it takes four system calls. */
bool   tls_kernel_holds(struct tls_session *s, int fd);
/* Sends io->alert if there is one; without room the peer learns by the closed connection. Returns bytes of record, or 0. */
size_t tls_kernel_send_alert(struct tls_session *s, int fd);
