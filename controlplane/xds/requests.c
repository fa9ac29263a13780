/* What goes out: the first request of a type on a stream, answers, and changes of what is wanted. */
#include "common/alloc.h"
#include "controlplane/xds/internal.h"

/* ---- what is due ---- */

/* A request of the state of the world names all that is wanted, so a NACK that waits goes out with a change of it. */
static bool goes_with_change(const struct xds_protocol *p, const struct xds_type *t) {
    return p->o.form == XDS_STATE_OF_THE_WORLD && t->is_changed;
}

/* Answers go in the order of responses, so NACKs in front of an ACK do not wait: no server sends again what it has
 * replaced, and the ACK is to be heard now. */
static bool goes_before_ack(const struct xds_type *t) {
    const struct xds_answer *a = t->answers;
    while (a && a->is_refusal)
        a = a->next;
    return a && !a->is_held;
}

/* One that has been replaced waits less, or a server that says something bad every other second would not be read on. */
static uint64_t nack_due_at(const struct xds_type *t) {
    return t->answers->next && t->next_nack_at < t->nack_at ? t->next_nack_at : t->nack_at;
}

static uint64_t answer_due_at(const struct xds_protocol *p, const struct xds_type *t) {
    const struct xds_answer *a = t->answers;
    if (!a || a->is_held)
        return UINT64_MAX;
    return a->is_refusal && !goes_with_change(p, t) && !goes_before_ack(t) ? nack_due_at(t) : 0;
}

static uint64_t poll_due_at(const struct xds_protocol *p, const struct xds_type *t) {
    bool is_refusing = t->answers && t->answers->is_refusal;
    if (!xds_type_is_wanted(t) || t->answer_count >= p->o.answers_max)
        return UINT64_MAX;
    if (!t->has_asked || t->is_changed)
        return 0;
    if (t->answers && t->answers->is_held)
        return UINT64_MAX;
    return is_refusing && t->nack_at > t->poll_at ? t->nack_at : t->poll_at;
}

uint64_t xds_type_due_at(const struct xds_protocol *p, const struct xds_type *t) {
    if (xds_is_polled(p))
        return poll_due_at(p, t);
    if (!t->has_asked)
        return xds_type_is_wanted(t) ? 0 : UINT64_MAX;
    return t->is_changed ? 0 : answer_due_at(p, t);
}

/* ---- names ---- */


/* Room for all that there could be, so that nothing fails once the server's view is taken as changed. */
static int reserve(struct xds_protocol *p, size_t count) {
    if (hg_grow(&p->names, &p->name_capacity, count + 2, sizeof *p->names) != 0)
        return -1;
    return hg_grow(&p->versions, &p->version_capacity, count + 1, sizeof *p->versions);
}

static void put_name(struct xds_protocol *p, size_t *count, struct str name) {
    p->names[(*count)++] = name;
}

/* All that is wanted is named. What is not becomes the server's to forget. */
static size_t put_all_names(struct xds_protocol *p, struct xds_type *t, bool is_told) {
    size_t count = 0;
    for (struct xds_resource *r = t->table.first; r; r = r->next) {
        if (r->is_named)
            put_name(p, &count, r->name);
        else
            t->has_cancelled |= r->is_told;
        r->is_told = is_told ? r->is_named : r->is_told;
    }
    return count;
}

/* A wildcard by naming nothing cannot be ended by naming nothing: it has to become an explicit one first. */
static bool must_become_explicit(const struct xds_type *t) {
    return t->told_wildcard == XDS_WILDCARD_LEGACY && !t->wants_all;
}

static enum xds_wildcard wanted_wildcard(const struct xds_type *t) {
    bool is_plain = t->table.named_count == 0 && !t->has_named && !t->is_wildcard_explicit;
    if (!t->wants_all)
        return XDS_WILDCARD_NONE;
    return is_plain ? XDS_WILDCARD_LEGACY : XDS_WILDCARD_EXPLICIT;
}

static void tell_wildcard(struct xds_type *t, enum xds_wildcard wildcard) {
    bool is_given_up = t->told_wildcard != XDS_WILDCARD_NONE && wildcard == XDS_WILDCARD_NONE;
    t->has_cancelled |= is_given_up;
    t->has_cancelled_all |= is_given_up;
    t->told_wildcard = wildcard;
}

/* ---- state of the world ---- */

/* `is_newest`: the nonce is the last that came. With an older one the server may drop the request, names and all. */
static void name_all(struct xds_protocol *p, struct xds_type *t, bool is_newest, struct xds_request *ret) {
    bool is_step = must_become_explicit(t) && t->table.named_count == 0;
    enum xds_wildcard wildcard = is_step ? XDS_WILDCARD_EXPLICIT : wanted_wildcard(t);
    size_t count = put_all_names(p, t, is_newest);
    if (wildcard == XDS_WILDCARD_EXPLICIT)
        put_name(p, &count, STR("*"));
    ret->names = p->names;
    ret->name_count = count;
    ret->version = t->version;
    if (!is_newest)
        return;
    t->has_named |= count > 0;
    tell_wildcard(t, wildcard);
    t->is_changed = is_step;
}

