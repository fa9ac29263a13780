/* What comes in: each resource is judged by itself, so that a bad one does not keep the good ones out (gRFC A46). */
#include <inttypes.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/xds/internal.h"

enum { REASON_MAX = 1024, REASONS_MAX = 4096, CODE_NOT_FOUND = 5, CODE_PERMISSION_DENIED = 7 };

/* The longest time to live that is kept: ten years. */
#define TTL_MAX (UINT64_C(315360000) * 1000000)

/* One response on its way. */
struct pass {
    struct xds_protocol       *p;
    struct xds_type           *t;
    const struct xds_response *response;
    uint64_t                   now;
    struct xds_reasons         reasons;     /* of the NACK */
    struct strbuf              verdict;     /* scratch */
    struct xds_journal        *journal;
    bool                       is_changed;
    enum xds_result            result;
};

/* ---- reasons ---- */

/* Valid UTF-8 of at most `max` bytes, as error_detail must be. */
static void add_text(struct strbuf *out, struct str text, size_t max) {
    for (size_t i = 0, n; i < text.n && i < max; i += n) {
        n = utf8_length(text.p + i, text.n - i);
        if (n)
            strbuf_add(out, text.p + i, n);
        else
            strbuf_putc(out, '?');
        n = n ? n : 1;
    }
}

void xds_reasons_add(struct xds_reasons *reasons, struct str name, struct str reason) {
    if (reasons->text.n >= REASONS_MAX) {
        reasons->unsaid++;
        return;
    }
    if (reasons->text.n > 0)
        strbuf_puts(&reasons->text, "; ");
    add_text(&reasons->text, name, REASON_MAX);
    strbuf_puts(&reasons->text, ": ");
    add_text(&reasons->text, reason, REASON_MAX);
}

static void fail(struct pass *pass, enum xds_result result) {
    if (pass->result == XDS_OK)
        pass->result = result;
}

/* ---- what happens to one resource ---- */

static void drop_copy(struct pass *pass, struct xds_resource *r) {
    if (!r->copy)
        return;
    xds_copy_free(&pass->p->cache, xds_resource_swap_copy(r, NULL, pass->now));
    xds_resource_set_deadline(r, 0);
    r->ticket = 0;
    pass->is_changed = true;
}

static struct xds_journal *journal_of(struct pass *pass) {
    if (!pass->journal)
        pass->journal = xds_journal_create(pass->p, pass->t, pass->response->version, pass->now);
    return pass->journal;
}

/* The copy from before goes where it can be had back from, until READY comes. */
static bool put_aside(struct pass *pass, struct xds_resource *r) {
    if (!pass->t->is_held) {
        xds_copy_free(&pass->p->cache, xds_resource_swap_copy(r, NULL, pass->now));
        return true;
    }
    struct xds_journal *j = journal_of(pass);
    if (!j || xds_journal_add(j, r->name, r->copy) != 0)
        return false;
    r->copy = NULL;
    r->ticket = pass->p->ticket;
    return true;
}

static void note_return(struct pass *pass, struct xds_resource *r) {
    if (!r->is_deletion_ignored)
        return;
    r->is_deletion_ignored = false;
    log_info("a resource is back whose removal was ignored", LOG_S("type", pass->t->type_url.p), LOG_S("name", r->name.p));
}

static void set_ttl(struct pass *pass, struct xds_resource *r, const struct xds_response_resource *in) {
    uint64_t ttl = in->ttl < TTL_MAX ? in->ttl : TTL_MAX;
    xds_resource_set_deadline(r, in->has_ttl && ttl ? pass->now + ttl : 0);
}

static void accept(struct pass *pass, struct xds_resource *r, const struct xds_response_resource *in) {
    note_return(pass, r);
    set_ttl(pass, r, in);
    xds_resource_set_state(r, XDS_ACKED, STR(""), STR(""), pass->now);
}

/* What the resource has stays, if anything, unless that counts as its end. */
static void refuse(struct pass *pass, struct xds_resource *r, struct str name, struct str reason) {
    xds_reasons_add(&pass->reasons, name, reason);
    if (!r)
        return;
    note_return(pass, r);
    if (pass->p->o.fail_on_data_errors)
        drop_copy(pass, r);
    if (!r->copy)
        xds_resource_set_deadline(r, 0);
    xds_resource_set_state(r, XDS_NACKED, pass->response->version, reason, pass->now);
}

