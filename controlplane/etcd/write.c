#include "controlplane/etcd/write.h"

#include <inttypes.h>
#include <stdio.h>

void etcd_generation_name(uint64_t version, uint32_t random, char ret[ETCD_GENERATION_MAX + 1]) {
    snprintf(ret, ETCD_GENERATION_MAX + 1, "%016" PRIx64 "-%08" PRIx32, version, random);
}

enum { LAST_OPS = 3 };                  /* of put_current, at most */

#define GENERATIONS_END "generations0"  /* behind all keys that begin with ETCD_GENERATIONS */

/* One transaction that is being made. */
struct txn {
    struct arena             *arena;
    Etcdserverpb__TxnRequest *request;
    size_t                    bytes;
};

static ProtobufCBinaryData data_of(struct str s) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)s.p, .len = s.n};
}

static Etcdserverpb__RequestOp *add_op(struct txn *t) {
    Etcdserverpb__RequestOp *op = arena_alloc(t->arena, sizeof *op);
    if (!op)
        return NULL;
    etcdserverpb__request_op__init(op);
    t->request->success[t->request->n_success++] = op;
    return op;
}

static int put(struct txn *t, const char *key, struct str value) {
    Etcdserverpb__PutRequest *put = arena_alloc(t->arena, sizeof *put);
    Etcdserverpb__RequestOp *op = put && key ? add_op(t) : NULL;
    if (!op)
        return -1;
    etcdserverpb__put_request__init(put);
    put->key = data_of(str_of(key));
    put->value = data_of(value);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = put;
    t->bytes += put->key.len + put->value.len;
    return 0;
}

static int drop_range(struct txn *t, const char *key, const char *end) {
    Etcdserverpb__DeleteRangeRequest *range = arena_alloc(t->arena, sizeof *range);
    Etcdserverpb__RequestOp *op = range && key && end ? add_op(t) : NULL;
    if (!op)
        return -1;
    etcdserverpb__delete_range_request__init(range);
    range->key = data_of(str_of(key));
    range->range_end = data_of(str_of(end));
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = range;
    return 0;
}

/* Nobody has changed `current`; otherwise it is answered. */
static int compare(const struct etcd_write *w, struct txn *t, const char *current) {
    Etcdserverpb__Compare *c = arena_alloc(t->arena, sizeof *c);
    Etcdserverpb__RangeRequest *range = arena_alloc(t->arena, sizeof *range);
    Etcdserverpb__RequestOp *op = arena_alloc(t->arena, sizeof *op);
    if (!c || !range || !op)
        return -1;
    etcdserverpb__compare__init(c);
    c->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    c->key = data_of(str_of(current));
    c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    c->mod_revision = w->modified;
    etcdserverpb__range_request__init(range);
    range->key = c->key;
    etcdserverpb__request_op__init(op);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = range;
    t->request->compare[t->request->n_compare++] = c;
    t->request->failure[t->request->n_failure++] = op;
    return 0;
}

static int begin(struct txn *t, struct arena *arena) {
    *t = (struct txn){.arena = arena, .request = arena_alloc(arena, sizeof *t->request)};
    if (!t->request)
        return -1;
    etcdserverpb__txn_request__init(t->request);
    t->request->success = arena_calloc(arena, ETCD_WRITE_OPS_MAX, sizeof *t->request->success);
    t->request->compare = arena_calloc(arena, 1, sizeof *t->request->compare);
    t->request->failure = arena_calloc(arena, 1, sizeof *t->request->failure);
    return t->request->success && t->request->compare && t->request->failure ? 0 : -1;
}

/* ---- the values, as many as fit ---- */

static int put_values(struct etcd_write *w, struct txn *t) {
    for (; w->next < w->values->count; w->next++) {
        const struct etcd_value *v = &w->values->items[w->next];
        bool is_long = t->bytes && t->bytes + v->text.n > ETCD_WRITE_BYTES_MAX;
        if (t->request->n_success + LAST_OPS == ETCD_WRITE_OPS_MAX || is_long)
            return 0;
        const char *key = arena_printf(t->arena, "%s/" ETCD_CONFIG ETCD_GENERATIONS "%s/%s", w->prefix, w->after->generation,
                                       v->key);
        if (put(t, key, v->text) < 0)
            return -1;
    }
    return 0;
}

/* Whether generations below the one before are older than this one: names that people made need not be. */
static bool may_drop(const struct etcd_write *w) {
    return w->before->version && strcmp(w->before->generation, w->after->generation) < 0;
}

static const char *generations(const struct etcd_write *w, struct txn *t, const char *end) {
    return arena_printf(t->arena, "%s/" ETCD_CONFIG "%s", w->prefix, end);
}

static const char *generation(const struct etcd_write *w, struct txn *t, const struct etcd_pointer *p, const char *end) {
    return arena_printf(t->arena, "%s/" ETCD_CONFIG ETCD_GENERATIONS "%s%s", w->prefix, p->generation, end);
}

/* Without a `current` nobody reads any of those that are there, and whoever is writing one finds this one counting. */
static int drop_all_others(const struct etcd_write *w, struct txn *t) {
    if (drop_range(t, generations(w, t, ETCD_GENERATIONS), generation(w, t, w->after, "/")) < 0)
        return -1;
    return drop_range(t, generation(w, t, w->after, "0"), generations(w, t, GENERATIONS_END));
}

static int drop_older(const struct etcd_write *w, struct txn *t) {
    if (w->modified == 0)
        return drop_all_others(w, t);
    if (!may_drop(w))
        return 0;
    return drop_range(t, generations(w, t, ETCD_GENERATIONS), generation(w, t, w->before, ""));
}

/* The generation before stays, for whoever reads it now and to go back to. */
static int put_current(struct etcd_write *w, struct txn *t, const char *current) {
    struct strbuf text = {0};
    etcd_pointer_write(w->after, &text);
    struct str value = arena_str(t->arena, strbuf_str(&text));
    int status = text.failed || !value.p ? -1 : put(t, current, value);
    strbuf_finish(&text);
    if (status == 0)
        status = drop_older(w, t);
    w->is_over = status == 0;
    return status;
}

Etcdserverpb__TxnRequest *etcd_write_next(struct etcd_write *w, struct arena *arena) {
    struct txn t;
    const char *current = arena_printf(arena, "%s/" ETCD_CONFIG ETCD_CURRENT, w->prefix);
    if (w->is_over || !current || begin(&t, arena) < 0 || compare(w, &t, current) < 0 || put_values(w, &t) < 0)
        return NULL;
    if (w->next == w->values->count && put_current(w, &t, current) < 0)
        return NULL;
    return t.request;
}

bool etcd_write_has_counted(const struct etcd_write *w, const struct etcd_pointer *now) {
    return strcmp(now->generation, w->after->generation) == 0 || strcmp(now->previous.name, w->after->generation) == 0;
}

Etcdserverpb__TxnRequest *etcd_write_undo(const struct etcd_write *w, struct arena *arena) {
    struct txn t;
    const char *key = arena_printf(arena, "%s/" ETCD_CONFIG ETCD_GENERATIONS "%s/", w->prefix, w->after->generation);
    const char *end = arena_printf(arena, "%s/" ETCD_CONFIG ETCD_GENERATIONS "%s0", w->prefix, w->after->generation);
    return begin(&t, arena) == 0 && drop_range(&t, key, end) == 0 ? t.request : NULL;
}
