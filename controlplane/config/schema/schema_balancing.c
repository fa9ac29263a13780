/* Clusters: how an endpoint is picked, what is learnt from its answers, and what it may be asked at most. */
#include "controlplane/config/schema/schema_cluster.h"

#define MS  ((uint64_t)1000)
#define SEC ((uint64_t)1000000)
#define DAY ((uint64_t)86400000000)

/* ---- balancers ---- */

const struct schema_word schema_balancers[] = {
    {"round-robin", HEADGATE__CLUSTER__BALANCER__ROUND_ROBIN, "In turn, by weight, spread smoothly."},
    {"random", HEADGATE__CLUSTER__BALANCER__RANDOM, "By chance, by weight."},
    {"least-request", HEADGATE__CLUSTER__BALANCER__LEAST_REQUEST,
     "Of `choices` random ones (two: the power of two choices) that with the fewest requests under way for its weight."},
    {"least-connections", HEADGATE__CLUSTER__BALANCER__LEAST_CONNECTIONS,
     "Of all, that with the fewest connections for its weight."},
    {"peak-ewma", HEADGATE__CLUSTER__BALANCER__PEAK_EWMA,
     "Of `choices` random ones that with the lowest latency to be expected: a moving average that follows a rise at once, "
     "times the requests under way."},
    {"ring-hash", HEADGATE__CLUSTER__BALANCER__RING_HASH, "Consistent, by `hash`: points on a ring (ketama)."},
    {"maglev", HEADGATE__CLUSTER__BALANCER__MAGLEV, "Consistent, by `hash`: Google's table, more even than a ring."},
    {"source-address", HEADGATE__CLUSTER__BALANCER__SOURCE_ADDRESS, "Maglev by the client's address."},
    {"first", HEADGATE__CLUSTER__BALANCER__FIRST, "The first that is available, in the order of the list."},
    {0},
};

static const struct schema_key hash_keys[] = {
    {.key = "header", .type = SCHEMA_TEXT, .form = &text_field_name, .group = 1,
     .description = "The value of a request field."},
    {.key = "cookie", .type = SCHEMA_TEXT, .form = &text_word, .max = 128, .group = 1,
     .description = "The value of a cookie."},
    {.key = "query", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .max = 256, .group = 1,
     .description = "The value of a query parameter."},
    {.key = "address", .type = SCHEMA_BOOL, .group = 1, .description = "The client's address."},
    {.key = "path", .type = SCHEMA_BOOL, .group = 1, .description = "The canonical path, without the query."},
    {0},
};

const struct schema_object schema_hash_on = {
    .title = "hash",
    .description = "What of a request decides. Exactly one key.",
    .message = &headgate__hash_on__descriptor,
    .keys = hash_keys,
    .groups = 1 << 1,
};

static const struct schema_key slow_start_keys[] = {
    {.key = "window", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .description = "How long it takes to the full share."},
    {.key = "aggression", .type = SCHEMA_INTEGER, .min = 1, .max = 10000,
     .description = "In percent. 100: the share grows evenly; more: faster at first."},
    {.key = "min-percent", .type = SCHEMA_INTEGER, .min = 1, .max = 100,
     .description = "The share to begin with, of its weight."},
    {0},
};

static const struct schema_object slow_start = {
    .title = "slow-start",
    .description = "An endpoint that is new, or healthy again, gets its share little by little. Not with balancers that "
                   "hash.",
    .message = &headgate__slow_start__descriptor,
    .keys = slow_start_keys,
};

static const struct schema_key subset_keys[] = {
    {.key = "keys", .type = SCHEMA_TEXT, .form = &text_word, .flags = SCHEMA_LIST | SCHEMA_ONE_OK | SCHEMA_REQUIRED,
     .min = 1, .max = 8, .description = "Names of the endpoints' metadata."},
    {0},
};

static const struct schema_object subset_selector = {
    .title = "subset-selector",
    .description = "Metadata by which rules may choose among endpoints: there is a subset for each combination of values.",
    .message = &headgate__subset_selector__descriptor,
    .keys = subset_keys,
};