static struct str version_of(const struct pass *pass, const struct xds_response_resource *in) {
    return in->version.n ? in->version : pass->response->version;
}

static void refuse_full(struct pass *pass, struct xds_resource *r, struct str name, enum xds_stored stored) {
    if (stored == XDS_STORE_NO_MEMORY)
        fail(pass, XDS_NO_MEMORY);
    else
        refuse(pass, r, name, STR("there is no room for it: the limit of names or of bytes is reached"));
}

/* Other bytes than before, and good ones. */
static void store(struct pass *pass, struct xds_resource *r, const struct xds_response_resource *in) {
    struct xds_copy *copy;
    enum xds_stored stored = xds_copy_create(&pass->p->cache, version_of(pass, in), in->bytes, &copy);
    if (stored != XDS_STORED) {
        refuse_full(pass, r, in->name, stored);
        return;
    }
    if (!put_aside(pass, r)) {
        xds_copy_free(&pass->p->cache, copy);
        fail(pass, XDS_NO_MEMORY);
        return;
    }
    xds_resource_swap_copy(r, copy, pass->now);
    pass->is_changed = true;
    accept(pass, r, in);
}

/* The same bytes as before, perhaps by another version, which is kept where there is room for it: no news. In the state of
 * the world that is most of what comes, so nothing is copied but a version that differs. */
static void keep(struct pass *pass, struct xds_resource *r, const struct xds_response_resource *in) {
    struct xds_copy *copy, *old = r->copy;
    struct str version = version_of(pass, in);
    bool is_named = str_eq(old->version, version) || xds_copy_rename(old, version);
    if (!is_named && xds_copy_create(&pass->p->cache, version, in->bytes, &copy) == XDS_STORED) {
        r->copy = copy;
        xds_copy_free(&pass->p->cache, old);
    }
    accept(pass, r, in);
}

static void judge(struct pass *pass, struct xds_resource *r, const struct xds_response_resource *in) {
    strbuf_reset(&pass->verdict);
    switch (pass->p->judge(pass->p->context, pass->t->number, in->name, in->bytes, &pass->verdict)) {
    case XDS_VALID:
        store(pass, r, in);
        return;
    case XDS_INVALID:
        refuse(pass, r, in->name, pass->verdict.n ? strbuf_str(&pass->verdict) : STR("it is not valid"));
        return;
    case XDS_JUDGE_NO_MEMORY:
        fail(pass, XDS_NO_MEMORY);
    }
}

static void refresh(struct pass *pass, struct xds_resource *r, const struct xds_response_resource *in) {
    if (r->copy && str_eq(r->copy->version, version_of(pass, in)))
        accept(pass, r, in);
    else
        refuse(pass, r, in->name, STR("a heartbeat of a version that is not held"));
}

static struct xds_resource *find_or_add(struct pass *pass, struct str name) {
    struct xds_resource *r = xds_table_get(&pass->t->table, name);
    enum xds_stored stored = r ? XDS_STORED : xds_table_add(&pass->t->table, name, &r);
    if (stored == XDS_STORED)
        return r;
    refuse_full(pass, NULL, name, stored);
    return NULL;
}

static void take_resource(struct pass *pass, const struct xds_response_resource *in) {
    struct xds_resource *r = xds_table_get(&pass->t->table, in->name);
    if (!xds_type_wants(pass->t, r)) {
        pass->p->counters.ignored_resources++;
        return;
    }
    r = find_or_add(pass, in->name);
    if (!r)
        return;
    r->seen = pass->p->ticket;
    if (in->fault.n)
        refuse(pass, r, in->name, in->fault);
    else if (!in->has_body)
        refresh(pass, r, in);
    else if (!str_eq(in->type_url, pass->t->type_url))
        refuse(pass, r, in->name, STR("it is of another type than its response"));
    else if (r->copy && str_eq(r->copy->bytes, in->bytes))
        keep(pass, r, in);
    else
        judge(pass, r, in);
}

/* ---- what is gone ---- */

static bool is_kept_when_gone(const struct pass *pass, const struct xds_resource *r) {
    const struct xds_options *o = &pass->p->o;
    return o->ignore_resource_deletion || (r->is_named && !o->fail_on_data_errors);
}