static void fill_world_answer(struct xds_protocol *p, struct xds_type *t, const struct xds_answer *a,
                              struct xds_request *ret) {
    name_all(p, t, t->answers == NULL, ret);
    if (!a->is_refusal)
        ret->version = a->version;
}

static bool fill_world_change(struct xds_protocol *p, struct xds_type *t, struct xds_request *ret) {
    name_all(p, t, true, ret);
    ret->response_nonce = t->nonce;
    return true;
}

/* ---- polling ---- */

static bool is_any_untold(const struct xds_type *t) {
    for (const struct xds_resource *r = t->table.first; r; r = r->next)
        if (r->is_named && !r->is_told)
            return true;
    return false;
}

static void count_answer(struct xds_protocol *p, struct xds_type *t, const struct xds_answer *a) {
    p->counters.acks += !a->is_refusal;
    p->counters.nacks += a->is_refusal;
    if (!a->is_refusal)
        t->nacks = 0;
}

/* What is to be said of the responses before; only the last counts. */
static struct xds_answer *take_answers(struct xds_protocol *p, struct xds_type *t) {
    struct xds_answer *last = NULL;
    while (t->answers && !t->answers->is_held) {
        xds_answer_free(last);
        last = xds_answer_take(t);
        count_answer(p, t, last);
    }
    return last;
}

static void fill_poll(struct xds_protocol *p, struct xds_stream *s, struct xds_type *t, struct xds_request *ret) {
    s->sending = take_answers(p, t);
    if (is_any_untold(t) || (t->wants_all && t->told_wildcard == XDS_WILDCARD_NONE))
        xds_type_void_version(p, t);
    *ret = (struct xds_request){0};
    t->has_named = false; /* nothing of a poll is remembered */
    name_all(p, t, true, ret);
    if (s->sending && s->sending->is_refusal) {
        ret->is_refusal = true;
        ret->error = strbuf_str(&s->sending->reasons.text);
    }
}

/* ---- delta ---- */

static void put_subscriptions(struct xds_protocol *p, struct xds_type *t, size_t *count) {
    for (struct xds_resource *r = t->table.first; r; r = r->next)
        if (r->is_named && !r->is_told) {
            put_name(p, count, r->name);
            r->is_told = true;
        }
}

static void put_cancellations(struct xds_protocol *p, struct xds_type *t, size_t *count) {
    for (struct xds_resource *r = t->table.first; r; r = r->next)
        if (!r->is_named && r->is_told) {
            put_name(p, count, r->name);
            r->is_told = false;
            t->has_cancelled = true;
        }
}

/* A copy that the server says is gone is not told: should it come back, it is to be sent whatever its version. */
static size_t put_versions(struct xds_protocol *p, const struct xds_type *t) {
    size_t count = 0;
    for (const struct xds_resource *r = t->table.first; r; r = r->next)
        if (r->copy && r->copy->version.n && !r->is_deletion_ignored)
            p->versions[count++] = (struct xds_name_version){r->name, r->copy->version};
    return count;
}

static void fill_delta_names(struct xds_protocol *p, struct xds_type *t, struct xds_request *ret) {
    bool is_step = must_become_explicit(t), was_told = t->told_wildcard != XDS_WILDCARD_NONE;
    enum xds_wildcard wildcard = was_told && t->wants_all ? t->told_wildcard : wanted_wildcard(t);
    size_t count = 0, from;
    if (is_step || (wildcard == XDS_WILDCARD_EXPLICIT && !was_told))
        put_name(p, &count, STR("*"));
    put_subscriptions(p, t, &count);
    from = count;
    if (!is_step)
        put_cancellations(p, t, &count);
    if (!is_step && was_told && !t->wants_all)
        put_name(p, &count, STR("*"));
    *ret = (struct xds_request){.names = p->names, .name_count = from, .unsubscribe = p->names + from,
                                .unsubscribe_count = count - from};
    t->has_named |= count > 0;
    tell_wildcard(t, is_step ? XDS_WILDCARD_EXPLICIT : wildcard);
    t->is_changed = is_step;
}

static bool fill_delta_change(struct xds_protocol *p, struct xds_type *t, struct xds_request *ret) {
    bool is_first = !t->has_asked;
    fill_delta_names(p, t, ret);
    if (is_first) {
        ret->initial_versions = p->versions;
        ret->initial_version_count = put_versions(p, t);
    }
    return is_first || ret->name_count > 0 || ret->unsubscribe_count > 0;
}

/* ---- requests ---- */

static void fill_answer(struct xds_protocol *p, struct xds_stream *s, struct xds_type *t, struct xds_request *ret) {
    struct xds_answer *a = xds_answer_take(t);
    s->sending = a;
    *ret = (struct xds_request){0};
    if (p->o.form == XDS_STATE_OF_THE_WORLD)
        fill_world_answer(p, t, a, ret);
    ret->response_nonce = a->nonce;
    ret->is_refusal = a->is_refusal;
    ret->error = strbuf_str(&a->reasons.text);
    count_answer(p, t, a);
}

