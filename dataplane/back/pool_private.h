/* pool_private.h — what the pool and the fallback from HTTP/3 to TCP share. Thread: the worker's. */
#pragma once

#include "dataplane/back/cluster.h"

/* ---- pool.c */

/* A new connection of the cluster's codec, or its fallback's. NULL: errno, as of pool_wait. */
struct client_connection *pool_connect(struct endpoint_runtime *, uint64_t connect_timeout, bool is_fallback);
/* The same, or one of that kind that is being made and can carry one more. */
struct client_connection *pool_join(struct endpoint_runtime *, uint64_t connect_timeout, bool is_fallback);
void                      pool_add_waiter(struct client_connection *, struct client_waiter *);
struct client_waiter     *pool_take_waiter(struct client_connection *);   /* the first; NULL: nobody waits */
/* Out of the list that it is in, if any: nothing new is opened on it. */
void                      pool_withdraw(struct client_connection *);
/* One that carries nothing. May free the endpoint. */
void                      pool_close(struct client_connection *);

/* ---- fallback.c */

/* As pool_wait, of a cluster that has a fallback. */
int                   fallback_wait(struct endpoint_runtime *, uint64_t connect_timeout, struct client_waiter *);
/* One of HTTP/3 is connected: someone who waits for one over TCP. NULL: nobody. */
struct client_waiter *fallback_take_waiter(struct client_connection *);
void                  fallback_note_connected(struct client_connection *);
/* Those over TCP that carry nothing, once HTTP/3 works. */
void                  fallback_close_others(struct client_connection *);
/* Connecting has failed; it is out of its list. Who waits for it waits for one of the other kind, if that is possible. */
void                  fallback_note_failed(struct client_connection *, int error);
/* An exchange has been opened on it, which was not made for that: where HTTP/3 had failed some time ago it is tried again
 * beside that. */
void                  fallback_note_used(struct client_connection *);
void                  fallback_finish(struct endpoint_runtime *);