static void ignore_deletion(struct pass *pass, struct xds_resource *r) {
    if (r->is_deletion_ignored)
        return;
    r->is_deletion_ignored = true;
    pass->p->counters.deletions_ignored++;
    log_warning("the server has removed a resource, which is kept", LOG_S("type", pass->t->type_url.p),
                LOG_S("name", r->name.p));
}

static void take_deletion(struct pass *pass, struct xds_resource *r, struct str why) {
    r->seen = pass->p->ticket;
    if (r->copy && is_kept_when_gone(pass, r))
        ignore_deletion(pass, r);
    else
        drop_copy(pass, r);
    if (!r->copy)
        xds_resource_set_deadline(r, 0);
    xds_resource_set_state(r, XDS_DOES_NOT_EXIST, STR(""), why, pass->now);
}

/* A response of nothing but heartbeats says nothing of the rest. */
static bool says_what_is_absent(const struct pass *pass) {
    bool is_any = pass->response->resource_count == 0;
    for (size_t i = 0; i < pass->response->resource_count; i++)
        is_any |= pass->response->resources[i].has_body || pass->response->resources[i].fault.n;
    return is_any && pass->t->is_complete && pass->p->o.form == XDS_STATE_OF_THE_WORLD;
}

static bool was_sent(const struct xds_resource *r) {
    return r->copy || r->state == XDS_NACKED || r->state == XDS_RECEIVED_ERROR;
}

/* What was asked for but never received is left to its timer: the response may be older than the request. */
static void take_absence(struct pass *pass) {
    for (struct xds_resource *r = pass->t->table.first; r; r = r->next)
        if (was_sent(r) && r->seen != pass->p->ticket)
            take_deletion(pass, r, STR("the server has it no more"));
}

static void take_removed(struct pass *pass) {
    for (size_t i = 0; i < pass->response->removed_count; i++) {
        struct xds_resource *r = xds_table_get(&pass->t->table, pass->response->removed[i]);
        if (r && xds_type_wants(pass->t, r))
            take_deletion(pass, r, STR("the server says that it does not exist"));
    }
}

static void take_error(struct pass *pass, const struct xds_response_error *e) {
    struct xds_resource *r = xds_table_get(&pass->t->table, e->name);
    bool is_data_error = e->code == CODE_NOT_FOUND || e->code == CODE_PERMISSION_DENIED;
    if (!r || !xds_type_wants(pass->t, r))
        return;
    r->seen = pass->p->ticket;
    if (is_data_error && pass->p->o.fail_on_data_errors)
        drop_copy(pass, r);
    if (!r->copy)
        xds_resource_set_deadline(r, 0);
    strbuf_reset(&pass->verdict);
    strbuf_printf(&pass->verdict, "the server says, with code %d: ", e->code);
    add_text(&pass->verdict, e->message, REASON_MAX);
    xds_resource_set_state(r, XDS_RECEIVED_ERROR, STR(""), strbuf_str(&pass->verdict), pass->now);
}

/* ---- the response as a whole ---- */

static bool is_usable(const struct pass *pass, struct str name) {
    size_t i = 0;
    for (size_t n; i < name.n && (n = utf8_length(name.p + i, name.n - i)) > 0;)
        i += n;
    return name.n > 0 && i == name.n && name.n <= pass->p->o.name_max && !xds_is_wildcard(name);
}

/* Whether the name may be taken: there, once, and one that can be sent back. */
static bool check_name(struct pass *pass, struct map *names, struct str name) {
    if (!is_usable(pass, name)) {
        xds_reasons_add(&pass->reasons, STR("a resource"), STR("its name is missing, too long, not UTF-8, or *"));
        return false;
    }
    if (map_get(names, name)) {
        xds_reasons_add(&pass->reasons, name, STR("it is in the response twice"));
        return false;
    }
    if (map_set(names, name, pass) != 0)
        fail(pass, XDS_NO_MEMORY);
    return pass->result == XDS_OK;
}

/* Which of two is meant nobody can say, so that nothing is taken of such a response. */
static bool has_good_names(struct pass *pass) {
    const struct xds_response *in = pass->response;
    struct map names = {0};
    bool is_good = true;
    for (size_t i = 0; i < in->resource_count && pass->result == XDS_OK; i++)
        is_good &= check_name(pass, &names, in->resources[i].name);
    for (size_t i = 0; i < in->removed_count && pass->result == XDS_OK; i++)
        is_good &= check_name(pass, &names, in->removed[i]);
    map_finish(&names);
    return is_good && pass->result == XDS_OK;
}

