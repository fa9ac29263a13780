/* scripted_server.h — a management server in memory, for any of the four modes, that does what go-control-plane does:
 * requests with a stale nonce are dropped, a NACK in the state of the world is answered by the same again, a known version
 * by nothing. Responses wait in a queue of one for each type, so that requests cross them. */
#pragma once

#include "tests/unit/controlplane/xds/machine.h"

/* UNKNOWN: no version; whether the wildcard still covers the name is to be said, by the resource or its removal. */
enum { NAMES = 10, UNKNOWN = 1000000000, SERVED_TYPES_MAX = 9, SERVED_TEXT_MAX = 160 };

/* One resource that the server has. Value 0: it has none; the value is the version too. */
struct served {
    unsigned value;
    bool     is_bad;
};

/* What it knows of one type on the stream that is open. */
struct served_stream {
    bool     has_request, is_legacy, has_all, is_nacked;
    bool     wants[NAMES];
    bool     is_returned[NAMES];
    unsigned returned[NAMES];           /* value that the client was sent; 0: told that it is gone */
    unsigned version, nonce;            /* of the last response */
    /* On its way to the client. */
    bool          is_waiting;
    bool          has[NAMES], is_removed[NAMES];
    struct served sent[NAMES];
};

struct server {
    enum xds_form        form;
    struct served        has[SERVED_TYPES_MAX][NAMES];
    unsigned             version[SERVED_TYPES_MAX];
    struct served_stream streams[SERVED_TYPES_MAX];
    unsigned             nonces, values;
    bool                 remembers;     /* what was given up and is wanted again counts as sent, until the next response */
    /* Of other types than those of machine.h; NULL: those, and their bytes. */
    const char *const   *urls;
    void (*write)(size_t type, unsigned name, const struct served *served, char out[SERVED_TEXT_MAX]);
};

static inline const char *server_url(const struct server *s, size_t type) {
    static const char *const plain[] = {CLUSTER_URL, ENDPOINT_URL};
    return s->urls ? s->urls[type] : plain[type];
}

static inline void server_write(const struct server *s, size_t type, unsigned name, char out[SERVED_TEXT_MAX]) {
    const struct served *served = &s->streams[type].sent[name];
    if (s->write)
        s->write(type, name, served, out);
    else
        snprintf(out, SERVED_TEXT_MAX, "%s%u", served->is_bad ? "bad" : "", served->value);
}

static inline unsigned server_name(struct str name) {
    assert_int_equal(name.n, 1);
    return (unsigned)(name.p[0] - 'a');
}

static inline void server_set(struct server *s, size_t type, unsigned name, bool is_there, bool is_bad) {
    s->has[type][name] = (struct served){is_there ? ++s->values : 0, is_bad};
    s->version[type]++;
}

static inline bool server_serves(const struct served_stream *t, unsigned name) {
    return t->has_all || t->wants[name];
}

static inline void server_cut(struct server *s, size_t type) {
    s->streams[type] = (struct served_stream){0};
}

/* ---- requests ---- */

static inline void server_want(struct served_stream *t, struct str name, bool is_wanted) {
    if (str_eq(name, STR("*")))
        t->has_all = is_wanted;
    else
        t->wants[server_name(name)] = is_wanted;
}

/* Some versions of go-control-plane do so with the next response only, so that a name that comes back before is not sent. */
static inline void server_forget(const struct server *s, struct served_stream *t) {
    for (unsigned i = 0; i < NAMES && !s->remembers; i++)
        t->is_returned[i] &= server_serves(t, i);
}

static inline void server_take_world(struct server *s, size_t type, const struct xds_request *r) {
    struct served_stream *t = &s->streams[type];
    uint64_t nonce = 0, version = 0;
    assert_int_equal(r->response_nonce.n ? str_to_uint64(r->response_nonce, &nonce) : 0, 0);
    assert_int_equal(r->version.n ? str_to_uint64(r->version, &version) : 0, 0);
    assert_true(version <= s->version[type]);
    if (t->nonce != 0 && nonce != t->nonce)
        return;
    bool is_first = !t->has_request;
    t->has_request = true;
    t->is_legacy = (is_first || t->is_legacy) && r->name_count == 0;
    t->has_all = t->is_legacy;
    memset(t->wants, 0, sizeof t->wants);
    for (size_t i = 0; i < r->name_count; i++)
        server_want(t, r->names[i], true);
    server_forget(s, t);
    t->is_nacked = r->is_refusal;
    if (is_first && t->has_all && version == s->version[type]) {
        t->version = (unsigned)version;
        for (unsigned i = 0; i < NAMES; i++) {
            t->is_returned[i] = true;
            t->returned[i] = s->has[type][i].value;
        }
    }
}

