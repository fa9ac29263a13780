/* The protocol as a whole: its types, its streams, and what time does. */
#include "common/alloc.h"
#include "controlplane/xds/internal.h"

#define SECONDS(n) (UINT64_C(1000000) * (n))

void xds_options_defaults(struct xds_options *o) {
    *o = (struct xds_options){
        .form = XDS_STATE_OF_THE_WORLD, .is_aggregated = true,
        .resource_timeout = SECONDS(15),
        .request_tokens = 100, .requests_per_second = 10,
        .nack_wait = SECONDS(1), .nack_wait_max = SECONDS(60),
        .retry_wait = SECONDS(1), .retry_wait_max = SECONDS(120), .reopen_wait = SECONDS(60),
        .random = 1,
        .hold_max = SECONDS(60), .holds_max = 64, .answers_max = 16,
        .resources_max = 1000000, .bytes_max = (size_t)1 << 30, .name_max = 4096,
    };
}

int xds_own(struct str *owned, struct str text) {
    char *copy = text.n ? hg_strndup(text.p, text.n) : NULL;
    if (text.n && !copy)
        return -1;
    xds_disown(owned);
    *owned = (struct str){copy ? copy : "", text.n};
    return 0;
}

void xds_disown(struct str *owned) {
    if (owned->n)
        hg_free((char *)(uintptr_t)owned->p);
    *owned = (struct str){"", 0};
}

/* ---- creation ---- */

struct xds_protocol *xds_protocol_create(const struct xds_options *o, xds_judge *judge, void *context, uint64_t now) {
    struct xds_protocol *p = hg_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->o = *o;
    p->o.random = o->random ? o->random : 1;
    p->judge = judge;
    p->context = context;
    p->cache = (struct xds_cache){.resources_max = o->resources_max, .bytes_max = o->bytes_max, .name_max = o->name_max};
    p->journals_end = &p->journals;
    for (size_t i = 0; i < XDS_TYPES_MAX; i++)
        token_bucket_init(&p->streams[i].bucket, o->request_tokens, o->requests_per_second, now);
    return p;
}

static void finish_type(struct xds_type *t) {
    xds_answers_drop(t);
    xds_table_finish(&t->table);
    xds_disown(&t->type_url);
    xds_disown(&t->version);
    xds_disown(&t->nonce);
}

static void finish_stream(struct xds_stream *s) {
    xds_answer_free(s->sending);
    strbuf_finish(&s->error);
}

void xds_protocol_destroy(struct xds_protocol *p) {
    if (!p)
        return;
    xds_journals_finish(p);
    for (size_t i = 0; i < p->type_count; i++)
        finish_type(&p->types[i]);
    for (size_t i = 0; i < XDS_TYPES_MAX; i++)
        finish_stream(&p->streams[i]);
    xds_cache_finish(&p->cache);
    hg_free(p->names);
    hg_free(p->versions);
    hg_free(p);
}

bool xds_protocol_is_delta(const struct xds_protocol *p) {
    return p->o.form == XDS_DELTA;
}

enum xds_result xds_protocol_add_type(struct xds_protocol *p, const struct xds_type_options *o, size_t *ret_type) {
    if (p->type_count == XDS_TYPES_MAX)
        return XDS_LIMIT;
    struct xds_type *t = &p->types[p->type_count];
    *t = (struct xds_type){.number = p->type_count, .is_complete = o->is_complete, .is_held = o->is_held,
                           .is_wildcard_explicit = o->is_wildcard_explicit, .answers_end = &t->answers};
    if (xds_own(&t->type_url, o->type_url) != 0)
        return XDS_NO_MEMORY;
    xds_table_init(&t->table, &p->cache, t->number);
    *ret_type = p->type_count++;
    return XDS_OK;
}

/* ---- which types a stream carries ---- */

size_t xds_protocol_stream_count(const struct xds_protocol *p) {
    return p->o.is_aggregated ? 1 : p->type_count;
}

size_t xds_protocol_type_count(const struct xds_protocol *p) {
    return p->type_count;
}

struct str xds_protocol_type_url(const struct xds_protocol *p, size_t type) {
    return p->types[type].type_url;
}

