/* Certificates in Status and Show: what people may know of secrets. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "controlplane/admin/internal.h"
#include "controlplane/secrets/certificate.h"
#include "controlplane/secrets/load.h"

enum { WARN_DAYS = 30, URGENT_DAYS = 7, NAMES_MAX = 100 };

static const uint64_t DAY = 86400000000;

/* ---- decoding ---- */

static Headgate__Secret *decode(const struct part *state, size_t i) {
    const struct blob *body = part_body(state, i);
    return headgate__secret__unpack(NULL, body->size, body->bytes);
}

static void forget(Headgate__Secret *m) {
    secret_message_clear(m);
    headgate__secret__free_unpacked(m, NULL);
}

/* ---- one certificate ---- */

static Headgate__CertificateStatus *certificate_status(struct arena *arena, const char *name,
                                                       const Headgate__KeyPair *pair) {
    struct certificate_facts facts, other;
    Headgate__CertificateStatus *s = arena_alloc(arena, sizeof *s);
    if (!s || certificate_facts(pair, arena, &facts) < 0)
        return NULL;
    headgate__certificate_status__init(s);
    s->name = arena_strdup(arena, name);
    s->subject = (char *)facts.subject;
    s->issuer = (char *)facts.issuer;
    s->names = (char **)facts.names;
    s->n_names = facts.name_count < NAMES_MAX ? facts.name_count : NAMES_MAX;
    s->key = (char *)facts.key;
    s->has_not_before = s->has_not_after = 1;
    s->not_before = facts.not_before;
    s->not_after = facts.not_after;
    s->fingerprint = arena_strdup(arena, facts.fingerprint);
    s->has_ocsp_until = pair->has_ocsp_response;
    s->ocsp_until = facts.ocsp_until;
    if (pair->other && certificate_facts(pair->other, arena, &other) == 0)
        s->other_key = (char *)other.key;
    return s;
}

/* ---- who uses it ---- */

static bool is_among(char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool presents(const Headgate__ClientTls *tls, const char *secret) {
    return tls && tls->certificate && strcmp(tls->certificate, secret) == 0;
}

static bool uses(const ProtobufCMessage *m, Headgate__Kind kind, const char *secret) {
    if (kind == HEADGATE__KIND__KIND_LISTENER) {
        const Headgate__ServerTls *tls = ((const Headgate__Listener *)m)->tls;
        return tls && is_among(tls->certificates, tls->n_certificates, secret);
    }
    const Headgate__Cluster *cluster = (const Headgate__Cluster *)m;
    bool is_used = presents(cluster->tls, secret);
    for (size_t i = 0; i < cluster->n_tls_choices && !is_used; i++)
        is_used = presents(cluster->tls_choices[i]->tls, secret);
    return is_used;
}

static bool is_insecure(const Headgate__Cluster *cluster) {
    bool is_found = cluster->tls && cluster->tls->insecure;
    for (size_t i = 0; i < cluster->n_tls_choices && !is_found; i++)
        is_found = cluster->tls_choices[i]->tls && cluster->tls_choices[i]->tls->insecure;
    return is_found;
}

static void add_user(struct arena *arena, Headgate__CertificateStatus *s, const Headgate__Entry *e) {
    char **list = arena_calloc(arena, s->n_used_by + 1, sizeof *list);
    char *text = arena_printf(arena, "%s/%s", kind_name(e->kind), e->name);
    if (!list || !text)
        return;
    if (s->n_used_by)
        memcpy(list, s->used_by, s->n_used_by * sizeof *list);
    list[s->n_used_by++] = text;
    s->used_by = list;
}

static void note_insecure(struct arena *arena, Headgate__StatusReply *reply, const Headgate__Entry *e, size_t most) {
    if (!reply->insecure_clusters)
        reply->insecure_clusters = arena_calloc(arena, most, sizeof(char *));
    char *name = arena_strdup(arena, e->name);
    if (reply->insecure_clusters && name)
        reply->insecure_clusters[reply->n_insecure_clusters++] = name;
}

/* One listener or cluster. */
static void add_uses(struct arena *arena, const struct part *intent, size_t i, Headgate__StatusReply *reply) {
    const Headgate__Entry *e = intent->entries[i];
    const struct blob *body = part_body(intent, i);
    ProtobufCMessage *m = protobuf_c_message_unpack(kind_descriptor(e->kind), NULL, body->size, body->bytes);
    if (!m)
        return;
    for (size_t j = 0; j < reply->n_certificates; j++)
        if (uses(m, e->kind, reply->certificates[j]->name))
            add_user(arena, reply->certificates[j], e);
    if (e->kind == HEADGATE__KIND__KIND_CLUSTER && is_insecure((const Headgate__Cluster *)m))
        note_insecure(arena, reply, e, intent->count);
    protobuf_c_message_free_unpacked(m, NULL);
}

/* ---- what is wrong ---- */

static void add_expiry(struct arena *arena, struct problem_list *problems, const Headgate__CertificateStatus *s,
                       uint64_t now) {
    char message[512];
    uint64_t days = s->not_after > now ? (s->not_after - now) / DAY : 0;
    if (s->not_after > now && days >= WARN_DAYS)
        return;
    if (s->not_after <= now)
        snprintf(message, sizeof message, "the certificate %s has expired", s->name);
    else
        snprintf(message, sizeof message, "the certificate %s expires in %" PRIu64 " day%s%s", s->name, days,
                 days == 1 ? "" : "s", days < URGENT_DAYS ? ": renew it now" : "");
    reply_add_problem(arena, problems, ERROR_STATE, s->n_used_by ? s->used_by[0] : NULL, NULL, message);
}

static void add_insecure(struct arena *arena, struct problem_list *problems, const char *cluster) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "cluster/%s", cluster);
    reply_add_problem(arena, problems, ERROR_STATE, resource, "tls.insecure",
                      "its endpoints are not verified: anybody between here and them can read and change everything");
}