static inline void server_take_versions(struct server *s, size_t type, const struct xds_request *r) {
    struct served_stream *t = &s->streams[type];
    for (size_t i = 0; i < r->initial_version_count; i++) {
        uint64_t value = 0;
        unsigned name = server_name(r->initial_versions[i].name);
        assert_int_equal(str_to_uint64(r->initial_versions[i].version, &value), 0);
        t->is_returned[name] = true;
        t->returned[name] = (unsigned)value;
    }
}

static inline void server_take_delta(struct server *s, size_t type, const struct xds_request *r) {
    struct served_stream *t = &s->streams[type];
    bool is_first = !t->has_request;
    assert_false(!is_first && r->initial_version_count > 0);
    assert_false(r->response_nonce.n > 0 && (r->name_count > 0 || r->unsubscribe_count > 0));
    if (is_first) {
        t->has_all = t->is_legacy = r->name_count == 0;
        server_take_versions(s, type, r);
    }
    t->has_request = true;
    t->is_legacy &= r->name_count == 0;
    for (size_t i = 0; i < r->name_count; i++)
        server_want(t, r->names[i], true);
    if (t->is_legacy)       /* as go-control-plane: nothing but a name ends it */
        return;
    for (size_t i = 0; i < r->unsubscribe_count; i++)
        server_want(t, r->unsubscribe[i], false);
    for (size_t i = 0; i < r->unsubscribe_count; i++)
        if (!str_eq(r->unsubscribe[i], STR("*")))
            t->returned[server_name(r->unsubscribe[i])] = UNKNOWN;
    server_forget(s, t);
}

/* Requests are read at once. */
static inline void server_take(struct server *s, const struct xds_request *r) {
    size_t type = 0;
    while (!str_eq(r->type_url, str_of(server_url(s, type))))
        type++;
    if (s->form == XDS_DELTA)
        server_take_delta(s, type, r);
    else
        server_take_world(s, type, r);
}

/* ---- responses ---- */

static inline bool server_differs(const struct server *s, size_t type, unsigned name) {
    const struct served_stream *t = &s->streams[type];
    unsigned value = s->has[type][name].value;
    if (!server_serves(t, name))
        return false;
    if (!t->is_returned[name])
        return value != 0 || (s->form == XDS_DELTA && t->wants[name]);
    return t->returned[name] != value;
}

static inline bool server_has_more(const struct server *s, size_t type) {
    const struct served_stream *t = &s->streams[type];
    bool differs = t->is_nacked && s->form != XDS_DELTA;
    for (unsigned i = 0; i < NAMES; i++)
        differs |= server_differs(s, type, i);
    return t->has_request && !t->is_waiting && differs;
}

/* Makes a response of what there is now; it waits until server_deliver. */
static inline void server_respond(struct server *s, size_t type) {
    struct served_stream *t = &s->streams[type];
    for (unsigned i = 0; i < NAMES; i++) {
        struct served has = s->has[type][i];
        bool is_due = s->form == XDS_DELTA ? server_differs(s, type, i) : server_serves(t, i);
        t->has[i] = is_due && has.value;
        t->is_removed[i] = is_due && !has.value && s->form == XDS_DELTA;
        t->sent[i] = has;
        t->is_returned[i] &= server_serves(t, i);
        if (is_due) {
            t->is_returned[i] = true;
            t->returned[i] = has.value;
        }
    }
    t->is_nacked = false;
    t->nonce = ++s->nonces;
    t->version = s->version[type];
    t->is_waiting = true;
}

static inline enum xds_result server_deliver_to(struct server *s, size_t type, struct xds_protocol *p, uint64_t now) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    struct served_stream *t = &s->streams[type];
    struct xds_response_resource resources[NAMES];
    struct str removed[NAMES];
    char texts[NAMES][SERVED_TEXT_MAX], versions[NAMES][32], nonce[32], version[32];
    const char *url = server_url(s, type);
    snprintf(nonce, sizeof nonce, "%u", t->nonce);
    snprintf(version, sizeof version, "%u", t->version);
    struct xds_response r = {.type_url = str_of(url), .version = str_of(version), .nonce = str_of(nonce),
                             .resources = resources, .removed = removed};
    for (unsigned i = 0; i < NAMES; i++) {
        struct str name = {letters + i, 1};
        server_write(s, type, i, texts[i]);
        snprintf(versions[i], sizeof versions[i], "%u", t->sent[i].value);
        if (t->has[i])
            resources[r.resource_count++] = (struct xds_response_resource){
                .name = name, .type_url = str_of(url), .bytes = str_of(texts[i]), .has_body = true,
                .version = s->form == XDS_DELTA ? str_of(versions[i]) : STR("")};
        else if (t->is_removed[i])
            removed[r.removed_count++] = name;
    }
    t->is_waiting = false;
    return xds_protocol_receive(p, xds_protocol_stream_of(p, type), &r, now);
}

static inline enum xds_result server_deliver(struct server *s, size_t type, struct machine *m) {
    return server_deliver_to(s, type, m->p, m->now);
}