size_t xds_protocol_stream_of(const struct xds_protocol *p, size_t type) {
    return p->o.is_aggregated ? 0 : type;
}

void xds_stream_types(const struct xds_protocol *p, const struct xds_stream *s, size_t *ret_first, size_t *ret_last) {
    size_t number = (size_t)(s - p->streams);
    *ret_first = p->o.is_aggregated ? 0 : number;
    *ret_last = p->o.is_aggregated ? p->type_count : number + 1;
}

/* ---- streams ---- */

static bool is_wanted(const struct xds_protocol *p, const struct xds_stream *s) {
    size_t first, last;
    bool is_any = false;
    xds_stream_types(p, s, &first, &last);
    for (size_t i = first; i < last; i++)
        is_any |= xds_type_is_wanted(&p->types[i]);
    return is_any;
}

bool xds_protocol_is_due(const struct xds_protocol *p, size_t stream, uint64_t now) {
    const struct xds_stream *s = &p->streams[stream];
    return !s->is_open && now >= s->retry_at && is_wanted(p, s);
}

void xds_protocol_opened(struct xds_protocol *p, size_t stream) {
    struct xds_stream *s = &p->streams[stream];
    size_t first, last;
    s->is_open = true;
    s->opened_after = p->ticket;
    s->has_sent = s->has_received = false;
    xds_stream_types(p, s, &first, &last);
    s->turn = first;
    for (size_t i = first; i < last; i++)
        p->types[i].has_answered = false;
}

/* The next stream tells anew what it has of this, if anything. */
static bool is_hearsay(const struct xds_resource *r) {
    return !r->copy && !r->is_named && (r->state == XDS_NACKED || r->state == XDS_RECEIVED_ERROR);
}

/* Nothing that was said on the stream holds any longer. A wait without a copy begins anew with the next stream. */
static void forget_stream(struct xds_protocol *p, struct xds_type *t, uint64_t now) {
    xds_answers_drop(t);
    xds_disown(&t->nonce);
    t->told = XDS_TOLD_NOTHING;
    t->must_tell_again = false;
    t->has_asked = t->has_named = t->has_cancelled = t->has_cancelled_all = false;
    t->told_wildcard = XDS_WILDCARD_NONE;
    t->is_changed = true;
    for (struct xds_resource *r = t->table.first; r; r = r->next) {
        r->is_told = false;
        if (!r->copy)
            xds_resource_set_deadline(r, 0);
        if (is_hearsay(r))
            xds_resource_set_state(r, XDS_REQUESTED, STR(""), STR(""), now);
    }
    xds_type_sweep(p, t);
    if (!xds_type_is_wanted(t) || t->is_version_void)
        xds_type_void_version(p, t);
    t->is_version_void = false;
}

static void wait_for_retry(struct xds_protocol *p, struct xds_stream *s, struct str reason, uint64_t now) {
    if (!s->has_received) {
        s->failures += s->failures < UINT32_MAX;
        strbuf_finish(&s->error);
        strbuf_add_str(&s->error, reason.n ? reason : STR("the stream ended without a response"));
    }
    s->retry_at = now + backoff_wait(p->o.retry_wait, p->o.retry_wait_max, s->failures ? s->failures : 1, &p->o.random);
}

void xds_protocol_closed(struct xds_protocol *p, size_t stream, struct str reason, uint64_t now) {
    struct xds_stream *s = &p->streams[stream];
    size_t first, last;
    s->has_received &= s->is_open;
    wait_for_retry(p, s, reason, now);
    if (s->is_in_doubt)
        s->reopen_at = now + p->o.reopen_wait;
    s->is_open = s->is_in_doubt = false;
    s->again_at = 0;
    if (s->in_flight) {
        s->in_flight = NULL;
        xds_answer_free(s->sending);
        s->sending = NULL;
    }
    xds_stream_types(p, s, &first, &last);
    for (size_t i = first; i < last; i++)
        forget_stream(p, &p->types[i], now);
}

bool xds_protocol_must_reopen(const struct xds_protocol *p, size_t stream, uint64_t now) {
    const struct xds_stream *s = &p->streams[stream];
    bool is_wanted_again = s->again_at != 0 && now >= s->again_at;
    return s->is_open && (is_wanted_again || (s->is_in_doubt && now >= s->reopen_at));
}

