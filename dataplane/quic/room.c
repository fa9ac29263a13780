#include "dataplane/quic/room.h"

#include <openssl/rand.h>
#include <xxhash.h>

#include "common/alloc.h"
#include "common/secret_memory.h"
#include "dataplane/core/token_bucket.h"
#include "dataplane/quic/conn_private.h"
#include "dataplane/tls/quic.h"

/* ---- the process ---- */

struct quic_process *quic_process_create(const struct quic_process_options *o) {
    struct quic_process *p = secret_alloc(sizeof *p);
    if (!p)
        return NULL;
    p->options = *o;
    tls_quic_init();
    return p;
}

void quic_process_destroy(struct quic_process *p) {
    secret_free(p);
}

/* ---- the worker's ---- */

/* 0, or -1 without memory: OpenSSL makes its generator with the first ones. */
static int draw(struct quic_room *r) {
    if (RAND_bytes_ex(r->library->context, r->random, sizeof r->random, 0) != 1)
        return -1;
    r->random_left = sizeof r->random;
    return 0;
}

static void room_free(struct quic_room *r) {
    map_finish(&r->names);
    quic_tokens_finish(&r->tokens);
    origin_tokens_finish(&r->origin_tokens);
    secret_clear(r->random, sizeof r->random);
    hg_free(r->burst);
    hg_free(r);
}

struct quic_room *quic_room_of(struct worker *w) {
    if (w->quic)
        return w->quic;
    const struct tls_worker *tls = tls_worker_of(w);
    struct quic_room *r = tls ? hg_calloc(1, sizeof *r) : NULL;
    if (!r)
        return NULL;
    r->worker = w;
    r->library = &tls->library;
    r->burst = hg_malloc(QUIC_BURST_SIZE);
    if (!r->burst || draw(r) < 0) {
        room_free(r);
        return NULL;
    }
    w->quic = r;
    return r;
}

int quic_process_add_worker(struct quic_process *p, struct worker *w) {
    struct quic_room *r = quic_room_of(w);
    if (!r || quic_tokens_init(&r->tokens, r->library, p->options.secret) < 0)
        return -1;
    r->process = p;
    p->workers[w->index] = w;
    return 0;
}

void quic_worker_free(struct worker *w) {
    struct quic_room *r = w->quic;
    if (!r)
        return;
    while (r->first_closing)
        quic_cut(r->first_closing);
    worker_end_turn(w);
    room_free(r);
    w->quic = NULL;
}

bool quic_take_stateless(struct quic_room *r, enum quic_stateless kind) {
    bool is_left = token_bucket_take(&r->full_at[kind], r->worker->now, QUIC_STATELESS_PER_SECOND, QUIC_STATELESS_BURST, 1);
    stats_add(&r->worker->stats->quic_unanswered_total, !is_left);
    return is_left;
}

bool quic_take_retry(struct quic_room *r, const struct address *remote, const ngtcp2_cid *original) {
    struct str address = address_key(remote);
    uint64_t who = XXH3_64bits_withSeed(original->data, original->datalen, XXH3_64bits(address.p, address.n));
    struct quic_retried *kept = &r->retried[who % QUIC_RETRIES_KEPT];
    uint64_t now = r->worker->now;
    if (kept->who == who && now - kept->at < QUIC_RETRY_AGAIN_US)
        return false;
    *kept = (struct quic_retried){who, now};
    return true;
}

void quic_random(struct quic_room *r, uint8_t *bytes, size_t n) {
    if (n > r->random_left && draw(r) < 0)
        abort(); /* as OpenSSL's own protocol code: nothing can be secured any more */
    r->random_left -= n;
    memcpy(bytes, r->random + r->random_left, n);
    secret_clear(r->random + r->random_left, n);
}

/* ---- names ---- */

static struct str key_of(const uint8_t *id, size_t n) {
    return (struct str){(const char *)id, n};
}

int quic_name_add(struct quic_conn *c, const uint8_t *id, size_t n) {
    struct free_lists *lists = &c->worker->free_lists;
    if (n == 0 || n > QUIC_ID_MAX || map_get(&c->room->names, key_of(id, n)))
        return -1;
    struct quic_name *name = free_lists_alloc(lists, sizeof *name);
    if (!name)
        return -1;
    *name = (struct quic_name){.next = c->names, .conn = c, .n = (uint8_t)n};
    memcpy(name->id, id, n);
    if (map_set(&c->room->names, key_of(name->id, n), name) < 0) {
        free_lists_free(lists, name);
        return -1;
    }
    c->names = name;
    return 0;
}

static void drop(struct quic_conn *c, struct quic_name **link) {
    struct quic_name *name = *link;
    *link = name->next;
    map_remove(&c->room->names, key_of(name->id, name->n));
    free_lists_free(&c->worker->free_lists, name);
}

void quic_name_remove(struct quic_conn *c, const uint8_t *id, size_t n) {
    for (struct quic_name **link = &c->names; *link; link = &(*link)->next) {
        if ((*link)->n != n || memcmp((*link)->id, id, n) != 0)
            continue;
        drop(c, link);
        return;
    }
}

void quic_names_clear(struct quic_conn *c) {
    while (c->names)
        drop(c, &c->names);
}

struct quic_conn *quic_name_find(const struct quic_room *r, const uint8_t *id, size_t n) {
    const struct quic_name *name = n ? map_get(&r->names, key_of(id, n)) : NULL;
    return name ? name->conn : NULL;
}

/* ---- those that are closing ---- */

void quic_closing_add(struct quic_conn *c) {
    struct quic_room *r = c->room;
    c->is_listed_closing = true;
    c->next_closing = NULL;
    c->prev_closing = r->last_closing;
    *(c->prev_closing ? &c->prev_closing->next_closing : &r->first_closing) = c;
    r->last_closing = c;
    if (++r->closing_count > QUIC_CLOSING_MAX)
        quic_cut(r->first_closing);
}

void quic_closing_remove(struct quic_conn *c) {
    struct quic_room *r = c->room;
    if (!c->is_listed_closing)
        return;
    c->is_listed_closing = false;
    *(c->prev_closing ? &c->prev_closing->next_closing : &r->first_closing) = c->next_closing;
    *(c->next_closing ? &c->next_closing->prev_closing : &r->last_closing) = c->prev_closing;
    r->closing_count--;
}
