/* session_cache.h — sessions with origins that can be resumed: the newest of each origin, the least recently used go first.
 * Thread: the worker's. */
#pragma once

#include <stdint.h>

#include <openssl/ssl.h>

#include "common/map.h"

enum { SESSION_CACHE_MAX = 512 };

struct cached_session;

/* A zeroed struct is a valid empty cache. */
struct session_cache {
    struct map             by_origin;
    struct cached_session *first, *last;      /* most recently used first */
};

void session_cache_finish(struct session_cache *c);
/* What of `origin` can be resumed, still the cache's; NULL: nothing. */
SSL_SESSION *session_cache_find(struct session_cache *c, struct str origin);
/* Takes the session over; the one that was there is freed. Without memory it is freed at once. */
void session_cache_put(struct session_cache *c, struct str origin, SSL_SESSION *session);
void session_cache_forget(struct session_cache *c, struct str origin);