static void take_all(struct pass *pass) {
    const struct xds_response *in = pass->response;
    for (size_t i = 0; i < in->resource_count && pass->result == XDS_OK; i++)
        take_resource(pass, &in->resources[i]);
    for (size_t i = 0; i < in->error_count; i++)
        take_error(pass, &in->errors[i]);
    if (pass->result != XDS_OK)
        return;
    if (says_what_is_absent(pass))
        take_absence(pass);
    take_removed(pass);
}

/* Held while READY is awaited, for this response or for one before it: to acknowledge this one would be to say that the
 * ones before are in use. */
static bool must_be_held(struct pass *pass) {
    return pass->t->is_held && (pass->is_changed || xds_type_has_journal(pass->p, pass->t));
}

static void answer(struct pass *pass) {
    struct xds_type *t = pass->t;
    bool is_refusal = pass->reasons.text.n > 0, is_held = !is_refusal && must_be_held(pass);
    if (pass->reasons.text.failed || (is_held && !journal_of(pass))) {
        fail(pass, XDS_NO_MEMORY);
        return;
    }
    if (xds_answer_add(pass->p, t, pass->response, is_held, &pass->reasons) != 0) {
        fail(pass, XDS_NO_MEMORY);
        return;
    }
    if (is_refusal)
        xds_type_count_nack(pass->p, t, pass->now);
    else if (!is_held && pass->p->o.form == XDS_STATE_OF_THE_WORLD && xds_own(&t->version, pass->response->version) != 0)
        fail(pass, XDS_NO_MEMORY);
}

static void finish(struct pass *pass) {
    if (pass->journal)
        pass->journal->is_void |= pass->reasons.text.n > 0 || pass->result != XDS_OK;
    strbuf_finish(&pass->reasons.text);
    strbuf_finish(&pass->verdict);
}

/* ---- from the stream ---- */

static struct xds_type *type_of(struct xds_protocol *p, struct xds_stream *s, struct str type_url) {
    size_t first, last;
    xds_stream_types(p, s, &first, &last);
    if (last - first == 1 && type_url.n == 0)
        return &p->types[first];
    for (size_t i = first; i < last; i++)
        if (str_eq(p->types[i].type_url, type_url))
            return &p->types[i];
    return NULL;
}

static void note_response(struct xds_protocol *p, struct xds_stream *s) {
    p->counters.responses++;
    s->has_received = true;
    s->failures = 0;
    strbuf_reset(&s->error);
}

void xds_protocol_unchanged(struct xds_protocol *p, size_t stream) {
    note_response(p, &p->streams[stream]);
    p->types[stream].has_answered = true;
}

bool xds_protocol_can_receive(const struct xds_protocol *p, size_t stream) {
    const struct xds_stream *s = &p->streams[stream];
    size_t first, last;
    xds_stream_types(p, s, &first, &last);
    for (size_t i = first; i < last; i++)
        if (p->types[i].answer_count >= p->o.answers_max)
            return false;
    return s->is_open;
}

enum xds_result xds_protocol_receive(struct xds_protocol *p, size_t stream, const struct xds_response *response,
                                     uint64_t now) {
    struct xds_stream *s = &p->streams[stream];
    struct xds_type *t = type_of(p, s, response->type_url);
    struct pass pass = {.p = p, .t = t, .response = response, .now = now};
    note_response(p, s);
    if (response->nonce.n > p->o.name_max || response->version.n > p->o.name_max)
        return XDS_PROTOCOL_ERROR;
    if (!t || !t->has_asked) {
        p->counters.ignored_types++;
        return XDS_OK;
    }
    if (t->answer_count >= p->o.answers_max)
        return XDS_LIMIT;
    if (xds_own(&t->nonce, response->nonce) != 0)
        return XDS_NO_MEMORY;
    p->ticket++;
    t->has_answered = true;
    if (has_good_names(&pass))
        take_all(&pass);
    if (pass.result == XDS_OK)
        answer(&pass);
    finish(&pass);
    xds_type_tell_again(p, s, t);
    return pass.result;
}
