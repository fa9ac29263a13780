/* When a request is sent again. */
#include "controlplane/xds/translate/routes.h"
#include "controlplane/xds/translate/values.h"

enum { RETRIES_MAX = 10, STATUSES_MAX = 64, BACKOFF_FACTOR = 10 };

/* ---- what is read ---- */

static const struct xds_fields backoff_table = XDS_TABLE(envoy__config__route__v3__retry_policy__retry_back_off,
    XDS_READ("base_interval"), XDS_NOTE("max_interval", "ten times the base when it is not set"));

const struct xds_fields xds_read_retry = XDS_TABLE(envoy__config__route__v3__retry_policy,
    XDS_NOTE("retry_on", "5xx, gateway-error, reset, reset-before-request, connect-failure, retriable-4xx, refused-stream, "
             "retriable-status-codes, cancelled, deadline-exceeded, internal, resource-exhausted, unavailable, "
             "http3-post-connect-failure"),
    XDS_READ("num_retries"), XDS_READ("per_try_timeout"),
    XDS_IGNORE("retry_host_predicate", "a retry goes to another endpoint where there is one"),
    XDS_IGNORE("host_selection_retry_max_attempts", "a retry goes to another endpoint where there is one"),
    XDS_READ("retriable_status_codes"), XDS_INSIDE("retry_back_off", &backoff_table));

const struct xds_fields xds_read_hedge = XDS_TABLE(envoy__config__route__v3__hedge_policy,
    XDS_NOTE("initial_requests", "1"),
    XDS_NOTE("hedge_on_per_try_timeout", "another attempt beside the first after per_try_timeout"));

/* ---- reasons ---- */

static void add_on(Headgate__Retry *to, Headgate__Retry__On on) {
    for (size_t i = 0; i < to->n_on; i++)
        if (to->on[i] == on)
            return;
    to->on[to->n_on++] = on;
}

static void add_grpc(Headgate__Retry *to, uint32_t status) {
    for (size_t i = 0; i < to->n_grpc_statuses; i++)
        if (to->grpc_statuses[i] == status)
            return;
    to->grpc_statuses[to->n_grpc_statuses++] = status;
}

/* A stream that the origin refused is always repeated where that is safe, so refused-stream says nothing more. In Envoy 5xx
 * and gateway-error stand also for answers that never came. */
static bool add_reason(Headgate__Retry *to, struct str word, bool *ret_has_codes) {
    static const struct {
        const char *word;
        Headgate__Retry__On on, also;   /* 0: none */
        uint32_t grpc;
    } reasons[] = {
        {"5xx", HEADGATE__RETRY__ON__SERVER_ERROR, HEADGATE__RETRY__ON__RESET, 0},
        {"gateway-error", HEADGATE__RETRY__ON__GATEWAY_ERROR, HEADGATE__RETRY__ON__RESET, 0},
        {"reset", HEADGATE__RETRY__ON__RESET, HEADGATE__RETRY__ON__CONNECT_FAILURE, 0},
        {"reset-before-request", HEADGATE__RETRY__ON__CONNECT_FAILURE, 0, 0},
        {"connect-failure", HEADGATE__RETRY__ON__CONNECT_FAILURE, 0, 0},
        {"refused-stream", HEADGATE__RETRY__ON__CONNECT_FAILURE, 0, 0},
        {"http3-post-connect-failure", HEADGATE__RETRY__ON__CONNECT_FAILURE, 0, 0},
        {"retriable-4xx", HEADGATE__RETRY__ON__CONFLICT, 0, 0},
        {"cancelled", 0, 0, 1}, {"deadline-exceeded", 0, 0, 4}, {"resource-exhausted", 0, 0, 8}, {"internal", 0, 0, 13},
        {"unavailable", 0, 0, 14},
    };
    if (str_eq(word, STR("retriable-status-codes")))
        return *ret_has_codes = true;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (!str_eq(word, str_of(reasons[i].word)))
            continue;
        if (reasons[i].grpc)
            add_grpc(to, reasons[i].grpc);
        if (reasons[i].on)
            add_on(to, reasons[i].on);
        if (reasons[i].also)
            add_on(to, reasons[i].also);
        if (reasons[i].also == HEADGATE__RETRY__ON__RESET)
            add_on(to, HEADGATE__RETRY__ON__CONNECT_FAILURE);
        return true;
    }
    return false;
}

static void reasons(struct making *m, const struct xds_at *at, const char *text, Headgate__Retry *to, bool *ret_has_codes) {
    struct str rest = str_of(text);
    to->on = making_array(m, 16, sizeof *to->on);
    to->grpc_statuses = making_array(m, 16, sizeof *to->grpc_statuses);
    while (to->on && to->grpc_statuses && rest.p) {
        struct str word = str_trim(str_cut(&rest, ','));
        if (word.n && !add_reason(to, word, ret_has_codes))
            making_refuse(m, XDS_AT(at, "retry_on"), ERROR_UNSUPPORTED, "\"%.*s\" is not supported", STR_FMT(word));
    }
}