static const struct schema_key balancing_keys[] = {
    {.key = "hash", .type = SCHEMA_OBJECT, .object = &schema_hash_on, .flags = SCHEMA_LIST | SCHEMA_ONE_OK, .max = 8,
     .absent = "an endpoint by chance", .description = "`ring-hash`, `maglev`: the first of these that the request has."},
    {.key = "table-size", .type = SCHEMA_INTEGER, .min = 3, .max = 5000011,
     .description = "`maglev`: entries, a prime, better a hundred times the number of endpoints."},
    {.key = "ring-size", .type = SCHEMA_INTEGER, .min = 1, .max = 8388608, .description = "`ring-hash`: points, at least."},
    {.key = "max-table-entries", .type = SCHEMA_INTEGER, .min = 3, .max = 1000000000,
     .description = "`ring-hash`, `maglev`: each subset, priority and zone has a table of its own; a cluster with more "
                    "entries than that in all is refused. An entry takes 4 bytes, a point 12. `validate` counts the "
                    "endpoints that are in the file. When a source finds more, those that it found before stay in use, and "
                    "`headgate status` says why. Which are of the zone that each data plane is started with "
                    "(`prefer-zone`) is not known here: data planes refuse what is too much by that, and keep what they "
                    "have."},
    {.key = "load-bound", .type = SCHEMA_INTEGER, .min = 0, .max = 10000, .flags = SCHEMA_MAY_BE_OFF,
     .description = "`ring-hash`, `maglev`: percent of the mean of requests under way that one endpoint may have; what is "
                    "above "
                    "goes to the next. At least 101 makes sense."},
    {.key = "choices", .type = SCHEMA_INTEGER, .min = 1, .max = 32,
     .description = "`least-request`, `peak-ewma`: how many endpoints are compared."},
    {.key = "ewma-decay", .type = SCHEMA_DURATION, .min = MS, .max = DAY,
     .description = "`peak-ewma`: the time in which a latency loses 63 % of its weight."},
    {.key = "slow-start", .type = SCHEMA_OBJECT, .object = &slow_start, .absent = "the full share at once",
     .description = "How endpoints begin; `{}` is enough."},
    {.key = "panic-threshold", .type = SCHEMA_INTEGER, .min = 0, .max = 100, .flags = SCHEMA_MAY_BE_OFF,
     .description = "When all priorities together fall short, those of which less than so many percent are available "
                    "use all their endpoints but those that drain."},
    {.key = "overprovisioning", .type = SCHEMA_INTEGER, .min = 100, .max = 10000,
     .description = "In percent: with 140 a priority, or a zone, keeps all its requests down to 100/140 of its endpoints."},
    {.key = "prefer-zone", .type = SCHEMA_BOOL,
     .description = "Endpoints of the data plane's own zone first, as far as they suffice."},
    {.key = "subsets", .type = SCHEMA_OBJECT, .object = &subset_selector, .flags = SCHEMA_LIST | SCHEMA_ONE_OK, .max = 16,
     .absent = "none", .description = "By what rules may choose among endpoints."},
    {.key = "subset-fallback", .type = SCHEMA_BOOL,
     .description = "Any endpoint, when the subset of a rule has none; otherwise 503."},
    {0},
};

const struct schema_object schema_balancing = {
    .title = "balancing",
    .description = "How an endpoint is picked, beyond the balancer's name.",
    .message = &headgate__balancing__descriptor,
    .keys = balancing_keys,
    .check = check_balancing,
};

static const struct schema_key sticky_keys[] = {
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_word, .max = 128,
     .description = "Name of the cookie. Of several of that name in a request the first counts."},
    {.key = "path", .type = SCHEMA_TEXT, .form = &text_path, .description = "Its path."},
    {.key = "max-age", .type = SCHEMA_DURATION, .min = 0, .max = 3650 * DAY, .flags = SCHEMA_MAY_BE_OFF,
     .description = "How long browsers keep it; off: as long as they run."},
    {.key = "secure", .type = SCHEMA_BOOL, .description = "Only over TLS."},
    {0},
};

const struct schema_object schema_sticky = {
    .title = "sticky",
    .description = "A signed cookie that brings a client back to its endpoint as long as that is available. Other "
                   "requests go by the "
                   "balancer.",
    .message = &headgate__sticky_cookie__descriptor,
    .keys = sticky_keys,
};

/* ---- outlier detection ---- */

#define COUNT_KEY(name, what) \
    {.key = name, .type = SCHEMA_INTEGER, .min = 0, .max = 1000000, .flags = SCHEMA_MAY_BE_OFF, .description = what}

