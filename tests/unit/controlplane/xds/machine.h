/* machine.h — a protocol under test with a clock of the test's, and short words for what a server says to it. */
#pragma once

#include <stdio.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/xds/protocol.h"
#include "tests/unit/common/cmocka_all.h"

enum { CLUSTERS, ENDPOINTS, TYPE_COUNT, SAID_MAX = 8 };

#define SECOND UINT64_C(1000000)
#define CLUSTER_URL "type.googleapis.com/envoy.config.cluster.v3.Cluster"
#define ENDPOINT_URL "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

struct machine {
    struct xds_options   o;
    struct xds_protocol *p;
    uint64_t             now;
    bool                 is_held;
    bool                 is_explicit;
    unsigned             judged;
    struct xds_request   request;       /* the last */
};

/* Bytes that begin with "bad" are refused, by a field of theirs. */
static inline enum xds_verdict machine_judge(void *context, size_t type, struct str name, struct str bytes,
                                             struct strbuf *reasons) {
    struct machine *m = context;
    (void)type;
    (void)name;
    m->judged++;
    if (!str_starts(bytes, STR("bad")))
        return XDS_VALID;
    strbuf_puts(reasons, "connect_timeout: not a duration");
    return reasons->failed ? XDS_JUDGE_NO_MEMORY : XDS_INVALID;
}

static inline struct machine machine_defaults(enum xds_form form) {
    struct machine m = {.now = 1000 * SECOND};
    xds_options_defaults(&m.o);
    m.o.form = form;
    return m;
}

/* false: no memory. */
static inline bool machine_create(struct machine *m) {
    size_t type;
    m->p = xds_protocol_create(&m->o, machine_judge, m, m->now);
    if (!m->p)
        return false;
    struct xds_type_options clusters = {STR(CLUSTER_URL), true, m->is_explicit, m->is_held};
    struct xds_type_options endpoints = {STR(ENDPOINT_URL), false, m->is_explicit, m->is_held};
    return xds_protocol_add_type(m->p, &clusters, &type) == XDS_OK
           && xds_protocol_add_type(m->p, &endpoints, &type) == XDS_OK;
}

static inline void want(struct machine *m, size_t type, const char *name) {
    assert_int_equal(xds_protocol_subscribe(m->p, type, str_of(name)), XDS_OK);
}

static inline size_t stream_of(const struct machine *m, size_t type) {
    return xds_protocol_stream_of(m->p, type);
}

/* The next request, taken but not sent. */
static inline bool ask(struct machine *m, size_t type) {
    return xds_protocol_next_request(m->p, stream_of(m, type), m->now, &m->request) == 1;
}

static inline void sent(struct machine *m, size_t type) {
    xds_protocol_sent(m->p, stream_of(m, type), m->now);
}

/* All that is to be sent, of which the last stays in m->request until the next call of the protocol. */
static inline unsigned flush(struct machine *m, size_t type) {
    unsigned count = 0;
    for (; ask(m, type); count++)
        sent(m, type);
    return count;
}

/* "name=bytes@version+ttl", where "@version" and "+ttl" (seconds) may be absent and "=bytes" too in a heartbeat. */
static inline struct xds_response_resource parse_resource(const char *text, const char *type_url) {
    struct str rest = str_of(text), ttl = {0}, version = {0};
    struct xds_response_resource in = {.type_url = str_of(type_url)};
    uint64_t seconds = 0;
    struct str head = str_cut(&rest, '+');
    ttl = rest;
    version = head;
    head = str_cut(&version, '@');
    in.bytes = head;
    in.name = str_cut(&in.bytes, '=');
    in.has_body = in.bytes.p != NULL;
    in.version = version.p ? version : STR("");
    in.has_ttl = ttl.p != NULL && str_to_uint64(ttl, &seconds) == 0;
    in.ttl = seconds * SECOND;
    return in;
}

/* A response with what stands in `said`, by spaces: resources, "-name" for a removed one, "!name" for an error that says
 * that there is none (code 5), "?name" for one that is to pass (code 14). */
static inline enum xds_result say(struct machine *m, size_t type, const char *version, const char *nonce,
                                  const char *said) {
    struct xds_response_resource resources[SAID_MAX];
    struct str removed[SAID_MAX];
    struct xds_response_error errors[SAID_MAX];
    const char *url = type == CLUSTERS ? CLUSTER_URL : ENDPOINT_URL;
    struct xds_response r = {.type_url = str_of(url), .version = str_of(version), .nonce = str_of(nonce),
                             .resources = resources, .removed = removed, .errors = errors};
    char words[512], *save = NULL;
    snprintf(words, sizeof words, "%s", said);
    for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        if (word[0] == '-')
            removed[r.removed_count++] = str_of(word + 1);
        else if (word[0] == '!' || word[0] == '?')
            errors[r.error_count++] = (struct xds_response_error){str_of(word + 1), word[0] == '!' ? 5 : 14, STR("no")};
        else
            resources[r.resource_count++] = parse_resource(word, url);
    }
    return xds_protocol_receive(m->p, stream_of(m, type), &r, m->now);
}

static inline const struct xds_resource *held(const struct machine *m, size_t type, const char *name) {
    return xds_protocol_find(m->p, type, str_of(name));
}

/* "bytes" of the copy, "" without one, NULL without the resource. The caller compares at once. */
static inline const char *bytes_of(const struct machine *m, size_t type, const char *name) {
    static char text[64];
    const struct xds_resource *r = held(m, type, name);
    if (!r)
        return NULL;
    snprintf(text, sizeof text, "%.*s", r->copy ? (int)r->copy->bytes.n : 0, r->copy ? r->copy->bytes.p : "");
    return text;
}

#define assert_state(m, type, name, wanted) do { \
        const struct xds_resource *held_ = held(m, type, name); \
        assert_non_null(held_); \
        assert_string_equal(xds_state_name(held_->state), xds_state_name(wanted)); \
    } while (0)

#define assert_str(s, text) do { \
        struct str view_ = (s); \
        if (!str_eq(view_, str_of(text))) \
            fail_msg("\"%.*s\", expected \"%s\"", STR_FMT(view_), text); \
    } while (0)

/* The names of the list, joined by spaces, whatever their order. */
static inline bool has_names(const struct str *names, size_t count, const char *wanted) {
    char words[256], *save = NULL;
    size_t found = 0;
    snprintf(words, sizeof words, "%s", wanted);
    for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        bool is_there = false;
        for (size_t i = 0; i < count; i++)
            is_there |= str_eq(names[i], str_of(word));
        if (!is_there)
            return false;
        found++;
    }
    return found == count;
}

#define assert_asks_for(m, wanted) \
    assert_true(has_names((m)->request.names, (m)->request.name_count, wanted))
#define assert_gives_up(m, wanted) \
    assert_true(has_names((m)->request.unsubscribe, (m)->request.unsubscribe_count, wanted))

/* Opens all streams. */
static inline void open_streams(struct machine *m) {
    for (size_t i = 0; i < xds_protocol_stream_count(m->p); i++)
        if (xds_protocol_is_due(m->p, i, m->now))
            xds_protocol_opened(m->p, i);
}

static inline void pass_time(struct machine *m, uint64_t microseconds) {
    m->now += microseconds;
    xds_protocol_advance(m->p, m->now);
}

static inline void reopen(struct machine *m, const char *reason) {
    for (size_t i = 0; i < xds_protocol_stream_count(m->p); i++)
        xds_protocol_closed(m->p, i, str_of(reason), m->now);
    pass_time(m, 200 * SECOND);
    open_streams(m);
}
