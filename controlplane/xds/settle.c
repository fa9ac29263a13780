/* Answers to responses, in their order, and what becomes of a response while its READY is awaited. */
#include "common/alloc.h"
#include "controlplane/xds/internal.h"

/* ---- answers ---- */

int xds_answer_add(struct xds_protocol *p, struct xds_type *t, const struct xds_response *response, bool is_held,
                   const struct xds_reasons *reasons) {
    struct xds_answer *a = hg_malloc(sizeof *a + response->nonce.n + response->version.n);
    if (!a)
        return -1;
    *a = (struct xds_answer){.ticket = p->ticket, .is_held = is_held, .is_refusal = reasons->text.n > 0,
                             .reasons.unsaid = reasons->unsaid};
    strbuf_add_str(&a->reasons.text, strbuf_str(&reasons->text));
    if (a->reasons.text.failed) {
        xds_answer_free(a);
        return -1;
    }
    if (response->nonce.n)
        memcpy(a->block, response->nonce.p, response->nonce.n);
    if (response->version.n)
        memcpy(a->block + response->nonce.n, response->version.p, response->version.n);
    a->nonce = (struct str){a->block, response->nonce.n};
    a->version = (struct str){a->block + response->nonce.n, response->version.n};
    *t->answers_end = a;
    t->answers_end = &a->next;
    t->answer_count++;
    return 0;
}

struct xds_answer *xds_answer_take(struct xds_type *t) {
    struct xds_answer *a = t->answers;
    t->answers = a->next;
    if (!t->answers)
        t->answers_end = &t->answers;
    t->answer_count--;
    if (a->reasons.unsaid)
        strbuf_printf(&a->reasons.text, "; and %zu more", a->reasons.unsaid);
    return a;
}

void xds_answer_free(struct xds_answer *a) {
    if (!a)
        return;
    strbuf_finish(&a->reasons.text);
    hg_free(a);
}

void xds_answers_drop(struct xds_type *t) {
    while (t->answers)
        xds_answer_free(xds_answer_take(t));
}

void xds_type_count_nack(struct xds_protocol *p, struct xds_type *t, uint64_t now) {
    t->nacks += t->nacks < UINT32_MAX;
    t->nack_at = now;
    if (t->nacks > 1)
        t->nack_at += backoff_wait(p->o.nack_wait, p->o.nack_wait_max, t->nacks - 1, &p->o.random);
}

static struct xds_answer *find_answer(const struct xds_type *t, uint64_t ticket) {
    struct xds_answer *a = t->answers;
    while (a && a->ticket != ticket)
        a = a->next;
    return a;
}

/* ---- journals ---- */

static void free_journal(struct xds_protocol *p, struct xds_journal *j) {
    for (size_t i = 0; i < j->change_count; i++) {
        xds_disown(&j->changes[i].name);
        xds_copy_free(&p->cache, j->changes[i].previous);
    }
    xds_disown(&j->version);
    map_finish(&j->by_name);
    hg_free(j->changes);
    hg_free(j);
}

static struct xds_journal *take_oldest(struct xds_protocol *p) {
    struct xds_journal *j = p->journals;
    p->journals = j->next;
    if (!p->journals)
        p->journals_end = &p->journals;
    p->journal_count--;
    return j;
}

/* What the oldest response brought stays: its ACK may go, its version is the accepted one. */
static void settle_oldest(struct xds_protocol *p) {
    struct xds_journal *j = take_oldest(p);
    struct xds_answer *a = find_answer(j->type, j->ticket);
    if (a)
        a->is_held = false;
    if (!j->is_void && p->o.form == XDS_STATE_OF_THE_WORLD) {
        xds_disown(&j->type->version);
        j->type->version = j->version;
        j->version = STR("");
    }
    free_journal(p, j);
}

struct xds_journal *xds_journal_create(struct xds_protocol *p, struct xds_type *t, struct str version, uint64_t now) {
    struct xds_journal *j = hg_calloc(1, sizeof *j);
    if (!j || xds_own(&j->version, version) != 0) {
        hg_free(j);
        return NULL;
    }
    while (p->journals && p->journal_count >= p->o.holds_max) {
        p->counters.holds_expired++;
        settle_oldest(p);
    }
    j->type = t;
    j->ticket = p->ticket;
    j->expires_at = now + p->o.hold_max;
    *p->journals_end = j;
    p->journals_end = &j->next;
    p->journal_count++;
    return j;
}

int xds_journal_add(struct xds_journal *j, struct str name, struct xds_copy *previous) {
    struct str owned = {"", 0};
    if (hg_grow(&j->changes, &j->change_capacity, j->change_count + 1, sizeof *j->changes) != 0)
        return -1;
    if (xds_own(&owned, name) != 0)
        return -1;
    if (map_set(&j->by_name, owned, (void *)(uintptr_t)(j->change_count + 1)) != 0) {
        xds_disown(&owned);
        return -1;
    }
    j->changes[j->change_count++] = (struct xds_change){owned, previous};
    return 0;
}

bool xds_type_has_journal(const struct xds_protocol *p, const struct xds_type *t) {
    const struct xds_journal *j = p->journals;
    while (j && j->type != t)
        j = j->next;
    return j != NULL;
}

void xds_type_void_version(struct xds_protocol *p, struct xds_type *t) {
    xds_disown(&t->version);
    for (struct xds_journal *j = p->journals; j; j = j->next)
        j->is_void |= j->type == t;
}

