#include "controlplane/health/answer.h"

#include <stdio.h>

#include "common/arena.h"
#include "controlplane/health/grpc_health.pb-c.h"
#include "proto/message.h"

enum { UNPACKED_MAX = 32 * ANSWER_BODY_MAX }; /* unknown fields, each of which takes more than it came with */
enum { GRPC_PREFIX = 5, GRPC_OK = 0, GRPC_NOT_FOUND = 5, GRPC_UNIMPLEMENTED = 12, GRPC_STATUS_MAX = 16 };

void answer_init(struct answer *a, const Headgate__HttpCheck *http) {
    *a = (struct answer){.http = http, .grpc_status = -1};
}

void answer_finish(struct answer *a) {
    strbuf_finish(&a->body);
}

/* ---- what comes ---- */

static void grpc_field(struct answer *a, struct str name, struct str value) {
    uint64_t number;
    if (str_eq_nocase(name, STR("grpc-status")) && str_to_uint64(value, &number) == 0)
        a->grpc_status = number > GRPC_STATUS_MAX ? GRPC_STATUS_MAX + 1 : (int)number;
    if (str_eq_nocase(name, STR("grpc-message")))
        snprintf(a->grpc_message, sizeof a->grpc_message, "%.*s", (int)(value.n < 90 ? value.n : 90), value.p);
}

void answer_field(struct answer *a, struct str name, struct str value) {
    if (!a->http) {
        grpc_field(a, name, value);
        return;
    }
    for (size_t i = 0; i < a->http->n_expect_headers && i < ANSWER_HEADERS_MAX; i++) {
        const Headgate__HeaderField *wanted = a->http->expect_headers[i];
        bool is_any = !wanted->value || !*wanted->value;
        if (str_eq_nocase(name, str_of(wanted->name)) && (is_any || str_eq(value, str_of(wanted->value))))
            a->seen |= UINT64_C(1) << i;
    }
}

bool answer_body(struct answer *a, const void *bytes, size_t n) {
    bool is_kept = !a->http || (a->http->body_contains && *a->http->body_contains);
    size_t room = ANSWER_BODY_MAX - (a->body_size < ANSWER_BODY_MAX ? a->body_size : ANSWER_BODY_MAX);
    if (is_kept && room > 0)
        strbuf_add(&a->body, bytes, n < room ? n : room);
    a->body_size += n;
    return !a->body.failed;
}

/* ---- HTTP ---- */

static bool is_wanted_status(const Headgate__HttpCheck *c, unsigned status) {
    for (size_t i = 0; i < c->n_statuses; i++)
        if (c->statuses[i] == status)
            return true;
    return c->n_statuses == 0 && status >= 200 && status <= 299;
}

/* "status 503, expected 200 to 299", "status 200, expected 204, 301 or one of 3 more" */
static void tell_status(const Headgate__HttpCheck *c, unsigned status, char reason[REASON_MAX]) {
    enum { TOLD = 4 };
    int at = snprintf(reason, REASON_MAX, "status %u, expected ", status);
    if (c->n_statuses == 0) {
        snprintf(reason + at, (size_t)(REASON_MAX - at), "200 to 299");
        return;
    }
    for (size_t i = 0; i < c->n_statuses && i < TOLD; i++) {
        const char *between = i == 0 ? "" : i + 1 == c->n_statuses ? " or " : ", ";
        at += snprintf(reason + at, (size_t)(REASON_MAX - at), "%s%u", between, c->statuses[i]);
    }
    if (c->n_statuses > TOLD)
        snprintf(reason + at, (size_t)(REASON_MAX - at), " or one of %zu more", c->n_statuses - TOLD);
}

static bool is_wanted_http(const struct answer *a, char reason[REASON_MAX]) {
    const Headgate__HttpCheck *c = a->http;
    if (!is_wanted_status(c, a->status)) {
        tell_status(c, a->status, reason);
        return false;
    }
    for (size_t i = 0; i < c->n_expect_headers && i < ANSWER_HEADERS_MAX; i++) {
        const Headgate__HeaderField *wanted = c->expect_headers[i];
        bool is_any = !wanted->value || !*wanted->value;
        if (a->seen >> i & 1)
            continue;
        if (is_any)
            snprintf(reason, REASON_MAX, "no header %.60s", wanted->name);
        else
            snprintf(reason, REASON_MAX, "header %.60s is not \"%.60s\"", wanted->name, wanted->value);
        return false;
    }
    struct str body = strbuf_str(&a->body), wanted = str_of(c->body_contains);
    if (wanted.n == 0 || memmem(body.p, body.n, wanted.p, wanted.n))
        return true;
    snprintf(reason, REASON_MAX, "the body does not contain \"%.80s\"%s", c->body_contains,
             a->body_size > ANSWER_BODY_MAX ? " in its first 64 KiB" : "");
    return false;
}

/* ---- gRPC ---- */

static bool tell(char reason[REASON_MAX], const char *what) {
    snprintf(reason, REASON_MAX, "%s", what);
    return false;
}

static bool is_grpc_ok(const struct answer *a, char reason[REASON_MAX]) {
    if (a->status != 200)
        snprintf(reason, REASON_MAX, "HTTP status %u instead of an answer of gRPC", a->status);
    else if (a->grpc_status < 0)
        return tell(reason, "an answer without grpc-status");
    else if (a->grpc_status == GRPC_UNIMPLEMENTED)
        return tell(reason, "the server does not implement grpc.health.v1.Health");
    else if (a->grpc_status == GRPC_NOT_FOUND)
        return tell(reason, "the server does not know the service");
    else if (a->grpc_status != GRPC_OK)
        snprintf(reason, REASON_MAX, "gRPC status %d%s%.90s", a->grpc_status, *a->grpc_message ? ": " : "", a->grpc_message);
    return a->status == 200 && a->grpc_status == GRPC_OK;
}

/* One message, neither compressed nor cut. Returns its bytes; p NULL: something else. */
static struct str grpc_message(struct str body) {
    const uint8_t *p = (const uint8_t *)body.p;
    if (body.n < GRPC_PREFIX || p[0] != 0)
        return (struct str){NULL, 0};
    size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    return n == body.n - GRPC_PREFIX ? (struct str){body.p + GRPC_PREFIX, n} : (struct str){NULL, 0};
}

static bool is_serving(struct answer *a, char reason[REASON_MAX]) {
    static const char *const texts[] = {"UNKNOWN", NULL, "NOT_SERVING", "SERVICE_UNKNOWN"};
    char room[256];
    struct arena arena;
    ProtobufCMessage *m = NULL;
    struct str bytes = grpc_message(strbuf_str(&a->body));
    if (!is_grpc_ok(a, reason))
        return false;
    arena_init(&arena, room, sizeof room, UNPACKED_MAX);
    int failed = MESSAGE_MALFORMED;
    if (bytes.p)
        failed = message_unpack(&headgate__grpc_health__health_check_response__descriptor, &arena, bytes, &m);
    unsigned status = failed ? 0 : (unsigned)((const Headgate__GrpcHealth__HealthCheckResponse *)m)->status;
    arena_finish(&arena);
    a->has_no_memory = failed == MESSAGE_MEMORY;
    if (failed)
        return tell(reason, "not a message of grpc.health.v1.Health");
    if (status == HEADGATE__GRPC_HEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING)
        return true;
    snprintf(reason, REASON_MAX, "the server says %s", status < 4 ? texts[status] : "something unknown");
    return false;
}

bool answer_is_wanted(struct answer *a, char reason[REASON_MAX]) {
    return a->http ? is_wanted_http(a, reason) : is_serving(a, reason);
}