static void status_codes(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RetryPolicy *from,
                         Headgate__Retry *to) {
    size_t count = from->n_retriable_status_codes;
    if (count > STATUSES_MAX) {
        making_refuse(m, XDS_AT(at, "retriable_status_codes"), ERROR_RANGE, "are %zu; %d are possible", count, STATUSES_MAX);
        return;
    }
    to->statuses = making_array(m, count, sizeof *to->statuses);
    for (size_t i = 0; to->statuses && i < count; i++) {
        protobuf_c_boolean ignored;
        value_number(m, XDS_AT_ITEM(at, "retriable_status_codes", i), from->retriable_status_codes[i], 200, 599, &ignored,
                     &to->statuses[to->n_statuses]);
        to->n_statuses++;
    }
}

/* ---- times ---- */

static void backoff(struct making *m, const struct xds_at *at,
                    const Envoy__Config__Route__V3__RetryPolicy__RetryBackOff *from, Headgate__Retry *to) {
    at = XDS_AT(at, "retry_back_off");
    value_duration(m, XDS_AT(at, "base_interval"), from->base_interval, 1, XDS_DAY / BACKOFF_FACTOR, &to->has_backoff,
                   &to->backoff);
    if (!from->base_interval)
        making_refuse(m, XDS_AT(at, "base_interval"), ERROR_MISSING, "is missing");
    to->has_max_backoff = to->has_backoff;
    to->max_backoff = BACKOFF_FACTOR * to->backoff;
    value_duration(m, XDS_AT(at, "max_interval"), from->max_interval, 1, XDS_DAY, &to->has_max_backoff, &to->max_backoff);
    if (to->has_backoff && to->max_backoff < to->backoff)
        making_refuse(m, XDS_AT(at, "max_interval"), ERROR_RANGE, "is less than the base_interval");
}

/* In Envoy whatever the method. */
static void all_methods(struct making *m, Headgate__Retry *to) {
    static const char *const all[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"};
    to->methods = making_array(m, sizeof all / sizeof *all, sizeof *to->methods);
    for (size_t i = 0; to->methods && i < sizeof all / sizeof *all; i++)
        to->methods[to->n_methods++] = (char *)all[i];
}

static void hedge(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__HedgePolicy *from,
                  Headgate__Retry *to) {
    uint32_t ignored = 0;
    protobuf_c_boolean has;
    value_uint32(m, XDS_AT(at, "initial_requests"), from->initial_requests, 1, 1, &has, &ignored);
    if (!from->hedge_on_per_try_timeout)
        return;
    if (!to->has_per_try_timeout) {
        making_unsupported(m, XDS_AT(at, "hedge_on_per_try_timeout"), "there is no per_try_timeout");
        return;
    }
    to->has_hedge_after = true;
    to->hedge_after = to->per_try_timeout;
    to->has_per_try_timeout = false;
    to->per_try_timeout = 0;
}

/* ---- all of it ---- */

static Headgate__Retry *retry(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RetryPolicy *from) {
    Headgate__Retry *to = making_new(m, &headgate__retry__descriptor);
    bool has_codes = false;
    if (!to)
        return NULL;
    reasons(m, at, from->retry_on, to, &has_codes);
    if (has_codes)
        status_codes(m, at, from, to);
    to->has_retries = true;
    to->retries = 1;
    value_uint32(m, XDS_AT(at, "num_retries"), from->num_retries, 0, RETRIES_MAX, &to->has_retries, &to->retries);
    value_duration(m, XDS_AT(at, "per_try_timeout"), from->per_try_timeout, 0, XDS_DAY, &to->has_per_try_timeout,
                   &to->per_try_timeout);
    to->has_max_retry_after = true; /* Envoy does not look at Retry-After */
    to->max_retry_after = 0;
    if (from->retry_back_off)
        backoff(m, at, from->retry_back_off, to);
    all_methods(m, to);
    return to;
}

/* A policy without a reason never retries; what would stay of it are its times. */
static bool has_reason(const Headgate__Retry *r) {
    return r->n_on || r->n_statuses || r->n_grpc_statuses || r->hedge_after || r->per_try_timeout;
}

void route_retry(struct making *m, const struct xds_at *at, const Envoy__Config__Route__V3__RouteAction *from,
                 const struct route_defaults *defaults, Headgate__Rule *rule) {
    const Envoy__Config__Route__V3__RetryPolicy *policy = from->retry_policy ? from->retry_policy : defaults->retry;
    const Envoy__Config__Route__V3__HedgePolicy *hedging = from->hedge_policy ? from->hedge_policy : defaults->hedge;
    const struct xds_at *retry_at = from->retry_policy ? XDS_AT(at, "retry_policy") : defaults->retry_at;
    const struct xds_at *hedge_at = from->hedge_policy ? XDS_AT(at, "hedge_policy") : defaults->hedge_at;
    Headgate__Retry *r = policy ? retry(m, retry_at, policy) : NULL;
    if (r && hedging)
        hedge(m, hedge_at, hedging, r);
    else if (hedging && hedging->hedge_on_per_try_timeout)
        making_unsupported(m, XDS_AT(hedge_at, "hedge_on_per_try_timeout"), "there is no per_try_timeout");
    if (!r || !has_reason(r))
        return;
    if (r->n_on + r->n_statuses + r->n_grpc_statuses == 0) { /* ours would retry after connect failures */
        r->retries = 0;
        r->n_methods = 0;
    }
    rule->retry = r;
}
