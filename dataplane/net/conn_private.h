/* conn_private.h — what conn.c and conn_tls.c share. For no one else. */
#pragma once

#include "dataplane/net/conn.h"

/* What takes as long as reading so many bytes does, about. */
enum { CONNECT_WORK = 128 << 10, HANDSHAKE_WORK = 256 << 10 };

ssize_t conn_receive(int fd, void *room, size_t n);
/* Sends what is gathered. */
ssize_t conn_transmit(int fd, const struct gather *g);
void    conn_count_bytes(struct conn *c, bool sent, size_t n);
/* That many bytes were read, of at most so many. */
void    conn_note_input(struct conn *c, size_t n, size_t limit);
void    conn_charge(struct conn *c);                     /* the worker's budget follows what is held and unsent */
/* Moves what is unsent into the gather; false: not all of it had room. */
bool    conn_gather_unsent(struct conn *c, struct gather *g);

/* Reads ciphertext once and delivers what it holds. */
void    conn_tls_read(struct conn *c, size_t limit);
/* The socket is connected: the handshake begins. */
void    conn_tls_connected(struct conn *c);
/* Delivers what the session still has of what was received. */
void    conn_tls_drain(struct conn *c);
/* Replaces the plaintext in the gather by ciphertext, in the gather or in c->out; or leaves it to the kernel. 0, or an errno
 * and the gather is empty. */
int     conn_tls_seal(struct conn *c, struct gather *g);
/* As conn_transmit; *ret_wire: what the bytes that were taken are on the wire. */
ssize_t conn_tls_transmit(struct conn *c, const struct gather *g, size_t *ret_wire);
/* Everything was taken, but some of it may have no room in TCP's buffer yet. */
bool    conn_tls_holds(struct conn *c);
/* close_notify, as far as the kernel takes it at once. */
void    conn_tls_notify(struct conn *c);