static const struct schema_key outlier_keys[] = {
    COUNT_KEY("consecutive-5xx", "Answers of 500 to 599, and failures, in a row."),
    COUNT_KEY("consecutive-gateway-failures", "Answers of 502, 503 and 504, and failures, in a row."),
    COUNT_KEY("consecutive-local-failures", "Failed connects, resets and time-outs in a row."),
    {.key = "interval", .type = SCHEMA_DURATION, .min = 10 * MS, .max = DAY,
     .description = "In which the three below are looked at."},
    {.key = "success-rate-factor", .type = SCHEMA_INTEGER, .min = 0, .max = 10000, .flags = SCHEMA_MAY_BE_OFF,
     .description = "Thousandths of a standard deviation that a success rate may lie below the mean; 1900 is usual."},
    {.key = "failure-percent", .type = SCHEMA_INTEGER, .min = 0, .max = 100, .flags = SCHEMA_MAY_BE_OFF,
     .description = "Percent of requests that may fail."},
    {.key = "latency-factor", .type = SCHEMA_INTEGER, .min = 0, .max = 100000, .flags = SCHEMA_MAY_BE_OFF,
     .description = "Percent of the median latency of all endpoints that a mean latency may be; 300: three times as slow."},
    {.key = "min-endpoints", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000,
     .description = "The three above count with at least so many endpoints that had at least ..."},
    {.key = "min-requests", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000,
     .description = "... so many requests in the interval."},
    {.key = "base-ejection", .type = SCHEMA_DURATION, .min = MS, .max = DAY,
     .description = "How long an endpoint is left alone, times the number of times in a row."},
    {.key = "max-ejection", .type = SCHEMA_DURATION, .min = MS, .max = DAY, .description = "And at most so long."},
    {.key = "max-ejected-percent", .type = SCHEMA_INTEGER, .min = 0, .max = 100,
     .description = "Of the cluster's endpoints so many percent at most are left alone at a time; one always may be."},
    {0},
};

const struct schema_object schema_outlier_detection = {
    .title = "outlier-detection",
    .description = "Endpoints whose answers stand out are left alone for a time. Data planes see to it by themselves, "
                   "with or without a "
                   "control plane.",
    .message = &headgate__outlier_detection__descriptor,
    .keys = outlier_keys,
};

/* ---- circuit breakers ---- */

#define BOUND_KEY(name, low, what) {.key = name, .type = SCHEMA_INTEGER, .min = low, .max = 10000000, .description = what}

static const struct schema_key breaker_keys[] = {
    BOUND_KEY("connections", 1, "Connections to all endpoints of the cluster."),
    BOUND_KEY("requests", 1, "Requests under way."),
    BOUND_KEY("pending", 1, "Requests that wait for a connection that is being made, or for room."),
    {.key = "pending-timeout", .type = SCHEMA_DURATION, .min = 0, .max = DAY, .flags = SCHEMA_MAY_BE_OFF,
     .description = "How long a request may wait for room below the bounds, and for an endpoint that is available; off: "
                    "it is "
                    "answered 503 at once."},
    {.key = "retry-percent", .type = SCHEMA_INTEGER, .min = 0, .max = 100,
     .description = "The retry budget: retries and hedges under way, of the requests under way."},
    BOUND_KEY("min-retries", 0, "Retries that may be under way however few requests are."),
    BOUND_KEY("retry-tokens", 0, "Retries and hedges that may be saved up: each takes a token, and without one there is "
                                 "none."),
    {.key = "retry-tokens-percent", .type = SCHEMA_INTEGER, .min = 0, .max = 100,
     .description = "Of a token that each request pays in: the share of retries among requests in the long run."},
    {.key = "retry-tokens-per-second", .type = SCHEMA_INTEGER, .min = 0, .max = 1000000,
     .description = "Tokens that are paid in each second, however few requests there are."},
    {.key = "endpoint-requests", .type = SCHEMA_INTEGER, .min = 0, .max = 10000000, .flags = SCHEMA_MAY_BE_OFF,
     .description = "Requests under way for one endpoint; beyond, another one is picked."},
    {.key = "endpoint-connections", .type = SCHEMA_INTEGER, .min = 0, .max = 10000000, .flags = SCHEMA_MAY_BE_OFF,
     .description = "Connections to one endpoint."},
    {0},
};

const struct schema_object schema_circuit_breakers = {
    .title = "circuit-breakers",
    .description = "What one data plane asks of a cluster at most, over all its workers. Beyond, requests wait, or are "
                   "answered 503.",
    .message = &headgate__circuit_breakers__descriptor,
    .keys = breaker_keys,
};