struct str xds_protocol_stream_error(const struct xds_protocol *p, size_t stream) {
    return strbuf_str(&p->streams[stream].error);
}

/* ---- what the owner looks at ---- */

struct xds_resource *xds_protocol_take_news(struct xds_protocol *p, unsigned *ret_news) {
    struct xds_resource *before = p->taken;
    p->taken = NULL;
    if (before && !xds_resource_is_kept(p, before))
        xds_resource_destroy(before);
    p->taken = xds_cache_take_news(&p->cache, ret_news);
    return p->taken;
}

const struct xds_resource *xds_protocol_next_resource(const struct xds_protocol *p, size_t type,
                                                      const struct xds_resource *position) {
    return position ? position->next : p->types[type].table.first;
}

const struct xds_resource *xds_protocol_find(const struct xds_protocol *p, size_t type, struct str name) {
    return xds_table_get(&p->types[type].table, name);
}

struct str xds_protocol_version(const struct xds_protocol *p, size_t type) {
    return p->types[type].version;
}

bool xds_protocol_has_answered(const struct xds_protocol *p, size_t type) {
    return p->types[type].has_answered;
}

uint64_t xds_protocol_ticket(const struct xds_protocol *p) {
    return p->ticket;
}

const struct xds_counters *xds_protocol_counters(const struct xds_protocol *p) {
    return &p->counters;
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t stream_deadline(const struct xds_protocol *p, const struct xds_stream *s) {
    uint64_t pace = token_bucket_ready_at(&s->bucket), due = UINT64_MAX;
    size_t first, last;
    if (!s->is_open)
        return is_wanted(p, s) ? s->retry_at : UINT64_MAX;
    uint64_t reopen_at = earlier(s->is_in_doubt ? s->reopen_at : UINT64_MAX, s->again_at ? s->again_at : UINT64_MAX);
    if (s->in_flight)
        return reopen_at;
    xds_stream_types(p, s, &first, &last);
    for (size_t i = first; i < last; i++)
        due = earlier(due, xds_type_due_at(p, &p->types[i]));
    return earlier(due > pace ? due : pace, reopen_at);
}

uint64_t xds_protocol_deadline(const struct xds_protocol *p) {
    const struct xds_resource *r = xds_cache_next_timer(&p->cache);
    uint64_t at = r ? r->deadline : UINT64_MAX;
    if (p->journals)
        at = earlier(at, p->journals->expires_at);
    for (size_t i = 0; i < xds_protocol_stream_count(p); i++)
        at = earlier(at, stream_deadline(p, &p->streams[i]));
    return at;
}

static void doubt(struct xds_protocol *p, const struct xds_resource *r) {
    const struct xds_type *t = &p->types[r->table->type];
    struct xds_stream *s = &p->streams[xds_protocol_stream_of(p, t->number)];
    s->is_in_doubt |= s->is_open && s->has_received && r->is_told && t->has_cancelled && !xds_is_polled(p);
}

/* It was never sent, or its TTL is over without a heartbeat. */
static void time_out(struct xds_protocol *p, struct xds_resource *r, uint64_t now) {
    xds_resource_set_deadline(r, 0);
    if (r->copy) {
        p->counters.expired++;
        xds_copy_free(&p->cache, xds_resource_swap_copy(r, NULL, now));
        r->ticket = 0;
        xds_resource_set_state(r, XDS_DOES_NOT_EXIST, STR(""), STR("its time to live is over"), now);
        return;
    }
    p->counters.timeouts++;
    doubt(p, r);
    xds_resource_set_state(r, p->o.is_timer_transient ? XDS_TIMEOUT : XDS_DOES_NOT_EXIST, STR(""),
                           STR("the server has not sent it in time"), now);
}

void xds_protocol_advance(struct xds_protocol *p, uint64_t now) {
    struct xds_resource *r;
    while ((r = xds_cache_next_timer(&p->cache)) && r->deadline <= now)
        time_out(p, r, now);
    xds_journals_expire(p, now);
}