void xds_journals_expire(struct xds_protocol *p, uint64_t now) {
    while (p->journals && p->journals->expires_at <= now) {
        p->counters.holds_expired++;
        settle_oldest(p);
    }
}

void xds_journals_finish(struct xds_protocol *p) {
    while (p->journals)
        free_journal(p, take_oldest(p));
}

void xds_protocol_ready(struct xds_protocol *p, uint64_t ticket) {
    while (p->journals && p->journals->ticket <= ticket)
        settle_oldest(p);
}

/* ---- refusal by a data plane ---- */

static struct xds_change *find_change(struct xds_journal *j, struct str name) {
    uintptr_t number = (uintptr_t)map_get(&j->by_name, name);
    return number ? &j->changes[number - 1] : NULL;
}

/* The newest change of the resource up to the ticket. */
static struct xds_journal *find_journal(struct xds_protocol *p, const struct xds_type *t, struct str name,
                                        uint64_t ticket, struct xds_change **ret) {
    struct xds_journal *found = NULL;
    for (struct xds_journal *j = p->journals; j && j->ticket <= ticket; j = j->next) {
        struct xds_change *change = j->type == t ? find_change(j, name) : NULL;
        if (change) {
            found = j;
            *ret = change;
        }
    }
    return found;
}

static struct xds_change *find_later_change(struct xds_journal *j, struct str name) {
    struct xds_change *change = NULL;
    for (struct xds_journal *later = j->next; later && !change; later = later->next)
        change = later->type == j->type ? find_change(later, name) : NULL;
    return change;
}

/* Of the response that brought what the journal's one replaced; 0: it is settled. */
static uint64_t ticket_before(struct xds_protocol *p, const struct xds_journal *j, struct str name) {
    struct xds_change *change;
    struct xds_journal *before = find_journal(p, j->type, name, j->ticket - 1, &change);
    return before ? before->ticket : 0;
}

static struct xds_copy *take_previous(struct xds_protocol *p, struct xds_journal *j, struct xds_change *change) {
    struct xds_copy *previous = change->previous;
    change->previous = NULL;
    map_remove(&j->by_name, change->name);
    xds_disown(&change->name);
    if (!p->o.fail_on_data_errors)
        return previous;
    xds_copy_free(&p->cache, previous);
    return NULL;
}

/* The state is of what the server said last: that it is gone, or another version that was refused, says more. */
static void note_refusal(struct xds_resource *r, struct str version, struct str reason, uint64_t now) {
    if (r->state == XDS_ACKED)
        xds_resource_set_state(r, XDS_NACKED, version, reason, now);
}

/* The copy from before the refused one takes its place: in the cache, or in the change that came after it. */
static void restore(struct xds_protocol *p, struct xds_journal *j, struct xds_change *change, struct str reason,
                    uint64_t now) {
    struct xds_resource *r = xds_table_get(&j->type->table, change->name);
    struct xds_change *later = find_later_change(j, change->name);
    struct xds_copy *previous = take_previous(p, j, change), *refused = NULL;
    if (later) {
        refused = later->previous;
        later->previous = previous;
    } else if (r && r->ticket == j->ticket) {
        refused = xds_resource_swap_copy(r, previous, now);
        r->ticket = previous ? ticket_before(p, j, r->name) : 0;
        xds_resource_set_deadline(r, 0);
        note_refusal(r, refused->version, reason, now);
    } else {
        refused = previous;
    }
    xds_copy_free(&p->cache, refused);
}

/* The name and the reason join the answer, which becomes a NACK. */
static void refuse_answer(struct xds_protocol *p, struct xds_type *t, struct xds_answer *a, struct str name,
                          struct str reason, uint64_t now) {
    if (!a->is_refusal)
        xds_type_count_nack(p, t, now);
    a->is_refusal = true;
    a->is_held = false;
    xds_reasons_add(&a->reasons, name, reason);
}

/* In delta a server sends nothing twice on a stream, so that a reason that passes (an address that another process has for a
 * moment) would keep the resource out until it changes. The wait grows as that of NACKs does. */
static void ask_again(struct xds_protocol *p, struct xds_type *t, uint64_t now) {
    struct xds_stream *s = &p->streams[xds_protocol_stream_of(p, t->number)];
    uint32_t refusals = t->nacks ? t->nacks : 1;
    if (p->o.form == XDS_DELTA && s->is_open && s->again_at == 0)
        s->again_at = now + backoff_wait(p->o.nack_wait, p->o.nack_wait_max, refusals, &p->o.random);
}

enum xds_result xds_protocol_refuse(struct xds_protocol *p, size_t type, struct str name, uint64_t ticket,
                                    struct str reason, uint64_t now) {
    struct xds_type *t = &p->types[type];
    struct xds_resource *r = xds_table_get(&t->table, name);
    struct xds_change *change = NULL;
    struct xds_journal *j = find_journal(p, t, name, ticket, &change);
    struct xds_answer *a = j ? find_answer(t, j->ticket) : NULL;
    p->counters.late_refusals += a == NULL;
    if (a)
        refuse_answer(p, t, a, name, reason, now);
    if (!j) {
        if (r && r->copy)
            note_refusal(r, r->copy->version, reason, now);
        return XDS_LIMIT;
    }
    j->is_void = true;
    restore(p, j, change, reason, now);
    ask_again(p, t, now);
    return XDS_OK;
}
