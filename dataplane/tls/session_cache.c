#include "dataplane/tls/session_cache.h"

#include <openssl/ssl.h>

#include "common/alloc.h"

struct cached_session {
    struct cached_session *next, *prev;
    SSL_SESSION           *session;
    size_t                 n;
    char                   origin[];
};

static struct str origin_of(const struct cached_session *e) {
    return (struct str){e->origin, e->n};
}

static void unlink_entry(struct session_cache *c, struct cached_session *e) {
    *(e->prev ? &e->prev->next : &c->first) = e->next;
    *(e->next ? &e->next->prev : &c->last) = e->prev;
}

static void link_first(struct session_cache *c, struct cached_session *e) {
    e->prev = NULL;
    e->next = c->first;
    *(c->first ? &c->first->prev : &c->last) = e;
    c->first = e;
}

static void drop(struct session_cache *c, struct cached_session *e) {
    map_remove(&c->by_origin, origin_of(e));
    unlink_entry(c, e);
    SSL_SESSION_free(e->session);
    hg_free(e);
}

void session_cache_finish(struct session_cache *c) {
    while (c->first)
        drop(c, c->first);
    map_finish(&c->by_origin);
}

/* A resumed session shows no certificate, so that nobody would see that the origin's has expired. */
static bool is_good(SSL_SESSION *session) {
    const X509 *peer = SSL_SESSION_get0_peer(session);
    return SSL_SESSION_is_resumable(session) && (!peer || X509_cmp_current_time(X509_get0_notAfter(peer)) > 0);
}

SSL_SESSION *session_cache_find(struct session_cache *c, struct str origin) {
    struct cached_session *e = map_get(&c->by_origin, origin);
    if (!e)
        return NULL;
    if (!is_good(e->session)) {
        drop(c, e);
        return NULL;
    }
    unlink_entry(c, e);
    link_first(c, e);
    return e->session;
}

void session_cache_put(struct session_cache *c, struct str origin, SSL_SESSION *session) {
    session_cache_forget(c, origin);
    while (c->by_origin.count >= SESSION_CACHE_MAX)
        drop(c, c->last);
    struct cached_session *e = hg_malloc(sizeof *e + origin.n);
    if (!e) {
        SSL_SESSION_free(session);
        return;
    }
    *e = (struct cached_session){.session = session, .n = origin.n};
    memcpy(e->origin, origin.p, origin.n);
    if (map_set(&c->by_origin, origin_of(e), e) < 0) {
        SSL_SESSION_free(session);
        hg_free(e);
        return;
    }
    link_first(c, e);
}

void session_cache_forget(struct session_cache *c, struct str origin) {
    struct cached_session *e = map_get(&c->by_origin, origin);
    if (e)
        drop(c, e);
}
