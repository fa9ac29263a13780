#include "dataplane/quic/origin_tokens.h"

#include <string.h>

#include "common/alloc.h"

struct origin_token {
    struct origin_token *next, *prev;
    size_t               origin_n, token_n;
    char                 bytes[];            /* the origin, then the token */
};

static struct str origin_of(const struct origin_token *e) {
    return (struct str){e->bytes, e->origin_n};
}

static void drop(struct origin_tokens *t, struct origin_token *e) {
    map_remove(&t->by_origin, origin_of(e));
    *(e->prev ? &e->prev->next : &t->first) = e->next;
    *(e->next ? &e->next->prev : &t->last) = e->prev;
    hg_free(e);
}

static void link_first(struct origin_tokens *t, struct origin_token *e) {
    e->prev = NULL;
    e->next = t->first;
    *(t->first ? &t->first->prev : &t->last) = e;
    t->first = e;
}

void origin_tokens_finish(struct origin_tokens *t) {
    while (t->first)
        drop(t, t->first);
    map_finish(&t->by_origin);
}

static struct origin_token *make(struct str origin, const uint8_t *token, size_t n) {
    struct origin_token *e = hg_malloc(sizeof *e + origin.n + n);
    if (!e)
        return NULL;
    *e = (struct origin_token){.origin_n = origin.n, .token_n = n};
    memcpy(e->bytes, origin.p, origin.n);
    memcpy(e->bytes + origin.n, token, n);
    return e;
}

void origin_tokens_put(struct origin_tokens *t, struct str origin, const uint8_t *token, size_t n) {
    struct origin_token *old = map_get(&t->by_origin, origin);
    if (n == 0 || n > ORIGIN_TOKEN_BYTES_MAX)
        return;
    if (old)
        drop(t, old);
    while (t->by_origin.count >= ORIGIN_TOKENS_MAX)
        drop(t, t->last);
    struct origin_token *e = make(origin, token, n);
    if (!e)
        return;
    if (map_set(&t->by_origin, origin_of(e), e) < 0)
        hg_free(e);
    else
        link_first(t, e);
}

size_t origin_tokens_take(struct origin_tokens *t, struct str origin, uint8_t room[ORIGIN_TOKEN_BYTES_MAX]) {
    struct origin_token *e = map_get(&t->by_origin, origin);
    if (!e)
        return 0;
    size_t n = e->token_n;
    memcpy(room, e->bytes + e->origin_n, n);
    drop(t, e);
    return n;
}