static bool fill_change(struct xds_protocol *p, struct xds_type *t, struct xds_request *ret) {
    *ret = (struct xds_request){0};
    if (p->o.form == XDS_STATE_OF_THE_WORLD)
        return fill_world_change(p, t, ret);
    return fill_delta_change(p, t, ret);
}

/* Answers first: what is said with an old nonce may be dropped. */
static bool fill(struct xds_protocol *p, struct xds_stream *s, struct xds_type *t, uint64_t now, struct xds_request *ret) {
    if (xds_is_polled(p)) {
        fill_poll(p, s, t, ret);
        return true;
    }
    bool is_answer = t->has_asked && answer_due_at(p, t) <= now;
    bool is_change = !is_answer && (t->is_changed || !t->has_asked) && xds_type_due_at(p, t) <= now;
    if (is_answer) {
        fill_answer(p, s, t, ret);
        t->next_nack_at = ret->is_refusal ? now + p->o.nack_wait : t->next_nack_at;
    }
    return is_answer || (is_change && fill_change(p, t, ret));
}

static void mark_under_way(struct xds_protocol *p, struct xds_stream *s, struct xds_type *t, bool is_announcing,
                           struct xds_request *ret) {
    size_t first, last;
    xds_stream_types(p, s, &first, &last);
    ret->type_url = t->type_url;
    ret->has_node = !s->has_sent || xds_is_polled(p);
    s->has_sent = true;
    s->in_flight = t;
    s->is_announcing = is_announcing;
    if (is_announcing && t->has_asked)
        t->told = t->must_tell_again ? XDS_TOLD_AGAIN : XDS_TOLD_MORE;
    t->must_tell_again = false;
    s->turn = t->number + 1 < last ? t->number + 1 : first;
    t->has_asked = true;
    token_bucket_take(&s->bucket);
    p->counters.requests++;
}

int xds_protocol_next_request(struct xds_protocol *p, size_t stream, uint64_t now, struct xds_request *ret) {
    struct xds_stream *s = &p->streams[stream];
    size_t first, last;
    if (!s->is_open || s->in_flight || !token_bucket_has(&s->bucket, now))
        return 0;
    xds_stream_types(p, s, &first, &last);
    for (size_t i = 0; i < last - first; i++) {
        struct xds_type *t = &p->types[first + (s->turn - first + i) % (last - first)];
        if (xds_type_due_at(p, t) > now)
            continue;
        if (reserve(p, t->table.by_name.count) != 0)
            return -1;
        bool is_announcing = t->is_changed || !t->has_asked;
        if (fill(p, s, t, now, ret)) {
            mark_under_way(p, s, t, is_announcing, ret);
            return 1;
        }
    }
    return 0;
}

/* Nothing was heard of it on this stream, nor is it known to be absent. */
static bool is_awaited(const struct xds_stream *s, const struct xds_resource *r) {
    bool is_known_absent = r->state == XDS_DOES_NOT_EXIST || r->state == XDS_TIMEOUT;
    return r->is_named && r->is_told && !r->copy && !is_known_absent && r->seen <= s->opened_after;
}

/* A response that crossed the last change has made its nonce an old one, so the server may have dropped the names with it.
 * The answer would say them again, but may be held back for what they bring. Once is enough: then the answer has to do. */
void xds_type_tell_again(struct xds_protocol *p, struct xds_stream *s, struct xds_type *t) {
    bool may_be_dropped = t->told == XDS_TOLD_MORE && p->o.form == XDS_STATE_OF_THE_WORLD && !xds_is_polled(p);
    t->told = XDS_TOLD_NOTHING;
    for (struct xds_resource *r = t->table.first; r && may_be_dropped && !t->must_tell_again; r = r->next)
        t->must_tell_again = is_awaited(s, r);
    t->is_changed |= t->must_tell_again;
}

/* gRFC A57: the wait begins when the request has left. */
static void start_timers(struct xds_protocol *p, struct xds_stream *s, struct xds_type *t, uint64_t now) {
    if (p->o.resource_timeout == 0)
        return;
    for (struct xds_resource *r = t->table.first; r; r = r->next)
        if (r->deadline == 0 && is_awaited(s, r))
            xds_resource_set_deadline(r, now + p->o.resource_timeout);
}

void xds_protocol_sent(struct xds_protocol *p, size_t stream, uint64_t now) {
    struct xds_stream *s = &p->streams[stream];
    struct xds_type *t = s->in_flight;
    if (!t)
        return;
    s->in_flight = NULL;
    xds_answer_free(s->sending);
    s->sending = NULL;
    if (xds_is_polled(p))
        t->poll_at = now + poll_wait(p->o.poll_wait, &p->o.random);
    if (!s->is_announcing)
        return;
    start_timers(p, s, t, now);
    xds_type_sweep(p, t);
    if (!xds_type_is_wanted(t) && !t->is_changed)
        xds_type_void_version(p, t);
}