static int compare_expiry(const void *a, const void *b) {
    const Headgate__CertificateStatus *const *x = a, *const *y = b;
    return ((*x)->not_after > (*y)->not_after) - ((*x)->not_after < (*y)->not_after);
}

static void add_certificates(struct arena *arena, const struct part *state, Headgate__StatusReply *reply) {
    reply->certificates = arena_calloc(arena, state->count + 1, sizeof(Headgate__CertificateStatus *));
    for (size_t i = 0; i < state->count && reply->certificates; i++) {
        if (state->entries[i]->kind != HEADGATE__KIND__KIND_SECRET)
            continue;
        Headgate__Secret *m = decode(state, i);
        Headgate__CertificateStatus *s = NULL;
        if (m && m->kind_case == HEADGATE__SECRET__KIND_KEY_PAIR)
            s = certificate_status(arena, state->entries[i]->name, m->key_pair);
        if (m)
            forget(m);
        if (s)
            reply->certificates[reply->n_certificates++] = s;
    }
    if (reply->certificates)
        qsort(reply->certificates, reply->n_certificates, sizeof *reply->certificates, compare_expiry);
}

void admin_add_certificates(struct admin_call *call, const struct snapshot *s, Headgate__StatusReply *reply,
                            struct problem_list *problems) {
    const struct error_list *faults = engine_secret_problems(call->admin->engine);
    uint64_t now = clock_realtime_us();
    add_certificates(&call->arena, s->state, reply);
    for (size_t i = 0; i < s->intent->count; i++) {
        Headgate__Kind kind = s->intent->entries[i]->kind;
        if (kind == HEADGATE__KIND__KIND_LISTENER || kind == HEADGATE__KIND__KIND_CLUSTER)
            add_uses(&call->arena, s->intent, i, reply);
    }
    reply_add_problems(&call->arena, problems, faults, false);
    reply_add_problems(&call->arena, problems, engine_followed_problems(call->admin->engine), false);
    for (size_t i = 0; i < reply->n_certificates; i++)
        add_expiry(&call->arena, problems, reply->certificates[i], now);
    for (size_t i = 0; i < reply->n_insecure_clusters; i++)
        add_insecure(&call->arena, problems, reply->insecure_clusters[i]);
}

/* ---- show secret/NAME ---- */

static void date(struct strbuf *out, const char *key, uint64_t us) {
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    char text[32];
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    strbuf_printf(out, "%s: %s\n", key, text);
}

static void quoted(struct strbuf *out, const char *key, const char *text) {
    strbuf_printf(out, "%s: ", key);
    strbuf_add_json(out, str_of(text));
    strbuf_putc(out, '\n');
}

static void describe_pair(struct arena *arena, const char *name, const Headgate__KeyPair *pair, struct strbuf *out) {
    const Headgate__CertificateStatus *s = certificate_status(arena, name, pair);
    if (!s)
        return;
    quoted(out, "subject", s->subject);
    quoted(out, "issuer", s->issuer);
    strbuf_puts(out, "names: [");
    for (size_t i = 0; i < s->n_names; i++) {
        strbuf_puts(out, i ? ", " : "");
        strbuf_add_json(out, str_of(s->names[i]));
    }
    strbuf_puts(out, "]\n");
    quoted(out, "key", s->key);
    date(out, "not-before", s->not_before);
    date(out, "not-after", s->not_after);
    quoted(out, "fingerprint", s->fingerprint);
    strbuf_printf(out, "chain: %zu\n", pair->n_chain);
    if (s->ocsp_until)
        date(out, "ocsp-until", s->ocsp_until);
    if (s->other_key)
        quoted(out, "other-key", s->other_key);
}

static void describe(struct arena *arena, const char *name, const Headgate__Secret *m, struct strbuf *out) {
    quoted(out, "name", name);
    switch (m->kind_case) {
    case HEADGATE__SECRET__KIND_KEY_PAIR: describe_pair(arena, name, m->key_pair, out); break;
    case HEADGATE__SECRET__KIND_TRUST:
        strbuf_printf(out, "certificates: %zu\nrevocation-lists: %zu\n", m->trust->n_certificates,
                      m->trust->n_revocation_lists);
        break;
    case HEADGATE__SECRET__KIND_TICKET_KEYS:
        strbuf_printf(out, "keys: %zu\n", m->ticket_keys->n_keys);
        if (m->ticket_keys->n_keys)
            date(out, "newest", m->ticket_keys->keys[0]->created_at);
        break;
    default: break;
    }
}

int admin_describe_secret(struct engine *e, const char *name, struct strbuf *out, struct error_list *errors) {
    const struct snapshot *s = channel_current(engine_channel(e));
    ssize_t at = s ? part_find(s->state, HEADGATE__KIND__KIND_SECRET, name) : -1;
    Headgate__Secret *m = at >= 0 ? decode(s->state, (size_t)at) : NULL;
    struct arena arena = {0};
    if (!m) {
        error_addf(errors, ERROR_REFERENCE, "there is no secret \"%s\"; status has the names of certificates", name);
        return -1;
    }
    describe(&arena, name, m, out);
    forget(m);
    arena_finish(&arena);
    return 0;
}
